"""The epsilon of any setting, as `tacit privacy epsilon` is asked for it: checked, turned into events, and answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import ceil, isfinite, sqrt
from typing import Any

from tacit.checks import is_count, is_number
from tacit.errors import Problems, UsageError
from tacit.privacy.accountant import ADD_REMOVE, ADJACENCIES, REPLACE_ONE, ZERO_OUT, spent
from tacit.privacy.event import Event, FixedSize, Gaussian, PoissonSampled, Truncated, charges
from tacit.privacy.settings import LOUDEST
from tacit.selection.cohort import SAFE

USED = {
    "poisson": ("rate", "cohort", "population", "cap"),
    "fixed": ("cohort", "population"),
    "everyone": ("population",),
    "separated": ("participations", "cohort", "population"),
}
"""The options that each kind of sampling knows, besides those that all need."""
MORE = ("rate", "cohort", "population", "cap", "participations")
ACCOUNTANTS = ("pld", "rdp")
MOST_ROUNDS = 1_000_000


@dataclass(frozen=True)
class Question:
    """One setting; what was not said is None. Fields are named as the options are.

    Attributes:
        sampling: "poisson", "fixed", "everyone" or "separated" (a schedule in which nobody takes part more often than
            `participations` times).
        noise: z.
        rounds: T.
        delta: of the answer.
        accountant: "pld" or "rdp"; None takes the smallest bound.
        adjacency: one of `accountant.ADJACENCIES`.
        rate, cohort, population, cap, participations: of the sampling.
    """

    sampling: str
    noise: float | None = None
    rounds: int | None = None
    delta: float | None = None
    accountant: str | None = None
    adjacency: str = ZERO_OUT
    rate: float | None = None
    cohort: int | None = None
    population: int | None = None
    cap: int | None = None
    participations: int | None = None

    def problems(self) -> Iterator[str]:
        """Everything that is wrong with it."""
        yield from self._of_all()
        if self.sampling not in USED:
            yield f"--sampling is {self.sampling!r}: give {', '.join(USED)}"
        for name in MORE:
            value = getattr(self, name)
            if value is None:
                continue
            if name not in USED.get(self.sampling, MORE):
                knows = " or ".join(kind for kind, names in USED.items() if name in names)
                yield f"--{name} is {value}, unknown to --sampling {self.sampling}: leave it out, or take {knows}"
            elif name == "rate" and not (is_number(value) and 0 < value <= 1):
                yield f"--rate is {value}: give a number above 0, of at most 1"
            elif name != "rate" and not is_count(value):
                yield f"--{name} is {value}: give a whole number of at least 1"
        yield from {"poisson": self._poisson, "fixed": self._fixed, "separated": self._separated}.get(
            self.sampling, lambda: iter(())
        )()
        if self.cohort is not None and self.population is not None and self.cohort > self.population >= 1:
            yield f"--cohort is {self.cohort} of {self.population} clients: give at most {self.population}"

    def _of_all(self) -> Iterator[str]:
        for name, most, example in (("noise", None, "1.0"), ("delta", 1, "1e-5")):
            value = getattr(self, name)
            if value is None:
                yield f"--{name} is missing: give --{name} {example}, say"
            elif not is_number(value) or value <= 0 or (most is not None and value >= most):
                yield f"--{name} is {value}: give a number above 0" + ("" if most is None else " and below 1")
        if self.noise is not None and is_number(self.noise) and self.noise > LOUDEST:
            yield f"--noise is {self.noise}, more than any run of tacit adds: give at most {LOUDEST:g}"
        if self.rounds is None:
            yield "--rounds is missing: give --rounds 1000, say"
        elif not 1 <= self.rounds <= MOST_ROUNDS:
            yield f"--rounds is {self.rounds}: give a whole number from 1 to {MOST_ROUNDS:,}"
        if self.accountant not in (None, *ACCOUNTANTS):
            yield f"--accountant is {self.accountant!r}: give pld or rdp, or leave it out for the smaller bound"
        if self.adjacency not in ADJACENCIES:
            yield f"--adjacency is {self.adjacency!r}: give {', '.join(ADJACENCIES)}"

    def _poisson(self) -> Iterator[str]:
        if self.rate is not None and self.cohort is not None:
            yield f"--rate is {self.rate} and --cohort {self.cohort}: give one of them"
        if self.rate is None and self.cohort is None:
            yield "--rate is missing: give --rate 0.01, say, or --cohort with --population"
        for name in ("cohort", "cap"):
            if getattr(self, name) is not None and self.population is None:
                yield f"--{name} is {getattr(self, name)} of how many clients? Give --population as well"
        if self.accountant == "rdp" and self.adjacency == REPLACE_ONE:
            yield "--accountant is rdp, by which no bound is known for poisson under replace-one: take pld"
        safe = self._safe_cap()
        if self.accountant == "rdp" and self.cap is not None and safe is not None and self.cap < safe:
            yield f"--cap is {self.cap}, which --accountant rdp leaves out, rightly only from {safe} on: take pld"

    def _safe_cap(self) -> int | None:
        mean = self.cohort if self.rate is None else self.rate * (self.population or 0)
        return ceil(mean + SAFE * sqrt(mean)) if mean is not None and mean > 0 else None

    def _fixed(self) -> Iterator[str]:
        for name, example in (("cohort", 100), ("population", 3400)):
            if getattr(self, name) is None:
                yield f"--{name} is missing: give --{name} {example}, say"
        if self.adjacency == ADD_REMOVE:
            yield "--adjacency is add-remove, for which no bound is known with fixed: take zero-out or replace-one"

    def _separated(self) -> Iterator[str]:
        k, rounds = self.participations, self.rounds
        if k is None:
            yield "--participations is missing: in how many rounds may each client take part? Give 10, say"
            return
        if rounds is not None and k > rounds >= 1:
            yield f"--participations is {k} of {rounds} rounds: give at most {rounds}"
        if rounds and self.cohort and self.population and self.cohort * rounds > k * self.population:
            least = ceil(self.cohort * rounds / self.population)
            yield (
                f"--participations is {k}: {rounds} rounds with {self.cohort} of {self.population} clients cannot be "
                f"filled so. Give at least {least}, fewer rounds, or smaller cohorts"
            )

    def event(self) -> tuple[Event, int]:
        """What is charged, and how often. The question has no problems."""
        assert self.noise is not None and self.rounds is not None
        noise, rounds, n = self.noise, self.rounds, self.population
        if self.sampling == "separated":
            return Gaussian(noise), self.participations or rounds
        if self.sampling == "fixed":
            assert self.cohort is not None and n is not None
            return (Gaussian(noise) if self.cohort == n else FixedSize(noise, self.cohort, n)), rounds
        if self.sampling == "everyone":
            return Gaussian(noise), rounds
        rate = self.rate if self.rate is not None else (self.cohort or 0) / (n or 1)
        if self.cap is not None and n is not None and self.cap < n:
            return Truncated(noise, rate, n, self.cap), rounds
        return (Gaussian(noise) if rate == 1 else PoissonSampled(noise, rate)), rounds

    def answer(self) -> dict[str, Any]:
        """Epsilon by both accountants; as JSON values, None where there is no bound.

        Raises:
            UsageError: with everything that is wrong.
        """
        with Problems("there is no such setting", UsageError) as problems:
            problems.extend(self.problems())
        assert self.delta is not None
        event, often = self.event()
        found = spent(charges([(event, often)]), self.delta, self.adjacency)
        by = self.accountant or ("pld" if found.epsilon == found.pld else "rdp")
        epsilon = found.pld if by == "pld" else found.rdp
        said = {name: value for name, value in asdict(self).items() if value is not None}
        said["noise_multiplier"] = said.pop("noise")
        return {
            "epsilon": _json(epsilon),
            "epsilon_pld": _json(found.pld),
            "epsilon_rdp": _json(found.rdp),
            **said,
            "accountant": by,
            "event": event.kind,
            "notes": list(self._notes(event, often)),
        }

    def _notes(self, event: Event, often: int) -> Iterator[str]:
        n = self.population
        if n is not None and self.delta is not None and self.delta >= 1 / n:
            yield f"delta {self.delta:g} is not below 1 / {n}: publishing one client's data in clear would be allowed"
        if isinstance(event, FixedSize):
            yield "no privacy loss distribution is known for a fixed size: pld gives no credit for sampling here"
        if isinstance(event, Truncated):
            yield "rdp leaves the cap out: it is a second opinion, and no bound where the cap is near the mean"
        if self.sampling == "separated":
            yield f"holds where a schedule enforces that no client takes part in more than {often} rounds"
        if isinstance(event, PoissonSampled | Truncated | FixedSize):
            yield "holds against those who do not know who took part in which round"


def _json(number: float | None) -> float | None:
    return None if number is None or not isfinite(number) else float(number)

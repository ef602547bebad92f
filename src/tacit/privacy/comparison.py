"""What an epsilon costs before anything is trained: the noise, side by side for every way to draw cohorts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from math import isfinite, sqrt
from typing import Any

from tacit.checks import count
from tacit.errors import Problems, UsageError
from tacit.privacy.accountant import COARSE, ROUGH, most
from tacit.privacy.calibration import noise_for
from tacit.privacy.correlated import error
from tacit.privacy.event import PoissonSampled, charges
from tacit.privacy.plan import QUIETER, PrivacyPlan, event_for
from tacit.privacy.user_level import BISR, UserLevel
from tacit.selection.cohort import Everyone, Poisson, Sampling, Separated, Uniform

HARMLESS = 0.01
"""Noise of z / m on the mean, in clip norms: up to here models of federated averaging were as good as without noise,
from 0.02 on they diverged (tutorial of TensorFlow Federated on differential privacy)."""
EVERY = 10
"""Private metrics are taken to be measured once in so many rounds."""


@dataclass(frozen=True)
class Setting:
    """What is asked for.

    Attributes:
        epsilon: what all rounds together may cost.
        population: n.
        cohort: m, clients in a round, on average.
        rounds: T.
        delta: as `UserLevel`.
        adjacency: as `UserLevel`.
        parameters: d of the model, where known.
    """

    epsilon: float
    population: int
    cohort: int
    rounds: int
    delta: float | None
    adjacency: str
    parameters: int | None = None

    @property
    def level(self) -> UserLevel:
        """As a run would ask for it. Everything here is in units of its clip norm."""
        return UserLevel(epsilon=self.epsilon, clip=1.0, delta=self.delta, adjacency=self.adjacency)

    def check(self) -> None:
        """Raises a UsageError with everything that is wrong."""
        with Problems("there is nothing to calibrate", UsageError) as problems:
            for name in ("population", "cohort", "rounds"):
                problems.extend(count(f"--{name}", getattr(self, name)))
            if self.parameters is not None:
                problems.extend(count("--parameters", self.parameters))
            sizes = self.population >= 1 and self.cohort >= 1
            if sizes and self.cohort > self.population:
                problems.add(
                    f"--cohort is {self.cohort} of {self.population} clients: give a whole number from 1 to "
                    f"{self.population}"
                )
            level = self.level
            problems.extend(f"--{error}" for error in level.problems(self.population if self.population >= 1 else None))


def calibrated(setting: Setting) -> dict[str, Any]:
    """The noise that a setting needs, and what follows from it; as JSON values.

    Raises:
        UsageError: with everything that is wrong with the setting.
        PrivacyError: no noise gives that epsilon.
    """
    setting.check()
    sampling = Poisson(setting.cohort).sampling(setting.population)
    plan = PrivacyPlan.of(setting.level, sampling, setting.rounds)
    given = {**asdict(setting), "delta": plan.delta}
    server = plan.against_server(setting.rounds)
    rows = list(_side_by_side(setting, plan))
    return given | {
        "noise_multiplier": plan.noise,
        "rate": sampling.rate,
        "cap": sampling.cap,
        **_on_the_mean(setting, plan.noise),
        **_to_be_harmless(setting, plan, rows),
        "epsilon_pld": rows[0]["epsilon_pld"],
        "epsilon_rdp": rows[0]["epsilon_rdp"],
        "loss": _loss(setting, plan.noise),
        "metrics": _metrics(setting, plan),
        "epsilon_against_server": _json(server.epsilon),
        "participations": plan.participations(setting.rounds),
        "comparison": rows,
    }


def _on_the_mean(setting: Setting, noise: float) -> dict[str, Any]:
    """The noise on the mean of a cohort's updates, for each parameter and for all, in clip norms."""
    each = noise / setting.cohort
    length = None if setting.parameters is None else each * sqrt(setting.parameters)
    return {"noise_on_mean": each, "noise_norm": length, "harmless_below": HARMLESS, "harmless": each <= HARMLESS}


def _to_be_harmless(setting: Setting, plan: PrivacyPlan, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Where the noise is not: the smallest cohort that it would be for, at the same epsilon, else the population.

    The larger the cohort, the less noise is on its mean: with everyone in it, least. That noise does not depend on n.
    """
    n, least = setting.population, rows[-1]["noise_multiplier"]
    if plan.noise <= HARMLESS * setting.cohort:
        return {"smallest_cohort": None, "smallest_population": None}
    if least > HARMLESS * n:
        return {"smallest_cohort": None, "smallest_population": int(least / HARMLESS) + 1}
    low, high = setting.cohort, n

    def enough(cohort: int) -> bool:
        one = charges([(PoissonSampled(HARMLESS * cohort, cohort / n), setting.rounds)])
        return most(one, plan.delta, setting.adjacency, interval=ROUGH) <= setting.epsilon

    while high - low > max(1, high // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return {"smallest_cohort": high, "smallest_population": None}


def _loss(setting: Setting, noise: float) -> dict[str, float]:
    """What it costs to release the training loss of every round, and how exact it is, in units of its bound."""
    more = sqrt(1 + QUIETER**-2)
    return {"noise_multiplier": noise * more, "factor": more, "deviation": QUIETER * noise * more / setting.cohort}


def _metrics(setting: Setting, plan: PrivacyPlan) -> dict[str, float | int | None]:
    """What it costs to measure on private data now and then: one more release, on a cohort of its own.

    One metric with values in [0, 1] is then known up to z / m, from each measurement.
    """
    measured = -(-setting.rounds // EVERY)
    together = charges([(plan.event, setting.rounds + measured)])
    cost = most(together, plan.delta, setting.adjacency, interval=COARSE)
    return {
        "every": EVERY,
        "measurements": measured,
        "epsilon": _json(cost),
        "deviation": plan.noise / setting.cohort,
    }


def _side_by_side(setting: Setting, plan: PrivacyPlan) -> Iterator[dict[str, Any]]:
    """The noise that each way of drawing cohorts needs for the same epsilon and rounds; everyone comes last."""
    for selection in (Poisson(setting.cohort), Uniform(setting.cohort)):
        yield _row(setting, plan, selection.sampling(setting.population))
    yield _row_of_turns(setting)
    yield _row(setting, plan, Everyone().sampling(setting.population))


def _row_of_turns(setting: Setting) -> dict[str, Any]:
    """Turns with correlated noise: nothing rests on chance."""
    level = replace(setting.level, mechanism=BISR)
    plan = PrivacyPlan.of(level, Separated(setting.cohort).sampling(setting.population), setting.rounds)
    return _told("separated", plan, setting.rounds)


def _row(setting: Setting, plan: PrivacyPlan, sampling: Sampling) -> dict[str, Any]:
    noise = plan.noise
    if sampling != plan.sampling:
        noise = noise_for(
            setting.epsilon, lambda z: event_for(sampling, z), setting.rounds, plan.delta, setting.adjacency
        )
    name = {"uniform": "fixed"}.get(sampling.kind, sampling.kind)
    return _told(name, PrivacyPlan(setting.level, sampling, setting.rounds, noise, plan.delta), setting.rounds)


def _told(name: str, plan: PrivacyPlan, rounds: int) -> dict[str, Any]:
    spent, each = plan.spent(rounds, interval=COARSE), plan.noise / plan.sampling.size
    return {
        "sampling": name,
        "mechanism": plan.level.mechanism,
        "cohort": plan.sampling.size,
        "noise_multiplier": plan.noise,
        "noise_on_mean": each,
        "noise_on_way": each * error(plan.bands, rounds),
        "epsilon": _json(spent.epsilon),
        "epsilon_pld": _json(spent.pld),
        "epsilon_rdp": None if spent.rdp is None else _json(spent.rdp),
    }


def _json(number: float) -> float | None:
    return float(number) if isfinite(number) else None

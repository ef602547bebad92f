"""The privacy plan: unit, clip, noise and sampling, put together, so that none can say what another does not do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING

from tacit.errors import (
    BatchNormBuffers,
    BudgetExceeded,
    CapTooTight,
    NoiseRequired,
    PrivacyError,
    SamplerMismatch,
    UnregisteredRelease,
)
from tacit.privacy.accountant import FINE, Spent, affordable, most, spent
from tacit.privacy.calibration import noise_for
from tacit.privacy.event import Charges, Event, FixedSize, Gaussian, PoissonSampled, Truncated, charges
from tacit.privacy.user_level import UserLevel

if TYPE_CHECKING:
    from tacit.aggregation.stage import Stage
    from tacit.algorithms.base import Algorithm
    from tacit.learning.task import Task
    from tacit.privacy.clip import Bound
    from tacit.record.stopping import Stopping
    from tacit.selection.cohort import Sampling

UPDATE, LOSS = "update", "loss"
QUIETER = 10.0
"""The noise on the training loss, in units of its bound, is so many times that on the update."""
TIGHT = 1.05
"""A cap may cost at most this factor in epsilon."""
UNLIKELY = 1e-6
"""Probability with which some client takes part more often than is said against the server."""


def event_for(sampling: Sampling, noise: float) -> Event:
    """What one round of this sampling, with this noise multiplier, is to the accountant."""
    if sampling.kind == "poisson":
        assert sampling.rate is not None and sampling.cap is not None
        if sampling.rate >= 1:
            return Gaussian(noise)
        if sampling.cap >= sampling.of:
            return PoissonSampled(noise, sampling.rate)
        return Truncated(noise, sampling.rate, sampling.of, sampling.cap)
    if sampling.kind == "uniform" and sampling.size < sampling.of:
        return FixedSize(noise, int(sampling.size), sampling.of)
    return Gaussian(noise)


def refusals(
    level: UserLevel, task: Task, algorithm: Algorithm, stages: Sequence[Stage], clients: int
) -> Iterator[PrivacyError]:
    """Everything of a federation that does not go together with user-level privacy, and can be seen before it runs."""
    from tacit.aggregation.norm_bound import NormBound

    yield from level.problems(clients)
    yield from level.clashes(algorithm)
    for stage in stages:
        if isinstance(stage, NormBound):
            yield PrivacyError("NormBound and UserLevel both bound the norm of a report: leave NormBound out")
    if task.buffer_layout.size:
        yield BatchNormBuffers(
            f"the model's buffers {list(task.buffer_layout.names)} are computed from the clients' data in training and "
            "would be released: use GroupNorm or LayerNorm instead of BatchNorm"
        )


@dataclass(frozen=True)
class PrivacyPlan:
    """What a run of `rounds` rounds promises and how.

    Attributes:
        level: what was asked for.
        sampling: how cohorts are drawn, as the selection itself declares it.
        rounds: T.
        noise: z, of all that a round releases together.
        delta: of the claim.
    """

    level: UserLevel
    sampling: Sampling
    rounds: int
    noise: float
    delta: float

    @classmethod
    def of(cls, level: UserLevel, sampling: Sampling, rounds: int) -> PrivacyPlan:
        """Calibrates the noise.

        Raises:
            PrivacyError: what was asked for cannot be had; the message says what can.
        """
        delta, adjacency = level.delta_for(sampling.of), level.adjacency
        _check_sampling(sampling)
        noise = level.noise_multiplier
        if noise is None:
            assert level.epsilon is not None
            noise = noise_for(level.epsilon, lambda z: event_for(sampling, z), rounds, delta, adjacency)
        if noise == inf:
            raise NoiseRequired(
                f"no noise makes {rounds} rounds cost epsilon {level.epsilon:g} at delta {delta:g}: "
                "take fewer rounds or a larger epsilon"
            )
        plan = cls(level, sampling, rounds, noise, delta)
        plan._check()
        return plan

    def _check(self) -> None:
        event, level = self.event, self.level
        cost = self.most(self.rounds)
        if isinstance(event, Truncated):
            plain = charges([(PoissonSampled(event.noise, event.rate), self.rounds)])
            without = most(plain, self.delta, level.adjacency)
            if cost > TIGHT * without:
                raise CapTooTight(
                    f"cap={event.cap} with {self.sampling.size:g} clients expected makes epsilon {cost:.3g} where "
                    f"{without:.3g} would do: leave cap out, or give about expected + 5 sqrt(expected)"
                )
        if level.epsilon is not None and cost > level.epsilon * (1 + 1e-3):
            rounds = affordable(event, level.epsilon, self.delta, level.adjacency, limit=self.rounds)
            raise BudgetExceeded(
                f"{self.rounds} rounds with noise_multiplier={self.noise:g} cost epsilon {cost:.4g}, and the run may "
                f"spend {level.epsilon:g}: run {rounds} rounds, or leave noise_multiplier out so that it follows"
            )

    @property
    def event(self) -> Event:
        """Of one round."""
        return event_for(self.sampling, self.noise)

    def spent(self, rounds: int, before: Charges = (), *, interval: float = FINE) -> Spent:
        """What the first `rounds` rounds cost, on top of `before`, by both accountants."""
        together = charges([*before, (self.event, rounds)])
        if not together:
            return Spent(0.0, 0.0, 0.0, self.delta)
        return spent(together, self.delta, self.level.adjacency, interval=interval)

    def most(self, rounds: int, before: Charges = ()) -> float:
        """The same as one number, sooner and a little larger."""
        return most(charges([*before, (self.event, rounds)]), self.delta, self.level.adjacency)

    def participations(self, rounds: int) -> int:
        """In how many of `rounds` rounds a client takes part at most, except with probability `UNLIKELY` for all."""
        from scipy.stats import binom

        rate = min(self.sampling.size / self.sampling.of, 1.0)
        if self.sampling.kind not in ("poisson", "uniform") or rate == 1.0:
            return rounds
        return min(int(binom.isf(UNLIKELY / self.sampling.of, rounds, rate)), rounds)

    def against_server(self, rounds: int) -> Spent:
        """What those learn who know the cohorts, of the client that takes part most often: no credit for sampling."""
        together = charges([(Gaussian(self.noise), self.participations(rounds))])
        return spent(together, self.delta, self.level.adjacency)

    def noises(self) -> dict[str, float]:
        """The noise multiplier of every release; together, as one Gaussian, they are worth `noise`."""
        if self.level.loss_bound is None:
            return {UPDATE: self.noise}
        update = self.noise * sqrt(1 + QUIETER**-2)
        return {UPDATE: update, LOSS: QUIETER * update}


def bounds_of(level: UserLevel, names: Sequence[str]) -> tuple[Bound, ...]:
    """The bounds of a report whose parts have these names, in their order."""
    from tacit.privacy.clip import Bound

    assert level.clip is not None
    found = [Bound(UPDATE, tuple(name for name in names if name != LOSS), level.clip)]
    if level.loss_bound is not None:
        found.append(Bound(LOSS, (LOSS,), level.loss_bound))
    return tuple(found)


def require_released(level: UserLevel, rules: Sequence[Stopping]) -> None:
    """Holds stopping rules against what a run releases: how long it runs is seen by everybody.

    Raises:
        UnregisteredRelease: a rule looks at something that is hidden, or measured on data that are not public.
    """
    for metric in (getattr(rule, "metric", None) for rule in rules):
        if metric == LOSS and level.loss_bound is None:
            raise UnregisteredRelease(
                "a stopping rule looks at the training loss, which is hidden: release it, UserLevel(loss_bound=10.0)"
            )
        if str(metric).startswith("test_") and not level.public_evaluation:
            raise UnregisteredRelease(
                f"a stopping rule looks at {metric}: if those data are of the people in the population, when the run "
                "ends tells of them. Measure on public data and say so, UserLevel(public_evaluation=True), or leave "
                "the rule out"
            )


def _check_sampling(sampling: Sampling) -> None:
    if sampling.kind not in ("everyone", "uniform", "poisson", "arbitrary") or sampling.size <= 0:
        raise SamplerMismatch(
            f"the selection declares {sampling!r}, for which no accounting is known: give tacit.Poisson(expected=...), "
            "tacit.Uniform(...) or tacit.Everyone()"
        )

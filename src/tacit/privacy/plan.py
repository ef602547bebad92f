"""The privacy plan: unit, clip, noise and sampling, put together, so that none can say what another does not do."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tacit.errors import (
    AdaptiveClipTooNoisy,
    BatchNormBuffers,
    BudgetExceeded,
    CapTooTight,
    MinSeparationViolated,
    NoiseRequired,
    PrivacyError,
    SamplerMismatch,
)
from tacit.privacy.accountant import FINE, Spent, affordable, most, spent
from tacit.privacy.bound import WITHIN
from tacit.privacy.calibration import noise_for
from tacit.privacy.correlated import best_bands, sensitivity
from tacit.privacy.event import (
    Charges,
    Event,
    FixedSize,
    Gaussian,
    PoissonSampled,
    Reports,
    Skellam,
    Truncated,
    charges,
)
from tacit.privacy.local_level import LAPLACE, LONGEST, LocalLevel
from tacit.privacy.releases import LOSS, METRICS, UPDATE
from tacit.privacy.settings import LOUDEST
from tacit.privacy.shares import Shares
from tacit.privacy.usable import SURE, too_large
from tacit.privacy.user_level import BISR, UserLevel

if TYPE_CHECKING:
    from tacit.aggregation.stage import Stage
    from tacit.algorithms.base import Algorithm
    from tacit.learning.task import Task
    from tacit.selection.cohort import Sampling

COARSEST = 10.0
"""With an adaptive clip norm, the noise on the count of reports within it has the standard deviation `expected / 20`,
[Andrew21] section 3.1: that is the noise multiplier `expected / 10`, for one client moves the count by at most 1/2."""
QUIETER = 10.0
"""The noise on the training loss, in units of its bound, is so many times that on the update."""
COARSER = 4.0
"""The same of the noise on metrics, in units of the norm of as many ones."""
TIGHT = 1.05
"""A cap may cost at most this factor in epsilon."""
SERVER, SECURE, SHARED = "server", "secure aggregation", "shared key"
"""Who adds reports."""
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
    named: object = level.metrics
    for name in named if isinstance(named, tuple) else ():
        if name not in task.metrics:
            known = ", ".join(task.metrics) or "none"
            yield PrivacyError(f"metrics names {name!r}, which is no metric of the task: it has {known}")
    for stage in stages:
        if isinstance(stage, NormBound):
            yield PrivacyError("NormBound and UserLevel both bound the norm of a report: leave NormBound out")
    if isinstance(level, LocalLevel) and level.mechanism == LAPLACE and task.d > LONGEST:
        yield PrivacyError(
            f"the model has {task.d:,} parameters: Laplace noise suits reports of at most {LONGEST:,} numbers, take "
            "mechanism='gaussian'"
        )
    if task.buffer_layout.size:
        yield BatchNormBuffers(
            f"the model's buffers {list(task.buffer_layout.names)} are computed from the clients' data in training and "
            "would be released: use GroupNorm or LayerNorm instead of BatchNorm"
        )


def participations(sampling: Sampling, rounds: int) -> int:
    """In how many of `rounds` rounds a client takes part at most, except with probability `UNLIKELY` for all."""
    from scipy.stats import binom

    if sampling.gap is not None:
        return -(-rounds // sampling.gap)
    rate = min(sampling.size / sampling.of, 1.0)
    if sampling.kind not in ("poisson", "uniform") or rate == 1.0:
        return rounds
    return min(int(binom.isf(UNLIKELY / sampling.of, rounds, rate)), rounds)


@dataclass(frozen=True)
class PrivacyPlan:
    """What a run of `rounds` rounds promises and how.

    Attributes:
        level: what was asked for.
        sampling: how cohorts are drawn, as the selection itself declares it.
        rounds: T.
        noise: standard deviation of the draws for a round, all that it releases together taken as one, in clip norms.
        delta: of the claim.
        bands: how many draws the noise of a round combines; 1 where rounds are independent.
        fewest: reports in a sum that the server sees, at least; None where it sees single ones.
        summed: by whom reports are added: "server", "secure aggregation", or "shared key".
        shares: how clients share out the noise, where they add it under the masks of a secure sum.
    """

    level: UserLevel
    sampling: Sampling
    rounds: int
    noise: float
    delta: float
    bands: int = 1
    fewest: int | None = None
    shares: Shares | None = None
    summed: str = SERVER

    @classmethod
    def of(
        cls,
        level: UserLevel,
        sampling: Sampling,
        rounds: int,
        fewest: int | None = None,
        shares: Shares | None = None,
        summed: str = SERVER,
    ) -> PrivacyPlan:
        """Calibrates the noise.

        Args:
            level, sampling, rounds, fewest, shares, summed: as above.

        Raises:
            PrivacyError: what was asked for cannot be had; the message says what can.
        """
        if shares is not None:
            return replace(cls._of_shares(level, sampling, rounds, fewest, shares), summed=summed)
        return replace(cls._of_sums(level, sampling, rounds), fewest=fewest, summed=summed)

    @classmethod
    def _of_sums(cls, level: UserLevel, sampling: Sampling, rounds: int) -> PrivacyPlan:
        delta, adjacency = level.delta_for(sampling.of), level.adjacency
        _check_sampling(level, sampling)
        if isinstance(level, LocalLevel):
            return cls._of_reports(level, sampling, rounds)
        if sampling.gap is not None:
            return cls._of_turns(level, sampling, rounds)
        noise = level.noise_multiplier
        if noise is None:
            assert level.epsilon is not None
            noise = noise_for(level.epsilon, lambda z: event_for(sampling, z), rounds, delta, adjacency)
        return cls(level, sampling, rounds, noise, delta)._checked()

    @classmethod
    def _of_turns(cls, level: UserLevel, sampling: Sampling, rounds: int) -> PrivacyPlan:
        """With separated turns the whole run is one Gaussian release, whatever its noise combines."""
        assert sampling.gap is not None
        delta, bands = level.delta_for(sampling.of), best_bands(rounds, sampling.gap) if level.mechanism == BISR else 1
        noise = level.noise_multiplier
        if noise is None:
            assert level.epsilon is not None
            alone = noise_for(level.epsilon, Gaussian, 1, delta, level.adjacency)
            noise = alone * sensitivity(bands, rounds, sampling.gap)
        return cls(level, sampling, rounds, noise, delta, bands)._checked()

    @classmethod
    def _of_reports(cls, level: LocalLevel, sampling: Sampling, rounds: int) -> PrivacyPlan:
        """With noise on every report, what counts is how many of them a client sends."""
        delta, noise = level.delta_for(sampling.of), level.noise_multiplier
        if noise is None:
            assert level.epsilon is not None
            times = participations(sampling, rounds)
            noise = noise_for(level.epsilon, lambda z: Reports(z, level.mechanism, times), 1, delta, level.adjacency)
        return cls(level, sampling, rounds, noise, delta)._checked()

    @classmethod
    def _of_shares(
        cls, level: UserLevel, sampling: Sampling, rounds: int, fewest: int | None, shares: Shares
    ) -> PrivacyPlan:
        """With noise under masks, what counts is in how many sums a client is."""
        delta, noise = level.delta_for(sampling.of), level.noise_multiplier
        if noise is None:
            assert level.epsilon is not None
            times = participations(sampling, rounds)
            noise = noise_for(level.epsilon, lambda z: shares.event(z, times), 1, delta, level.adjacency)
        return cls(level, sampling, rounds, noise, delta, 1, fewest, shares)._checked()

    def _checked(self) -> PrivacyPlan:
        level = self.level
        if self.noise == inf:
            raise NoiseRequired(
                f"no noise makes {self.rounds} rounds cost epsilon {level.epsilon} at delta {self.delta:g}: "
                "take fewer rounds or a larger epsilon"
            )
        event = self.event
        if level.clip_quantile is not None and self.noise >= self.sampling.size / COARSEST:
            raise AdaptiveClipTooNoisy(
                f"with noise multiplier {self.noise:.3g} and {self.sampling.size:g} clients in a round, noise of "
                f"expected / 20 on the count of reports would take the whole budget: leave clip_quantile out, or "
                f"take more than {COARSEST * self.noise:.0f} clients"
            )
        if max(self.noises().values()) > LOUDEST:
            raise PrivacyError(
                f"noise of {max(self.noises().values()):.3g} times the clip norm does not fit onto the grid on which "
                f"sums are made: take a noise_multiplier of at most {LOUDEST / 100:g}, a larger epsilon or cohort"
            )
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
            if level.noise_multiplier is None:
                raise too_large(level.epsilon, replace(self, noise=self.noise * SURE).most(self.rounds))
            rounds = self.affordable(level.epsilon)
            raise BudgetExceeded(
                f"{self.rounds} rounds with noise_multiplier={self.noise:g} cost epsilon {cost:.4g}, and the run may "
                f"spend {level.epsilon:g}: run {rounds} rounds, or leave noise_multiplier out so that it follows"
            )
        return self

    @property
    def event(self) -> Event:
        """Of one round; of all of them, where turns are separated or clients add the noise themselves."""
        if self.shares is not None:
            return self.shares.event(self.noise, self.participations(self.rounds))
        if self.local:
            return Reports(self.noise, self.level.mechanism, self.participations(self.rounds))
        if self.sampling.gap is not None:
            return Gaussian(self.noise / sensitivity(self.bands, self.rounds, self.sampling.gap))
        return event_for(self.sampling, self.noise)

    @property
    def at_once(self) -> bool:
        """Whether the whole run is charged when it begins."""
        return self.sampling.gap is not None or self.by_clients

    @property
    def by_clients(self) -> bool:
        """Whether clients add the noise, so that what is charged is in how many rounds one takes part."""
        return self.local or self.shares is not None

    @property
    def local(self) -> bool:
        """Whether every client adds the noise to its own report."""
        return isinstance(self.level, LocalLevel)

    def charged(self, rounds: int, lost: int = 0) -> Charges:
        """What the first `rounds` rounds are to the accountant, and so many that were cut off."""
        if self.by_clients:
            times = self.participations(rounds) + lost
            each = self.event if times else None
            assert each is None or isinstance(each, Reports | Skellam)
            return charges([] if each is None else [replace(each, times=times)])
        if self.sampling.gap is None or not rounds:
            return charges([(self.event, rounds + lost)])
        return charges([Gaussian(self.noise / sensitivity(self.bands, rounds, self.sampling.gap))])

    def spent(self, rounds: int, before: Charges = (), *, lost: int = 0, interval: float = FINE) -> Spent:
        """What the first `rounds` rounds cost, and `lost` more, on top of `before`, by both accountants."""
        together = charges([*before, *self.charged(rounds, lost)])
        if not together:
            return Spent(0.0, 0.0, 0.0, self.delta)
        return spent(together, self.delta, self.level.adjacency, interval=interval)

    def most(self, rounds: int, before: Charges = (), *, lost: int = 0) -> float:
        """The same as one number, sooner and a little larger."""
        return most(charges([*before, *self.charged(rounds, lost)]), self.delta, self.level.adjacency)

    def affordable(self, budget: float, before: Charges = ()) -> int:
        """How many rounds of this run a budget of epsilon allows, after `before`."""
        if not self.at_once:
            return affordable(self.event, budget, self.delta, self.level.adjacency, before, self.rounds)
        return bisect_right(range(1, self.rounds + 1), budget, key=lambda rounds: self.most(rounds, before))

    def participations(self, rounds: int) -> int:
        """In how many of `rounds` rounds a client takes part at most, except with probability `UNLIKELY` for all."""
        return participations(self.sampling, rounds)

    def against_server(self, rounds: int, lost: int = 0) -> Spent:
        """What those learn who know the cohorts, of the client that takes part most often: no credit for sampling."""
        if self.at_once:
            return self.spent(rounds, lost=lost)
        together = charges([(Gaussian(self.noise), self.participations(rounds + lost))])
        return spent(together, self.delta, self.level.adjacency)

    def noises(self) -> dict[str, float]:
        """The noise multiplier of every release; together, as one Gaussian, they are worth `noise`."""
        rest, within = self.noise**-2, {}
        if self.level.clip_quantile is not None:
            within = {WITHIN: self.sampling.size / COARSEST}
            rest -= within[WITHIN] ** -2
        more = {LOSS: QUIETER} if self.level.loss_bound is not None else {}
        more |= {METRICS: COARSER} if self.level.metrics else {}
        update = rest**-0.5 * sqrt(1 + sum(factor**-2 for factor in more.values()))
        return {UPDATE: update} | {name: factor * update for name, factor in more.items()} | within


def require_cohort(clients: NDArray[np.int64], sampling: Sampling, cap: int | None = None) -> None:
    """Holds a cohort against what no rule of drawing allows.

    Raises:
        SamplerMismatch: a client is in it twice, or does not exist; or more than `cap` are.
    """
    different = len(np.unique(clients))
    if different < len(clients) or len(clients) > (cap or sampling.of):
        raise SamplerMismatch(
            f"a cohort has {len(clients)} clients, {different} of them different, where {sampling!r} was declared: a "
            "client counts once in a round"
        )
    if len(clients) and not (clients.min() >= 0 and clients.max() < sampling.of):
        raise SamplerMismatch(f"a cohort holds clients outside of 0 to {sampling.of - 1}")


def _check_sampling(level: UserLevel, sampling: Sampling) -> None:
    if level.mechanism == BISR and sampling.gap is None:
        raise MinSeparationViolated(
            f"correlated noise needs turns that are rounds apart, and {sampling.kind} sampling lets a client take part "
            "in any: give selection=tacit.Separated(cohort), or leave mechanism at 'gaussian'"
        )
    if sampling.kind not in ("everyone", "uniform", "poisson", "separated", "arbitrary") or sampling.size <= 0:
        raise SamplerMismatch(
            f"the selection declares {sampling!r}, for which no accounting is known: give tacit.Poisson(expected=...), "
            "tacit.Uniform(...) or tacit.Everyone()"
        )

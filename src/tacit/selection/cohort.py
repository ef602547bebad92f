"""Who takes part in a round, and the sampling model that may be claimed for the choice."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tacit import keys
from tacit.checks import is_count, is_number, make_plain

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Sampling:
    """How cohorts are drawn. Only what is declared here may ever be used to claim amplification of privacy by sampling.

    Attributes:
        kind: "everyone", "uniform" (`size` of `of`, without replacement), "poisson" (each with probability `rate`, of
            more than `cap` only `cap`, at random), "separated" (nobody again within `gap` rounds), or "arbitrary".
        size: how many clients are in a cohort; on average, for "poisson".
        of: how many there are.
        rate, cap: of "poisson".
        gap: of "separated": a client that takes part in round t does not before round `t + gap`.
    """

    kind: str
    size: float
    of: int
    rate: float | None = None
    cap: int | None = None
    gap: int | None = None


@dataclass(frozen=True)
class Cohort:
    """The clients of one round.

    Attributes:
        clients: (K,) positions in the population, ascending.
        sampling: how they were drawn.
        budget: (K,) most local steps that each may take, or None for all of its work.
    """

    clients: Int
    sampling: Sampling
    budget: Int | None = None


class Selection(Protocol):
    """A rule by which cohorts are drawn. It sees how many clients there are, never their data."""

    def problems(self, clients: int) -> list[str]:
        """What is wrong with this rule for a population of `clients`."""
        ...

    def sampling(self, clients: int) -> Sampling:
        """How every cohort is drawn from `clients`."""
        ...

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """The cohort of `round`."""
        ...


@dataclass(frozen=True)
class Everyone:
    """All clients take part in every round."""

    def problems(self, clients: int) -> list[str]:
        """Nothing can be wrong."""
        return []

    def sampling(self, clients: int) -> Sampling:
        """Nobody is left out."""
        return Sampling("everyone", clients, clients)

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """All of them."""
        return Cohort(np.arange(clients, dtype=np.int64), self.sampling(clients))


@dataclass(frozen=True)
class Uniform:
    """`cohort` clients, drawn uniformly without replacement, anew in each round."""

    cohort: int

    def __post_init__(self) -> None:
        make_plain(self)

    def problems(self, clients: int) -> list[str]:
        """A cohort below 1 or above the population."""
        if is_count(self.cohort) and self.cohort <= clients:
            return []
        return [f"the cohort is {self.cohort!r} of {clients} clients: give a whole number from 1 to {clients}"]

    def sampling(self, clients: int) -> Sampling:
        """A fixed number, without replacement."""
        return Sampling("uniform", self.cohort, clients)

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """A uniform draw from the key (seed, "cohort", round)."""
        rng = keys.generator(seed, "cohort", round)
        drawn = np.sort(rng.choice(clients, self.cohort, replace=False, shuffle=False)).astype(np.int64)
        return Cohort(drawn, self.sampling(clients))


SAFE = 5.0
"""Standard deviations between the mean of a Poisson cohort and its cap: so far off, the cap costs no privacy."""


@dataclass(frozen=True)
class Poisson:
    """Every client takes part with the same probability, independently of the others and of other rounds.

    The sampling for which amplification of privacy is known best ([Abadi16] arXiv:1607.00133). Of more than `cap`
    clients that come up, `cap` are kept at random, so that a round never takes more than that.

    Args:
        expected: clients in a round on average; each comes up with probability `expected / N`.
        cap: most clients in a round; `expected + 5 sqrt(expected)` when None.
    """

    expected: float
    cap: int | None = None

    def __post_init__(self) -> None:
        make_plain(self)

    def problems(self, clients: int) -> list[str]:
        """A number that is not positive, or above the population; a cap below it."""
        if not is_number(self.expected) or not 0 < self.expected <= clients:
            return [f"expected is {self.expected!r} of {clients} clients: give a number above 0, of at most {clients}"]
        if self.cap is not None and not (is_count(self.cap) and self.cap >= self.expected):
            return [f"cap is {self.cap!r}: give a whole number of at least expected={self.expected:g}, or leave it out"]
        return []

    def sampling(self, clients: int) -> Sampling:
        """Independent coins, and the cap."""
        cap = self.cap or ceil(self.expected + SAFE * sqrt(self.expected))
        return Sampling("poisson", self.expected, clients, self.expected / clients, min(cap, clients))

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """Coins from the key (seed, "cohort", round)."""
        rng, sampling = keys.generator(seed, "cohort", round), self.sampling(clients)
        assert sampling.rate is not None and sampling.cap is not None
        drawn = np.flatnonzero(rng.random(clients) < sampling.rate)
        if len(drawn) > sampling.cap:
            drawn = np.sort(rng.choice(drawn, sampling.cap, replace=False))
        return Cohort(drawn.astype(np.int64), sampling)


@dataclass(frozen=True)
class Separated:
    """Clients take turns in an order drawn once: each is `floor(N / cohort)` rounds away from its next turn, at least.

    For correlated noise, which needs this separation and no chance: who took part when may be known to everybody.

    Args:
        cohort: clients in every round.
    """

    cohort: int

    def __post_init__(self) -> None:
        make_plain(self)

    def problems(self, clients: int) -> list[str]:
        """A cohort below 1 or above the population."""
        return Uniform(self.cohort).problems(clients)

    def sampling(self, clients: int) -> Sampling:
        """The separation."""
        return Sampling("separated", self.cohort, clients, gap=clients // self.cohort)

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """The next `cohort` clients of the order from the key (seed, "turns")."""
        order = keys.generator(seed, "turns").permutation(clients)
        turns = (round * self.cohort + np.arange(self.cohort)) % clients
        return Cohort(np.sort(order[turns]).astype(np.int64), self.sampling(clients))

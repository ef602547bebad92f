"""Who takes part in a round, and the sampling model that may be claimed for the choice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tacit import keys
from tacit.checks import is_count, is_number, make_plain, offers
from tacit.selection.table import ClientTable

Int = NDArray[np.int64]
Float = NDArray[np.float64]


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
        inclusion: (K,) with what probability each was to be drawn, given who could be asked; None where the rule cannot
            say.
    """

    clients: Int
    sampling: Sampling
    budget: Int | None = None
    inclusion: Float | None = None


class Selection(Protocol):
    """A rule by which cohorts are drawn. It sees how many clients there are, never their data.

    One that looks at more (who is there, how fast they are, who took part) has the method `choose`, see `Informed`.
    """

    def problems(self, clients: int) -> list[str]:
        """What is wrong with this rule for a population of `clients`."""
        ...

    def sampling(self, clients: int) -> Sampling:
        """How every cohort is drawn from `clients`."""
        ...

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """The cohort of `round`."""
        ...


class Informed(ABC):
    """A selection that draws from a table of the clients: from those in its pool, and from nobody else.

    It keeps nothing between rounds: what it knows of the past is in the table, so that the same object serves a
    simulation and a coordinator, and a run that is resumed draws the same cohorts.
    """

    @property
    def uses(self) -> tuple[str, ...]:
        """The kinds of data that its choice follows from: `SYSTEM`, `PARTICIPATION`, `TIER_LOSSES`, `CLIENT_LOSSES`."""
        return ()

    @abstractmethod
    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """The cohort of `round`; empty where nobody may be asked."""

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """The cohort of `round` from clients of which nothing is known."""
        return self.choose(ClientTable.of(clients), seed, round)


def drawn(selection: Selection, table: ClientTable, seed: int, round: int) -> Cohort:
    """The cohort of `round`: by `choose` where the selection has it, else of all clients, of whom the pool is kept."""
    if offers(selection, "choose"):
        cohort: Cohort = selection.choose(table, seed, round)  # type: ignore[attr-defined]
    else:
        cohort = selection.draw(len(table), seed, round)
    if len(cohort.clients) and not 0 <= cohort.clients.min() <= cohort.clients.max() < len(table):
        return cohort  # what is wrong with it is said where cohorts are held against what was declared
    there = table.pool[cohort.clients]
    if bool(there.all()):
        return cohort
    budget = None if cohort.budget is None else cohort.budget[there]
    inclusion = None if cohort.inclusion is None else cohort.inclusion[there]
    return replace(cohort, clients=cohort.clients[there], budget=budget, inclusion=inclusion)


@dataclass(frozen=True)
class Everyone(Informed):
    """All clients take part in every round."""

    def problems(self, clients: int) -> list[str]:
        """Nothing can be wrong."""
        return []

    def sampling(self, clients: int) -> Sampling:
        """Nobody is left out."""
        return Sampling("everyone", clients, clients)

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """All who may be asked."""
        who = table.eligible
        return Cohort(who, self.sampling(len(table)), inclusion=np.ones(len(who)))


@dataclass(frozen=True)
class Uniform(Informed):
    """`cohort` clients, drawn uniformly without replacement, anew in each round; all, where fewer may be asked."""

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

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """A uniform draw from the key (seed, "cohort", round)."""
        rng, who = keys.generator(seed, "cohort", round), table.eligible
        size = min(self.cohort, len(who))
        drawn = who[np.sort(rng.choice(len(who), size, replace=False, shuffle=False))]
        return Cohort(drawn, self.sampling(len(table)), inclusion=np.full(size, size / max(len(who), 1)))


SAFE = 5.0
"""Standard deviations between the mean of a Poisson cohort and its cap: so far off, the cap costs no privacy."""


@dataclass(frozen=True)
class Poisson(Informed):
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

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """Coins from the key (seed, "cohort", round), one for each client, in the pool or not: the rate stays."""
        rng, sampling = keys.generator(seed, "cohort", round), self.sampling(len(table))
        assert sampling.rate is not None and sampling.cap is not None
        drawn = np.flatnonzero((rng.random(len(table)) < sampling.rate) & table.pool)
        if len(drawn) > sampling.cap:
            drawn = np.sort(rng.choice(drawn, sampling.cap, replace=False))
        return Cohort(drawn.astype(np.int64), sampling, inclusion=np.full(len(drawn), sampling.rate))


@dataclass(frozen=True)
class Separated(Informed):
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

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """The next `cohort` clients of the order from the key (seed, "turns"); who is not there misses its turn."""
        order = keys.generator(seed, "turns").permutation(len(table))
        turns = np.sort(order[(round * self.cohort + np.arange(self.cohort)) % len(table)]).astype(np.int64)
        who = turns[table.pool[turns]]
        return Cohort(who, self.sampling(len(table)), inclusion=np.ones(len(who)))

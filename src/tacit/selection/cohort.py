"""Who takes part in a round, and the sampling model that may be claimed for the choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tacit import keys
from tacit.checks import is_count, make_plain

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Sampling:
    """How a cohort was drawn: "everyone", "uniform" (`size` of `of`, without replacement), or "arbitrary".

    Only what is declared here may ever be used to claim amplification of privacy by sampling.
    """

    kind: str
    size: int
    of: int


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

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """The cohort of `round`."""
        ...


@dataclass(frozen=True)
class Everyone:
    """All clients take part in every round."""

    def problems(self, clients: int) -> list[str]:
        """Nothing can be wrong."""
        return []

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """All of them."""
        return Cohort(np.arange(clients, dtype=np.int64), Sampling("everyone", clients, clients))


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

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """A uniform draw from the key (seed, "cohort", round)."""
        rng = keys.generator(seed, "cohort", round)
        drawn = np.sort(rng.choice(clients, self.cohort, replace=False, shuffle=False)).astype(np.int64)
        return Cohort(drawn, Sampling("uniform", self.cohort, clients))

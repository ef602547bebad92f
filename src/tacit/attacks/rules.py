"""The small parts that let a real run be watched: who is drawn, what clients hold, and what is seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tacit.learning.batches import Examples
from tacit.learning.layout import Parts
from tacit.population.population import Int, Population
from tacit.selection.cohort import Cohort, Poisson, Sampling, Selection, Separated, Uniform


@dataclass(frozen=True, eq=False)
class Among:
    """Draws as another rule does, and keeps of a cohort those that are members.

    What it declares is what that rule declares: the others count as drawn, and send nothing.

    Attributes:
        rule: the other one.
        members: (N,) bool.
    """

    rule: Selection
    members: np.ndarray

    def problems(self, clients: int) -> list[str]:
        """Those of the other rule."""
        return self.rule.problems(clients)

    def sampling(self, clients: int) -> Sampling:
        """As the other rule declares."""
        return self.rule.sampling(clients)

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """The members of the other rule's cohort."""
        drawn = self.rule.draw(clients, seed, round)
        kept = self.members[drawn.clients]
        return replace(drawn, clients=drawn.clients[kept], budget=None if drawn.budget is None else drawn.budget[kept])


@dataclass(frozen=True)
class Alone:
    """One client, in every round; declared as what another rule draws.

    Attributes:
        rule: the other one.
        client: its position.
    """

    rule: Selection
    client: int

    def problems(self, clients: int) -> list[str]:
        """Those of the other rule."""
        return self.rule.problems(clients)

    def sampling(self, clients: int) -> Sampling:
        """As the other rule declares."""
        return self.rule.sampling(clients)

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """The client."""
        return Cohort(np.array([self.client], dtype=np.int64), self.sampling(clients))


class Held(Population):
    """A population in which every client holds at most so many examples, its latest ones.

    It is marked as synthetic, so that no ledger is charged: what is run on it is seen by nobody but the attack.
    """

    synthetic = True

    def __init__(self, population: Population, most: int | None = None) -> None:
        self._population, self._most = population, most
        self.ids, self.classes = population.ids, population.classes
        self.sizes = population.sizes if most is None else np.minimum(population.sizes, most)

    def examples(self, clients: Int) -> Examples:
        """See `Population.examples`."""
        found = self._population.examples(clients)
        return replace(found, start=found.start + found.size - self.sizes[clients], size=self.sizes[clients])

    def cast(self, dtype: torch.dtype) -> Held:
        """See `Population.cast`."""
        return Held(self._population.cast(dtype), self._most)


class Seen:
    """What a round released; an `Audit` that plants nothing.

    Attributes:
        mean: of the last round.
    """

    def __init__(self) -> None:
        self.mean: Parts | None = None

    def plant(self, clients: Int, update: Tensor) -> None:
        """Leaves every update as it is."""

    def see(self, round: int, mean: Parts) -> None:
        """See `Audit.see`."""
        self.mean = dict(mean)


def larger(selection: Selection, clients: int, factor: float) -> Selection:
    """The rule that draws `factor` times as many, at most all. One that is none of tacit's own stays as it is."""
    if isinstance(selection, Poisson):
        return Poisson(min(selection.expected * factor, float(clients)))
    if isinstance(selection, Uniform | Separated):
        return type(selection)(min(round(selection.cohort * factor), clients))
    return selection

"""The plan of record-level privacy: each client's sampling, number of steps and noise, put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from math import inf

import numpy as np
from numpy.typing import NDArray

from tacit.errors import BudgetExceeded, NoiseRequired, PrivacyError
from tacit.learning.solver import Solver, steps_for
from tacit.privacy.accountant import COARSE, FINE, ROUGH, Spent, most, spent
from tacit.privacy.calibration import noise_for
from tacit.privacy.event import Charges, LocalSteps, charges
from tacit.privacy.record_level import RecordLevel
from tacit.privacy.settings import LOUDEST
from tacit.privacy.usable import SURE, too_large

Int = NDArray[np.int64]
GROUPS = 16
"""Clients of more sizes than this are calibrated in so many groups, each for the worst of its clients."""


@dataclass(frozen=True)
class Group:
    """Clients whose records are protected by one noise multiplier.

    Attributes:
        fewest, most: records of the smallest and of the largest of them.
        clients: how many they are.
        rate: with which a step reads each record, at most.
        steps: in a round, at most.
        delta: of the claim, at most theirs.
        noise: z.
    """

    fewest: int
    most: int
    clients: int
    rate: float
    steps: int
    delta: float
    noise: float

    @property
    def event(self) -> LocalSteps:
        """One round of one of them."""
        return LocalSteps(self.noise, self.rate, self.steps)


@dataclass(frozen=True)
class RecordPlan:
    """What a run promises each client's records.

    Attributes:
        level: what was asked for.
        rounds: of the run.
        participations: in how many of them a client may take part.
        groups: the clients by size.
        sizes: (N,) records of each client.
        batch_size: of a step on average; None takes all records.
    """

    level: RecordLevel
    rounds: int
    participations: int
    groups: tuple[Group, ...]
    sizes: Int
    batch_size: int | None

    @classmethod
    def of(cls, level: RecordLevel, solver: Solver, sizes: Int, rounds: int, participations: int) -> RecordPlan:
        """Calibrates each group's noise.

        Raises:
            PrivacyError: what was asked for cannot be had.
        """
        groups = tuple(_calibrated(level, solver, members, participations) for members in _grouped(sizes))
        plan = cls(level, rounds, participations, groups, sizes, solver.batch_size)
        for group in groups:
            if group.noise > LOUDEST:
                raise PrivacyError(
                    f"noise of {group.noise:.3g} times the clip norm is beyond all use: take a noise_multiplier of at "
                    f"most {LOUDEST / 100:g}, or a larger epsilon"
                )
            if level.epsilon is not None and plan.most(group, participations) > level.epsilon * (1 + 1e-3):
                if level.noise_multiplier is None:
                    usable = plan.most(replace(group, noise=group.noise * SURE), participations)
                    raise too_large(level.epsilon, usable)
                raise BudgetExceeded(
                    f"{participations} rounds with noise_multiplier={group.noise:g} cost a client of {group.fewest} "
                    f"records epsilon {plan.most(group, participations):.4g}, and the run may spend {level.epsilon:g}: "
                    "run fewer rounds or local steps, or leave noise_multiplier out so that it follows"
                )
        return plan

    @cached_property
    def group_of(self) -> Int:
        """(N,) the group of each client."""
        return np.searchsorted([group.fewest for group in self.groups], self.sizes, side="right") - 1

    def group(self, client: int) -> Group:
        """Of the client at this position."""
        return self.groups[int(self.group_of[client])]

    def expected(self, client: int) -> int:
        """Records in one of a client's batches on average."""
        return min(self.batch_size or int(self.sizes[client]), int(self.sizes[client]))

    def rate(self, client: int) -> float:
        """With which each of a client's steps reads each of its records."""
        return self.expected(client) / int(self.sizes[client])

    def spent(self, group: Group, rounds: int, before: Charges = (), *, interval: float = FINE) -> Spent:
        """What so many rounds told of the records of one client of a group, on top of `before`."""
        together = charges([*before, (group.event, rounds)])
        if not together:
            return Spent(0.0, 0.0, 0.0, group.delta)
        return spent(together, group.delta, self.level.adjacency, interval=interval)

    def most(self, group: Group, rounds: int, before: Charges = ()) -> float:
        """The same as one number, sooner and a little larger."""
        return most(charges([*before, (group.event, rounds)]), group.delta, self.level.adjacency)

    def so_far(self, group: Group, rounds: int) -> float:
        """For progress lines: sooner still, and larger, but never than the whole run."""
        cost = partial(_cost, group.event, group.delta, self.level.adjacency)
        return min(cost(rounds, ROUGH), cost(self.participations, COARSE))


@lru_cache(maxsize=4096)
def _cost(event: LocalSteps, delta: float, adjacency: str, rounds: int, interval: float) -> float:
    return most(charges([(event, rounds)]), delta, adjacency, interval=interval)


def _grouped(sizes: Int) -> Iterator[Int]:
    """The sizes in groups, ascending: each size alone where they are few, else those that are alike."""
    distinct = np.unique(sizes)
    if len(distinct) <= GROUPS:
        edges = distinct[1:]
    else:
        edges = np.unique(np.ceil(np.geomspace(distinct[0], distinct[-1], GROUPS + 1)[1:-1]))
    place = np.searchsorted(edges, sizes, side="right")
    for group in range(len(edges) + 1):
        members = sizes[place == group]
        if len(members):
            yield members


def _calibrated(level: RecordLevel, solver: Solver, members: Int, participations: int) -> Group:
    fewest, largest = int(members.min()), int(members.max())
    rate = min(solver.batch_size or fewest, fewest) / fewest
    steps = steps_for(solver, largest)
    delta, noise = min(level.delta_for(int(n)) for n in np.unique(members)), level.noise_multiplier
    if noise is None:
        assert level.epsilon is not None
        noise = noise_for(level.epsilon, lambda z: LocalSteps(z, rate, steps), participations, delta, level.adjacency)
    if noise == inf:
        raise NoiseRequired(
            f"no noise makes {participations} rounds of {steps} local steps cost a client of {fewest} records epsilon "
            f"{level.epsilon} at delta {delta:g}: take fewer rounds or steps, or a larger epsilon"
        )
    return Group(fewest, largest, len(members), rate, steps, delta, float(noise))

"""What the virtual clock costs: the same training with and without a fleet, in turns, in one process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.selection_grounds import GROUNDS, SOLVERS, make
from benchmarks.selection_trials import Scale
from tacit import Callback, FedAvg, Federation, Uniform
from tacit.fleet import WaitForAll, lognormal

DRAWS = 2000
"""Of the bootstrap."""


@dataclass
class Turns:
    """What runs of so many rounds took, by turn.

    Attributes:
        plain, timed: seconds of real time of the median round, which is no slower for what else the machine does.
        plain_cpu, timed_cpu: seconds of the processor of the whole run.
    """

    rounds: int
    plain: list[float] = field(default_factory=list)
    timed: list[float] = field(default_factory=list)
    plain_cpu: list[float] = field(default_factory=list)
    timed_cpu: list[float] = field(default_factory=list)

    def add(self, timed: bool, round: float, cpu: float) -> None:
        """Notes a run."""
        (self.timed if timed else self.plain).append(round)
        (self.timed_cpu if timed else self.plain_cpu).append(cpu)

    def added(self, cpu: bool = False) -> list[float]:
        """Per cent that the clock adds, by turn."""
        pairs = zip(self.timed_cpu, self.plain_cpu, strict=True) if cpu else zip(self.timed, self.plain, strict=True)
        return [100 * (a / b - 1) for a, b in pairs]

    def each_round(self) -> list[float]:
        """Milliseconds of the processor that the clock adds to a round, by turn."""
        return [1000 * (a - b) / self.rounds for a, b in zip(self.timed_cpu, self.plain_cpu, strict=True)]


class Pace(Callback):
    """Notes when each round ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_round_end(self, row: Mapping[str, Any]) -> bool:
        """Goes on."""
        self.ends.append(perf_counter())
        return False

    @property
    def round(self) -> float:
        """Seconds from the end of a round to that of the next, the median."""
        return float(np.median(np.diff(self.ends)))


def median_interval(values: list[float], seed: int = 0) -> tuple[float, float, float]:
    """The median, and a 95 % bootstrap interval of it."""
    picks = np.random.default_rng(seed).choice(values, (DRAWS, len(values)))
    low, high = np.percentile(np.median(picks, axis=1), [2.5, 97.5])
    return float(np.median(values)), float(low), float(high)


def federation(ground: str, seed: int, scale: Scale, timed: bool) -> Federation:
    """A run on a ground, with the clock or without; the same clients train: nobody fails, and all are waited for."""
    clients, cohort, _ = scale.of(GROUNDS[ground])
    made = make(ground, 0, clients)
    fleet = lognormal(len(made.population), 0, dropout=0.0)
    return Federation(
        made.task,
        made.population,
        FedAvg(SOLVERS[ground]),
        selection=Uniform(cohort),
        seed=seed,
        workers=1,
        engine="fused",
        fleet=fleet if timed else None,
        closing=WaitForAll() if timed else None,
    )


def turns(count: int, rounds: int, scale: Scale, ground: str) -> Turns:
    """Runs with and without the clock, one after the other, in an order that alternates.

    The first turn is not counted.
    """
    found = Turns(rounds)
    for turn in range(count + 1):
        for timed in ((False, True), (True, False))[turn % 2]:
            made = federation(ground, turn, scale, timed)
            pace, used = Pace(), process_time()
            made.run(rounds, callbacks=[pace], progress=False)
            if turn:
                found.add(timed, pace.round, process_time() - used)
    return found

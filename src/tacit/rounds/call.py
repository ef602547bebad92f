"""Who is asked in a round, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.fleet import Load, Outcome
from tacit.selection.cohort import Cohort

Int: TypeAlias = NDArray[np.int64]

ALL = np.iinfo(np.int64).max
"""A budget that no local run needs."""


@dataclass(frozen=True, eq=False)
class Call:
    """Who is asked in a round, and what comes of it.

    Attributes:
        cohort: those who are asked, with the budgets of steps that fit.
        silent: (L,) those of them from whom nothing will come; ascending.
        wanted: how many reports the round is about: the share that must come is a share of these.
        outcome: on the fleet; None without one.
        versions: (K,) of the model, the round in which each started; None where all start with this round's.
    """

    cohort: Cohort
    silent: Int
    wanted: int
    outcome: Outcome | None = None
    versions: Int | None = None

    @property
    def reporting(self) -> Int:
        """Those who report, ascending."""
        return np.setdiff1d(self.cohort.clients, self.silent, assume_unique=True)


def fitting(outcome: Outcome, load: Load) -> Int | None:
    """(K,) the steps that each client does, where any does fewer than all."""
    cut = outcome.counts & (outcome.work < load.work)
    if not cut.any():
        return None
    steps = np.full(len(cut), ALL)
    steps[cut] = np.ceil(outcome.work[cut] / load.step[cut] - 1e-9).astype(np.int64)
    return steps


def least(one: Int | None, other: Int | None) -> Int | None:
    """(K,) the smaller of two budgets, of which either may be none."""
    if one is None or other is None:
        return other if one is None else one
    smaller: Int = np.minimum(one, other)
    return smaller

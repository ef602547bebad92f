"""Who can be asked when a round begins: time passes until enough devices are there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.errors import RoundFailed
from tacit.fleet import Clock
from tacit.selection.cohort import Selection
from tacit.selection.inner import narrowed
from tacit.selection.table import ClientTable

Bool: TypeAlias = NDArray[np.bool_]

STEP = 600.0
"""Seconds between two looks at who is there, while too few are."""
TIMEOUT = 7200.0
"""Seconds for which as many are waited for as there should be."""


@dataclass(frozen=True)
class Attendance:
    """The devices of a run, as they come and go.

    Attributes:
        clock: of the fleet.
        selection: that draws from those who are there.
        enough: how many should be there for a round to begin.
        least: with how many it begins all the same, once time has passed.
        patience: seconds for which clients that are not there are waited for, once they are asked.
    """

    clock: Clock
    selection: Selection
    enough: int
    least: int
    patience: float

    def table(self, table: ClientTable, now: float, round: int, due: Bool | None = None) -> ClientTable:
        """The table with those in its pool who can be asked, at the time when enough of them can, from `now` on.

        After `TIMEOUT` the least will do; where not even that many can within a period, it is the time when most can.
        Where clients are waited for, it is now, and all can be asked who will be there in time.

        Args:
            table: of the clients.
            now: seconds.
            round: from 0.
            due: (N,) who alone can be drawn, where clients take turns in an order; None for everybody.

        Raises:
            RoundFailed: nobody is ever there.
        """
        when = self.clock.fleet.availability
        if self.patience:
            return replace(table, pool=when.next_on(None, now) <= now + self.patience, now=now)
        found = replace(table, pool=when.available(None, now), now=now)
        if self._eligible(found, round, due) >= self.enough:
            return found
        awake, most = self.clock.wake(now), -1
        if not isfinite(awake):
            raise RoundFailed(f"round {round + 1}: no device of the fleet is ever there: look at its availability")
        for step in range(int(when.period / STEP) + 1):
            at = awake + step * STEP
            table = replace(table, pool=when.available(None, at), now=at)
            many = self._eligible(table, round, due)
            found, most = (table, many) if many > most else (found, most)
            if many >= (self.enough if at < now + TIMEOUT else self.least):
                return table
        return found

    def _eligible(self, table: ClientTable, round: int, due: Bool | None) -> int:
        """How many of those who are there the selection could draw."""
        pool = narrowed(self.selection, table, round).pool
        return int(pool.sum() if due is None else (pool & due).sum())

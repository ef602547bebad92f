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
DAY = 86400.0
"""Seconds for which a better time is looked for."""
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

        After `TIMEOUT` the least will do; where not even that many can within a day, it is the time when most can.
        Where clients are waited for, those count who will be there in time.

        Args:
            table: of the clients.
            now: seconds.
            round: from 0.
            due: (N,) who alone can be drawn, where clients take turns in an order; None for everybody.

        Raises:
            RoundFailed: nobody is ever there, or nobody whom the selection may draw.
        """
        period = self.clock.fleet.availability.period
        found = replace(table, pool=self._there(now), now=now)
        if self._eligible(found, round, due) >= self.enough:
            return found
        awake, most = self.clock.wake(now), -1
        if not isfinite(awake):
            raise RoundFailed(f"round {round + 1}: no device of the fleet is ever there: look at its availability")
        for step in range(int(min(period, DAY) / STEP) + 1):
            at = awake + step * STEP
            table = replace(table, pool=self._there(at), now=at)
            many = self._eligible(table, round, due)
            found, most = (table, many) if many > most else (found, most)
            if many >= (self.enough if at < now + TIMEOUT else self.least):
                return table
        if not most:
            raise RoundFailed(
                f"round {round + 1}: at no time of the day is a device there that {self.selection!r} may draw: ask for "
                "less, or for longer turns"
            )
        return found

    def _there(self, at: float) -> Bool:
        """(N,) who is there at a time, or will be within the patience."""
        when = self.clock.fleet.availability
        return when.next_on(None, at) <= at + self.patience if self.patience else when.available(None, at)

    def _eligible(self, table: ClientTable, round: int, due: Bool | None) -> int:
        """How many of those who are there the selection could draw."""
        pool = narrowed(self.selection, table, round).pool
        return int(pool.sum() if due is None else (pool & due).sum())

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


@dataclass(frozen=True)
class Attendance:
    """The devices of a run, as they come and go.

    Attributes:
        clock: of the fleet.
        selection: that draws from those who are there.
        enough: how many must be there for a round to begin.
        patience: seconds for which clients that are not there are waited for, once they are asked.
    """

    clock: Clock
    selection: Selection
    enough: int
    patience: float

    def table(self, table: ClientTable, now: float, round: int) -> ClientTable:
        """The table with those in its pool who can be asked, at the time when enough of them can, from `now` on.

        Where that never happens within a period, it is the time when most can. Where clients are waited for, it is now,
        and all can be asked who will be there in time.

        Raises:
            RoundFailed: nobody is ever there.
        """
        when = self.clock.fleet.availability
        if self.patience:
            return replace(table, pool=when.next_on(None, now) <= now + self.patience, now=now)
        found = replace(table, pool=when.available(None, now), now=now)
        if self._eligible(found, round) >= self.enough:
            return found
        awake, most = self.clock.wake(now), -1
        if not isfinite(awake):
            raise RoundFailed(f"round {round + 1}: no device of the fleet is ever there: look at its availability")
        for step in range(int(when.period / STEP) + 1):
            at = awake + step * STEP
            table = replace(table, pool=when.available(None, at), now=at)
            many = self._eligible(table, round)
            found, most = (table, many) if many > most else (found, most)
            if many >= self.enough:
                break
        return found

    def _eligible(self, table: ClientTable, round: int) -> int:
        """How many of those who are there the selection could draw."""
        return int(narrowed(self.selection, table, round).pool.sum())

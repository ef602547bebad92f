"""Tells of what happens often only now and then, with how often it did."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable

EVERY = 1.0
"""Seconds between two lines about the same."""
KINDS = 64
"""Different things that are kept apart; what comes beyond is one more."""


class Rarely:
    """Lets the first of a kind through, and after that one in so many seconds. Used from any thread.

    Args:
        every: seconds between two that come through.
        clock: seconds that only ever grow.
    """

    def __init__(self, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock, self._lock = every, clock, threading.Lock()
        self._due: dict[tuple[Hashable, ...], float] = {}
        self._count: Counter[tuple[Hashable, ...]] = Counter()

    def times(self, *kind: Hashable) -> int:
        """Counts one more of a kind.

        Returns:
            How many there were since the last time that this was not 0; 0 where it is too early to tell of them.
        """
        now = self._clock()
        with self._lock:
            if kind not in self._due and len(self._due) >= KINDS:
                kind = ()
            self._count[kind] += 1
            if now < self._due.get(kind, now):
                return 0
            self._due[kind] = now + self._every
            return self._count.pop(kind)

"""When a request is sent again: after what may pass by itself, and after pauses that grow and differ between peers."""

from __future__ import annotations

import asyncio
import secrets
import time

from tacit.network.office import Code, Refused

FIRST, LONGEST = 0.25, 15.0
"""Seconds of the first pause, and of the longest."""
PASSING = frozenset({Code.BUSY, Code.TOO_MANY, Code.SLOW})
"""Refusals that pass by themselves."""
ONCE = frozenset({Code.SKEWED, Code.REPLAYED, Code.UNSIGNED, Code.UPGRADE})
"""Refusals after which another signature, clock or version may help: a second of each is final."""


class Unreachable(Refused):
    """The coordinator could not be reached, or what answers is none."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(Code.BUSY, problem, remedy)


class Tries:
    """The tries of one request.

    Args:
        patience: seconds after the first failure for which it is tried again.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._count = 0
        self._first: float | None = None
        self._seen: set[Code] = set()

    def again(self, error: Refused) -> bool:
        """Whether a request may be sent again at once, signed anew."""
        if error.code not in ONCE or error.code in self._seen:
            return False
        self._seen.add(error.code)
        return True

    async def pause(self, after: float | None = None) -> bool:
        """Waits before the next try. False where patience is at its end.

        Args:
            after: seconds that the coordinator asks for; up to half as much again is added, so that peers who were
                sent away together do not come back together.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = now
        left = self._first + self._patience - now
        growing = min(LONGEST, FIRST * 2**self._count) * (0.5 + 0.5 * _draw())
        delay = growing if after is None else after * (1 + 0.5 * _draw())
        if left <= 0:
            return False
        self._count = min(self._count + 1, 16)
        await asyncio.sleep(min(delay, left))
        return True


def _draw() -> float:
    return secrets.randbelow(2**20) / 2**20

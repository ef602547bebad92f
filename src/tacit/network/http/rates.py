"""How often each peer may ask: a bucket of permissions each, filled steadily."""

from __future__ import annotations

import time

from tacit.network.office import Code, Refused

MOST = 100_000
"""Buckets that are remembered; full ones are forgotten first."""


class Rates:
    """Buckets by name.

    Args:
        rate: permissions a second.
        burst: that a bucket holds.
        what: is permitted, for the message.
    """

    def __init__(self, rate: float, burst: float, what: str = "requests") -> None:
        self.rate, self.burst, self._what = rate, burst, what
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str, now: float | None = None) -> None:
        """Takes one permission from the bucket of `name`.

        Raises:
            Refused: it is empty (TOO_MANY); says when there is one again.
        """
        now = time.monotonic() if now is None else now
        left, at = self._buckets.get(name, (self.burst, now))
        left = min(self.burst, left + self.rate * (now - at))
        if left < 1:
            raise Refused(
                Code.TOO_MANY,
                f"more than {self.rate:g} {self._what} a second",
                "come again later",
                after=(1 - left) / self.rate,
            )
        if name not in self._buckets and len(self._buckets) >= MOST:
            self._forget(now)
        self._buckets[name] = left - 1, now

    def _forget(self, now: float) -> None:
        """Forgets buckets that are full again: they are as if never used. Where none is, all."""
        full = self.burst / self.rate
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if now - bucket[1] < full}
        if len(self._buckets) >= MOST:
            self._buckets.clear()

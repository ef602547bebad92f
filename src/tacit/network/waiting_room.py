"""Where participants wait until there is something for them to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

HELD = 1500
"""Most participants that are held while there is nothing for them: each takes 40 kB over TLS. Others come again."""


class WaitingRoom:
    """One event loop's waiting participants; they are woken from any thread.

    Attributes:
        most: participants that are held.
    """

    def __init__(self) -> None:
        self.most = HELD
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[str, asyncio.Future[None]] = {}

    def open(self) -> None:
        """Called on the event loop on which they will wait."""
        self._loop = asyncio.get_running_loop()

    def full_for(self, participant: str) -> bool:
        """Whether there is no room for it."""
        return len(self._waiting) >= self.most and participant not in self._waiting

    async def wait(self, participant: str, seconds: float) -> None:
        """Returns when it is woken, or after so many seconds; of two requests of one the earlier ends."""
        assert self._loop is not None
        self._end(participant)
        waiting = self._waiting[participant] = self._loop.create_future()
        timer = self._loop.call_later(seconds, _done, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            if self._waiting.get(participant) is waiting:
                del self._waiting[participant]

    def wake(self, names: Iterable[str] | None = None) -> None:
        """Ends the wait of some, or of all, from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake, None if names is None else list(names))

    def _wake(self, names: list[str] | None) -> None:
        for name in list(self._waiting) if names is None else names:
            self._end(name)

    def _end(self, participant: str) -> None:
        waiting = self._waiting.get(participant)
        if waiting is not None:
            _done(waiting)


def _done(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)

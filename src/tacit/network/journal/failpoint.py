"""Points at which a process can be made to kill itself: for tests of what survives, and for nothing else.

`TACIT_CRASH_AT=publish.before` in the environment makes the process send itself SIGKILL when it passes the point of
that name, `TACIT_CRASH_AT=publish.before:3` when it passes it for the third time. SIGKILL cannot be caught: no handler
runs, no buffer is written, no lock is given back in order; this is what a power cut looks like to everything above the
disk. Every write of the journal has two points: `NAME.before` its commit, and `NAME.after` it, before anybody is told.
Where the variable is not set, passing a point is one comparison.
"""

from __future__ import annotations

import os
import signal
import threading

from tacit.errors import UsageError

VARIABLE = "TACIT_CRASH_AT"

_lock = threading.Lock()
_point: str | None = None
_left = 0


def arm() -> None:
    """Reads the variable. Done when this module is imported, and by tests that have changed it since.

    Raises:
        UsageError: it is not NAME or NAME:COUNT.
    """
    global _point, _left
    name, _, count = os.environ.get(VARIABLE, "").partition(":")
    if count and not (count.isascii() and count.isdigit() and int(count)):
        raise UsageError(f"{VARIABLE}={name}:{count}: after the colon stands a count from 1, as in publish.before:3")
    _point, _left = name or None, int(count or 1)


def passing(name: str) -> None:
    """Says that the point `name` is passed. Does not return where the process is to die here."""
    if _point is None or name != _point:
        return
    global _left
    with _lock:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), signal.SIGKILL)


arm()

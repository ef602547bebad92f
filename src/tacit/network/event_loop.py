"""The event loop of both sides: uvloop's where it is installed, which takes a tenth of the memory for TLS."""

from __future__ import annotations

from typing import Any

try:
    import uvloop

    NEW_LOOP: Any = uvloop.new_event_loop
except ImportError:  # not there on Windows
    NEW_LOOP = None

"""Callbacks: what users may hang onto a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Callback:
    """Override what you need. A callback sees the run; it cannot change its result other than by ending it."""

    def on_start(self, rounds: int, facts: Mapping[str, Any]) -> None:
        """Before the first round. `facts` say how the run is made."""

    def on_round_start(self, round: int) -> None:
        """Before a round (from 1)."""

    def on_round_end(self, row: Mapping[str, Any]) -> bool | None:
        """After a round, with its record. Return True to end the run after this round."""

    def on_end(self, reason: str) -> None:
        """After the last round, or when the run ended early or failed."""

"""Where and how often a run writes checkpoints, and what goes into each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from tacit.record import checkpoint as checkpoints
from tacit.record.best import Best
from tacit.record.checkpoint import Checkpoint


@dataclass(frozen=True)
class Saving:
    """Checkpoints of one run.

    Attributes:
        folder: where they lie; None writes none.
        every: rounds between two.
        state: what is the same in all of them.
    """

    folder: Path | None
    every: int
    state: dict[str, Any]

    def due(self, round: int) -> bool:
        """Whether `round` (from 1) is one after which a checkpoint is written, however it ends."""
        return round % self.every == 0

    def save(
        self, rows: list[dict[str, Any]], tensors: Callable[[], dict[str, Tensor]], best: Best, **more: Any
    ) -> None:
        """Writes the state after the last of `rows`, with `more` of it as JSON values.

        Raises:
            StorageError: no space, no permission.
        """
        if self.folder is not None:
            state = self.state | {"rows": rows, "best": best.state(), **more}
            checkpoints.write(self.folder, Checkpoint(len(rows), tensors() | best.tensors(), state))

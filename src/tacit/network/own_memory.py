"""What one participant remembers between rounds, in a file of its own: written when it trained, valid when counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tacit.errors import StorageError
from tacit.flushing import flush
from tacit.record.checkpoint import save_tensors
from tacit.venue.memory import ClientMemory, Int

HERE = np.zeros(1, dtype=np.int64)


class OwnMemory(ClientMemory):
    """The memory of one client, wherever it stands in the population.

    Args:
        size: numbers that it remembers; 0 keeps no file.
        dtype: of them.
        path: the file; None keeps nothing beyond this process.

    Raises:
        StorageError: the file cannot be read, or is of another run.
    """

    def __init__(self, size: int, dtype: torch.dtype, path: Path | None) -> None:
        super().__init__(1, size, dtype)
        self._path, self._of = path, (-1, -1)
        if size and path is not None and path.is_file():
            self._take_up(path)

    def load(self, clients: Int) -> Tensor | None:
        """See `ClientMemory.load`."""
        return super().load(HERE)

    def stage(self, clients: Int, values: Tensor, current: Int, start: int = 0) -> None:
        """See `ClientMemory.stage`."""
        super().stage(HERE, values, self.slots_of(HERE), start)

    def slots_of(self, clients: Int) -> Int:
        """See `ClientMemory.slots_of`."""
        return super().slots_of(HERE)

    def trained(self, round: int, attempt: int) -> None:
        """Keeps what was staged in a round until it is known whether it counts.

        Raises:
            StorageError: no space, no permission.
        """
        self._of = round, attempt
        self._save()

    def settled(self, round: int, attempt: int, counted: bool) -> None:
        """What was staged in this attempt becomes what is remembered, if it was counted; once."""
        if not self.size or self._of != (round, attempt):
            return
        if counted:
            self.commit(HERE)
        self._of = -1, -1
        self._save()

    def _save(self) -> None:
        if self.size and self._path is not None:
            now = super().load(HERE)
            assert now is not None
            of = torch.tensor(self._of, dtype=torch.int64)
            save_tensors(self._path, {"now": now[0], "staged": self.staged(HERE)[0], "of": of})
            try:
                flush(self._path.parent)  # else its new name may be lost with the power, after the report has left
            except OSError as error:
                raise StorageError(f"{self._path} cannot be written: {error}") from error

    def _take_up(self, path: Path) -> None:
        try:
            found = load_file(path)
        except (OSError, SafetensorError) as error:
            raise StorageError(f"{path} cannot be read: {error}. Remove it to begin without a memory") from error
        shapes = {"now": (self.size,), "staged": (self.size,), "of": (2,)}
        if any(n not in found or tuple(found[n].shape) != shape for n, shape in shapes.items()):
            raise StorageError(f"{path} holds the memory of another run: give each run a folder of its own")
        self.restore(HERE, found["now"][None])
        super().stage(HERE, found["staged"][None], self.slots_of(HERE))
        round, attempt = found["of"].tolist()
        self._of = int(round), int(attempt)

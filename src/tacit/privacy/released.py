"""Sums that were released, kept until a checkpoint holds what follows from them: none is ever made a second time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from tacit.errors import StorageError
from tacit.flushing import flush
from tacit.record.checkpoint import load_tensors, save_tensors

PREFIX = "released-"


class Released:
    """The sums of one run's rounds since its last checkpoint, one file each.

    Args:
        folder: where they lie; None keeps none.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def store(self, round: int, tensors: Mapping[str, Tensor]) -> None:
        """Makes a sum, with what belongs to it, durable."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_tensors(self._path(round), dict(tensors))
            flush(self.folder)

    def load(self, round: int, like: Mapping[str, Tensor | None]) -> dict[str, Tensor] | None:
        """What was stored of a round; None where nothing was.

        Args:
            round: from 0.
            like: the names that it has; a tensor tells dtype and shape.

        Raises:
            StorageError: it is something else.
        """
        if self.folder is None or not self._path(round).is_file():
            return None
        found = load_tensors(self._path(round))
        whole = set(found) == set(like) and all(
            model is None or (found[name].dtype == model.dtype and found[name].shape == model.shape)
            for name, model in like.items()
        )
        if not whole:
            raise StorageError(f"{self._path(round)} holds no released sum: remove it, and the round is charged anew")
        return found

    def forget(self, rounds: int) -> None:
        """Removes the sums of the first `rounds` rounds."""
        if self.folder is None:
            return
        for path in self.folder.glob(f"{PREFIX}*.safetensors"):
            number = path.stem.removeprefix(PREFIX)
            if number.isdigit() and int(number) <= rounds:
                path.unlink(missing_ok=True)

    def _path(self, round: int) -> Path:
        assert self.folder is not None
        return self.folder / f"{PREFIX}{round + 1:06d}.safetensors"

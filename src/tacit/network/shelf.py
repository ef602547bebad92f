"""Bytes by their content, in files: what participants fetch."""

from __future__ import annotations

import hashlib
import re
from contextlib import suppress
from pathlib import Path

from tacit.errors import StorageError
from tacit.flushing import flush
from tacit.network.office import INLINE, Blob

DIGEST = re.compile(r"[0-9a-f]{64}")


class Shelf:
    """A folder of files that are called by the SHA-256 of their content.

    Args:
        folder: made where it is not there.

    Raises:
        StorageError: it cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for half in folder.glob(".*.part"):  # of a process that was killed while it wrote
                half.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"the folder {folder} cannot be made: {error}") from error

    def put(self, data: bytes) -> Blob:
        """Keeps bytes, durably.

        Raises:
            StorageError: no space, no permission.
        """
        blob = Blob(hashlib.sha256(data).hexdigest(), len(data), data if len(data) <= INLINE else b"")
        place = self.folder / blob.sha256
        if place.is_file() and place.stat().st_size == blob.size:
            return blob
        partial = self.folder / f".{blob.sha256}.part"
        try:
            partial.write_bytes(data)
            flush(partial)
            partial.replace(place)
        except OSError as error:
            with suppress(OSError):  # on a disk that has turned read-only it stays
                partial.unlink(missing_ok=True)
            raise StorageError(f"{place} cannot be written: {error}. Free some space there") from error
        return blob

    def path(self, sha256: str) -> Path | None:
        """The file of that content; None where there is none."""
        place = self.folder / sha256
        return place if DIGEST.fullmatch(sha256) and place.is_file() else None

    def keep(self, *blobs: Blob) -> None:
        """Removes everything else."""
        kept = {blob.sha256 for blob in blobs}
        for path in self.folder.iterdir():
            if path.name not in kept:
                path.unlink(missing_ok=True)

"""Blobs that a participant has fetched, by their content: verified whenever they are read."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from tacit.network.office import Blob

ROOM = 2**30
"""Bytes that a cache keeps, unless one blob is larger; those that were not used for longest go first."""


class Cache:
    """A folder of blobs, each a file named by its SHA-256.

    A cache is a convenience: where the folder cannot be read or written, blobs are fetched each time.

    Args:
        folder: made if there is none.
        room: bytes that are kept.
    """

    def __init__(self, folder: Path, room: int = ROOM) -> None:
        self.folder, self._room = folder, room

    def find(self, blob: Blob) -> bytes | None:
        """The bytes of a blob, if they are here and are what they should be."""
        path = self.folder / blob.sha256
        try:
            if path.stat().st_size != blob.size:
                raise ValueError("another size")
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != blob.sha256:
                raise ValueError("other bytes")
            os.utime(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            with suppress(OSError):
                path.unlink()
            return None
        return data

    def keep(self, blob: Blob, data: bytes) -> None:
        """Keeps the bytes of a blob."""
        new = None
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix="new-", delete=False) as file:
                new = Path(file.name)
                file.write(data)
            new.replace(self.folder / blob.sha256)
            self._make_room(blob.sha256)
        except OSError:
            if new is not None:
                new.unlink(missing_ok=True)

    def _make_room(self, newest: str) -> None:
        found = [(path.stat(), path) for path in self.folder.iterdir() if path.name != newest]
        held = sum(stat.st_size for stat, _ in found) + (self.folder / newest).stat().st_size
        for stat, path in sorted(found, key=lambda entry: entry[0].st_mtime):
            if held <= self._room:
                return
            path.unlink(missing_ok=True)
            held -= stat.st_size

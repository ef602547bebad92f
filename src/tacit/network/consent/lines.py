"""Files of lines that are only ever added to: on disk before a write returns, one writer at a time, torn ends seen.

A machine that loses power may leave half of the last line. Nothing that was acknowledged is in it, so it is written
over by the next line; who writes that is told what was there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tacit.errors import DamagedFile, StorageError
from tacit.flushing import flush

LONGEST = 1 << 16
"""Most bytes of a line, its end included."""

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_LOCK, 1)

    def _unlock(handle: int) -> None:
        os.lseek(handle, 0, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX)

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


class Mark(NamedTuple):
    """What changes of a file when somebody writes to it."""

    device: int
    file: int
    size: int
    written: int


class Held:
    """A file of lines that nobody else writes to now.

    Args:
        handle: of the file, locked.
        path: for messages.
        known: what `mark` and `last` were when it was last let go of, if it was held before.

    Attributes:
        last: its last whole line, without the end; empty where there is none.
        torn: what follows it: the beginning of a line that was never finished.
    """

    def __init__(self, handle: int, path: Path, known: tuple[Mark, bytes] | None = None) -> None:
        self._handle, self._path = handle, path
        if known is not None and known[0] == self.mark:  # nobody wrote to it since: its end need not be read again
            self._end, self.last, self.torn = known[0].size, known[1], b""
            return
        size = os.lseek(handle, 0, os.SEEK_END)
        begin = max(0, size - 2 * LONGEST)
        os.lseek(handle, begin, os.SEEK_SET)
        tail = _read(handle, size - begin)
        whole, end, self.torn = tail.rpartition(b"\n")
        _, cut, self.last = whole.rpartition(b"\n")
        if len(self.torn) >= LONGEST or (begin and not (end and cut)):
            raise DamagedFile(f"{path} has a line of more than {LONGEST:,} bytes: tacit did not write it")
        self._end = size - len(self.torn)

    @property
    def mark(self) -> Mark:
        """Which file it is, and as what it was last written."""
        found = os.fstat(self._handle)
        return Mark(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)

    def add(self, line: bytes, *, flush: bool = True) -> None:
        """Adds a line, on disk when this returns; it takes the place of what is torn.

        Args:
            line: without an end.
            flush: False leaves it to the system, and to the next line that is flushed.

        Raises:
            StorageError: no space, no permission.
        """
        data = line + b"\n"
        if b"\n" in line or len(data) > LONGEST:
            raise StorageError(f"a line of {len(line):,} bytes cannot be added to {self._path}")
        with _in_words(self._path):
            os.lseek(self._handle, self._end, os.SEEK_SET)
            _write(self._handle, data)
            os.ftruncate(self._handle, self._end + len(data))
            if flush:
                os.fsync(self._handle)
        self._end += len(data)
        self.last, self.torn = line, b""


class Lines:
    """A file of lines, made with mode 0600 when it is first written to.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: tuple[Mark, bytes] | None = None

    @contextmanager
    def held(self) -> Iterator[Held]:
        """The file, locked until the block ends.

        Raises:
            StorageError: it cannot be opened.
            DamagedFile: it has a line that is too long.
        """
        with _in_words(self.path):
            new = not self.path.exists()
            binary = getattr(os, "O_BINARY", 0)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | binary, 0o600)
        try:
            with _in_words(self.path):
                _lock(handle)
                if new:
                    flush(self.path.parent)
                held = Held(handle, self.path, self._known)
            yield held
            self._known = None if held.torn else (held.mark, held.last)
        finally:
            _unlock(handle)
            os.close(handle)

    def read(self) -> tuple[list[bytes], bytes]:
        """All whole lines, and what is torn behind them. Without a file, nothing.

        Raises:
            StorageError: it cannot be read.
        """
        with _in_words(self.path):
            if not self.path.exists():
                return [], b""
            *whole, torn = self.path.read_bytes().split(b"\n")
        return whole, torn


def _read(handle: int, size: int) -> bytes:
    parts = []
    while size > 0 and (part := os.read(handle, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _write(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


@contextmanager
def _in_words(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(
            f"{path} cannot be read or written ({reason}): free some space, and let this user write there"
        ) from error

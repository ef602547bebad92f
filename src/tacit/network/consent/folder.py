"""A participant's folder: which file of it is where, and the terms that wait in it for a person."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tacit.errors import DamagedFile, StorageError, UsageError
from tacit.network.terms import LARGEST, Terms

VARIABLE = "TACIT_PARTICIPANT"
"""Names the folder where no option does."""


@dataclass(frozen=True)
class Folder:
    """Where a participant keeps what is its own. Nobody else may read it: its mode is 0700.

    Attributes:
        path: of the folder.
    """

    path: Path

    @classmethod
    def at(cls, place: str | Path | None = None) -> Folder:
        """The folder as given, else as TACIT_PARTICIPANT says, else in the user's data folder. Nothing is made."""
        given = place or os.environ.get(VARIABLE)
        if given:
            return cls(Path(given).expanduser().absolute())
        data = Path(os.environ.get("XDG_DATA_HOME") or "")
        if sys.platform == "win32":
            data = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
        home = data if data.is_absolute() else Path.home() / ".local" / "share"
        return cls(home / "tacit" / "participant")

    def make(self) -> Folder:
        """Makes it, if it is not there.

        Raises:
            StorageError: it cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the participant's folder {self.path} cannot be made: {error.strerror}") from error
        return self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for this process: two of one participant would answer against each other.

        Raises:
            UsageError: another process holds it.
            StorageError: the folder cannot be written.
        """
        try:
            file = (self.path / ".lock").open("ab")
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}") from error
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"another process takes part with {self.path}: end that one, or give each participant a folder of "
                    "its own (--dir)"
                ) from error
            yield

    @property
    def key(self) -> Path:
        """The private key, PEM; see `identity.key`."""
        return self.path / "key.pem"

    @property
    def enrolment(self) -> Path:
        """What it got for its token; `identity.Enrolment.read(folder.path)` reads it."""
        return self.path / "enrolment.json"

    @property
    def policy(self) -> Path:
        """What it admits."""
        return self.path / "policy.toml"

    @property
    def approvals(self) -> Path:
        """What it has approved and refused."""
        return self.path / "approvals.jsonl"

    @property
    def log(self) -> Path:
        """What happened."""
        return self.path / "log.jsonl"

    @property
    def ledger(self) -> Path:
        """What was spent of its data's privacy."""
        return self.path / "ledger.sqlite"

    @property
    def memory(self) -> Path:
        """What methods have it remember between rounds."""
        return self.path / "memory"

    @property
    def cache(self) -> Path:
        """Blobs that were fetched."""
        return self.path / "cache"

    @property
    def waiting(self) -> Path:
        """Terms that wait for a person: as they were sent, byte for byte."""
        return self.path / "waiting.json"

    def wait_for(self, terms: Terms, records: int | None = None) -> None:
        """Lays terms down for a person to look at, in the place of those before.

        Args:
            terms: of the run.
            records: how many this participant holds, from which follows what a plan of record-level privacy costs it.

        Raises:
            StorageError: the file cannot be written.
        """
        self.waiting.unlink(missing_ok=True)
        replace_file(self._records, b"" if records is None else str(records).encode())
        replace_file(self.waiting, terms.encode())

    @property
    def waiting_records(self) -> int | None:
        """How many records this participant held when the terms were laid down; None where that was not said."""
        text = self._records.read_text() if self._records.exists() else ""
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    @property
    def _records(self) -> Path:
        return self.path / "waiting.records"

    def waiting_terms(self) -> Terms | None:
        """The terms that wait; None where none do.

        Raises:
            DamagedFile: the file holds no terms.
            StorageError: it cannot be read.
        """
        try:
            if not self.waiting.exists():
                return None
            if self.waiting.stat().st_size > LARGEST:
                raise DamagedFile(f"{self.waiting} is larger than terms can be: remove it, and ask for the terms again")
            data = self.waiting.read_bytes()
        except OSError as error:
            raise StorageError(f"{self.waiting} cannot be read: {error.strerror}") from error
        return Terms.decode(data)

    def nothing_waits(self, terms: str = "") -> None:
        """Removes what waits; where `terms` is a hash, only if it is those."""
        if terms:
            waiting = self.waiting_terms()
            if waiting is None or waiting.hash != terms:
                return
        self.waiting.unlink(missing_ok=True)


def replace_file(path: Path, data: bytes) -> None:
    """Writes a file of mode 0600 in one step: whoever reads it sees all of it, old or new, also after a power cut.

    Raises:
        StorageError: no space, no permission; an existing file stays as it was.
    """
    name = ""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except OSError as error:
        if name:
            with suppress(OSError):  # on a disk that has turned read-only it stays
                Path(name).unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error

"""A journal in an SQLite file: in write-ahead mode, flushed to disk at every commit, on a local disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote
from weakref import WeakSet

from sqlalchemy import ColumnElement, Connection, Engine, Float, QueuePool, bindparam, create_engine, event

from tacit.errors import DamagedFile, StorageError
from tacit.flushing import flush
from tacit.network.journal.database import WAIT, cause_of
from tacit.network.journal.errors import Away

_OPEN: WeakSet[SQLite] = WeakSet()


class SQLite:
    """The file, and beside it the mark of whoever leads: `PATH.lease-EPOCH`, locked for as long as the process lives.

    Args:
        place: the path of the file. Made if there is none, with mode 0600.
        clock: seconds since 1970.
        ballast: bytes of free space below which only what must be written is.
    """

    def __init__(self, place: Path, clock: Callable[[], float], ballast: int) -> None:
        self.place, self.name = place, str(place)
        self._clock, self._ballast = clock, ballast
        self._marks: dict[int, int] = {}
        self.engine = _engine(place)
        _OPEN.add(self)

    def prepare(self) -> None:
        """Makes the file and its folder.

        Raises:
            OSError: they cannot be made.
            StorageError: there is something else of that name.
        """
        self.place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self.place.exists() and not self.place.is_file():
            raise StorageError(f"the journal {self.place} is no file: give the path of a file")
        os.close(os.open(self.place, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        flush(self.place.parent)
        connection = self.engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()

    def alone(self, connection: Connection) -> None:
        """Nothing to do: every transaction that writes holds the lock of the file."""

    def now(self) -> ColumnElement[float]:
        """The machine's clock: all who open the file are on one machine."""
        return bindparam("now", type_=Float(53))

    def told(self) -> dict[str, float]:
        """What the clock shows."""
        return {"now": self._clock()}

    def claim(self, connection: Connection, epoch: int) -> bool:
        """Locks the mark of an epoch."""
        if epoch not in self._marks:
            handle = _locked(self._mark(epoch), os.O_CREAT)
            if handle is None:
                return False
            self._marks[epoch] = handle
        return True

    def died(self, connection: Connection, epoch: int, renewed: float) -> bool:
        """Whether nobody holds the lock of its mark. A mark that is missing says nothing."""
        handle = _locked(self._mark(epoch), 0)
        if handle is None:
            return False
        os.close(handle)
        return True

    def unclaim(self, epoch: int) -> None:
        """Removes the mark of an epoch, and then its lock."""
        self._mark(epoch).unlink(missing_ok=True)
        handle = self._marks.pop(epoch, None)
        if handle is not None:
            os.close(handle)

    def passing(self, error: BaseException) -> bool:
        """A lock that another process holds."""
        return _code(error) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def mendable(self, error: BaseException) -> bool:
        """A lock, or a full disk: these undo the transaction cleanly. After an error of input or output, and a failed
        flush above all, what is on disk is not known until the file is opened anew.
        """
        return self.passing(error) or _code(error) & 0xFF == sqlite3.SQLITE_FULL

    def explained(self, error: BaseException) -> StorageError:
        """What SQLite said, and what to do."""
        cause, code = cause_of(error), _code(error) & 0xFF
        if self.passing(error):
            return Away(f"the journal {self.place} is locked by another process: end that one ({cause})")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return DamagedFile(f"{self.place} is damaged, or no journal ({cause}): put back a copy")
        if code == sqlite3.SQLITE_FULL:
            return Away(f"the disk of the journal {self.place} is full: free some space there ({cause})")
        return StorageError(
            f"the journal {self.place} cannot be read or written ({cause}): make the file and its folder writable, "
            "look at the disk, and start again"
        )

    def scarce(self) -> bool:
        """Whether less than the ballast is free on its disk."""
        try:
            return shutil.disk_usage(self.place.parent).free < self._ballast
        except OSError:
            return True

    def close(self) -> None:
        """Closes all connections. The last to close the file leaves everything in it, without -wal and -shm."""
        self.engine.dispose()
        self._forget()

    def _forget(self) -> None:
        while self._marks:
            os.close(self._marks.popitem()[1])

    def _mark(self, epoch: int) -> Path:
        return self.place.with_name(f"{self.place.name}.lease-{epoch}")


def _in_child() -> None:
    """A process that was forked must not keep the mark of its parent locked when that one dies."""
    for one in list(_OPEN):
        one._forget()


os.register_at_fork(after_in_child=_in_child)


def _code(error: BaseException) -> int:
    return int(getattr(cause_of(error), "sqlite_errorcode", 0))


def _locked(place: Path, how: int) -> int | None:
    """An open file that this process has locked; None where there is none, or somebody else has."""
    try:
        handle = os.open(place, os.O_RDWR | os.O_CLOEXEC | how, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _engine(place: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        address = f"file:{quote(str(place))}?mode=rw"  # never makes a file: an empty one would be a journal forgotten
        connection = sqlite3.connect(address, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)
        try:
            for setting in ("trusted_schema = OFF", "synchronous = FULL", "foreign_keys = ON"):
                connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine

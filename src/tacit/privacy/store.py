"""The file of a privacy ledger: how it is made, opened and locked, and what its failures are in words.

It is an SQLite file in write-ahead mode, flushed to disk at every commit. A transaction that writes holds the write
lock from its first statement, so that what it has read is still so when it writes. The file must lie on a local disk.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    QueuePool,
    Table,
    Text,
    create_engine,
    event,
)
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tacit.errors import LedgerMissing, LedgerTampered, StorageError, TacitError, UsageError
from tacit.flushing import flush
from tacit.privacy.place import VARIABLE

APPLICATION = 0x7AC17ED6
"""Says in the header of an SQLite file that it is a ledger of tacit."""
VERSION = 1
WAIT = 30.0
"""Seconds for which the lock of another process is waited for."""
REMEDY = "put back a copy from before; without one, take the budgets of its populations as spent"

TABLES = MetaData()
ENTRIES = Table(
    "entries",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("population", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("event", Text),
    Column("plan", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("reserve", Integer, ForeignKey("entries.number"), unique=True),
    Column("fingerprint", Text, nullable=False),
    Column("epsilon", Float),
    Column("delta", Float),
)


class Store:
    """The open file. Made if there is none: with mode 0600, in a folder of mode 0700 if that is new as well.

    Args:
        place: the path of the file.

    Raises:
        StorageError: it cannot be made, opened or written.
        LedgerTampered: it is no ledger, damaged, or of another version.
    """

    def __init__(self, place: Path) -> None:
        self.place = place
        try:
            if not os.path.lexists(place):
                _make(place)
            if not place.is_file():
                raise StorageError(f"the ledger {place} is no file: give the path of a file")
            if not place.stat().st_size:
                raise LedgerTampered(f"the ledger {place} is empty, and none is ever: {REMEDY}. Remove it to begin one")
            if not os.access(place, os.W_OK):  # found now, and not after the first round
                raise _unusable(place, "it may only be read")
            self._file = _identity(place)
        except OSError as error:
            raise _unusable(place, error) from None
        self._process = os.getpid()
        self._closed = False
        self._engine = _engine(place)
        try:
            with understood(place), self.transaction() as connection:
                _check(connection, place)
            with understood(place), _in_words(place):
                _write_ahead(self._engine)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self, write: bool = False) -> Iterator[Connection]:
        """A transaction: committed and on disk when the block ends, undone if it raises.

        Args:
            write: it holds the write lock from the start, for which it waits at most `WAIT` seconds.

        Raises:
            StorageError: the disk is full, the file cannot be written, or another process keeps the lock.
            LedgerMissing: the file was moved, removed or replaced since it was opened.
            LedgerTampered: the file is damaged.
            UsageError: it was closed.
        """
        self._check_place()
        with _in_words(self.place), self._engine.connect() as connection:
            connection.execution_options(write=write)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Closes the file. The last to close it leaves everything in one file, without -wal and -shm beside it."""
        self._closed = True
        with _in_words(self.place):
            self._engine.dispose()

    def _check_place(self) -> None:
        if self._closed:
            raise UsageError(f"the ledger {self.place} is closed: open it again with Ledger({str(self.place)!r})")
        if os.getpid() != self._process:  # a connection of SQLite must not be used after a fork
            self._engine.dispose(close=False)
            self._process = os.getpid()
        try:
            same = _identity(self.place) == self._file
        except OSError:
            same = False
        if not same:
            raise LedgerMissing(
                f"the ledger {self.place} was moved, removed or replaced while it was in use: put it back and resume"
            )


def _identity(place: Path) -> tuple[int, int]:
    found = place.stat()
    return found.st_dev, found.st_ino


def _make(place: Path) -> None:
    """A new ledger in one step: made beside its place and linked to it, unless another process was faster."""
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None
    handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")  # with mode 0600
    os.close(handle)
    engine = _engine(Path(name))
    try:
        with _in_words(place):
            _write_ahead(engine)
            with engine.connect() as connection:
                connection.execution_options(write=True)
                with connection.begin():
                    TABLES.create_all(connection)
                    connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION}")
                    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
            engine.dispose()
        with suppress(FileExistsError):
            os.link(name, place)
        flush(place.parent)
    finally:
        engine.dispose()
        for ending in ("", "-wal", "-shm", "-journal"):
            Path(name + ending).unlink(missing_ok=True)


def _check(connection: Connection, place: Path) -> None:
    """Whether the file is a ledger of this version, without anything that acts by itself.

    Raises:
        LedgerTampered: it is not.
    """

    def ask(query: str) -> list[Any]:
        return list(connection.exec_driver_sql(query).scalars())

    if ask("PRAGMA application_id") != [APPLICATION]:
        raise LedgerTampered(f"{place} is an SQLite file, and no ledger of tacit: give the path of another file")
    version = ask("PRAGMA user_version")[0]
    if version != VERSION:
        raise LedgerTampered(
            f"the ledger {place} has version {version}, and this tacit reads {VERSION}: use the tacit that wrote it"
        )
    acting = ask("SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view')")
    columns = ask("SELECT name FROM pragma_table_info('entries')")
    if acting or columns != [column.name for column in ENTRIES.columns]:
        raise LedgerTampered(f"the tables of the ledger {place} are not as tacit makes them: {REMEDY}")


def _engine(place: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        address = f"file:{quote(str(place))}?mode=rw"  # never makes a file: an empty one would be a ledger forgotten
        connection = sqlite3.connect(address, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)
        connection.text_factory = lambda text: text.decode(errors="surrogateescape")
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


def _write_ahead(engine: Engine) -> None:
    """Puts the file into this mode, in which it stays; only when it is known to be a ledger and nobody else's."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


@contextmanager
def understood(place: Path) -> Iterator[None]:
    """Around statements: what SQLite says of damaged tables may quote bytes that are no text, and Python stumbles.

    Raises:
        LedgerTampered: it did.
    """
    try:
        yield
    except UnicodeDecodeError:
        raise LedgerTampered(f"the tables of the ledger {place} cannot be read: {REMEDY}") from None


@contextmanager
def _in_words(place: Path) -> Iterator[None]:
    """What SQLite says, as errors that tell what to do."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise _explained(place, error) from None


def _explained(place: Path, error: Exception) -> TacitError:
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest of the number is detail
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageError(
            f"the ledger {place} was locked by another process for {WAIT:g} seconds: wait until that one is done, or "
            "end it, and go on"
        )
    if code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CONSTRAINT):
        return LedgerTampered(f"the ledger {place} is damaged, or no ledger ({cause}): {REMEDY}")
    return _unusable(place, cause)


def _unusable(place: Path, cause: object) -> StorageError:
    return StorageError(
        f"the ledger {place} cannot be read or written: {cause}. Free some space there and make the file and its "
        f"folder writable, or set {VARIABLE} to a file on another local disk (and move the ledger there, if any)"
    )

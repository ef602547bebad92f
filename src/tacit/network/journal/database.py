"""What the journal asks of the database that keeps it: the few things in which SQLite and PostgreSQL differ."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tacit.errors import StorageError, UsageError

WAIT = 5.0
"""Seconds for which the lock of another process is waited for."""


class Database(Protocol):
    """Where a journal lies. `name` is for messages, and holds no password."""

    name: str
    engine: Engine

    def prepare(self) -> None:
        """Makes the place ready for a first connection; what is there already is left as it is."""
        ...

    def alone(self, connection: Connection) -> None:
        """Keeps others from making tables, until the transaction ends."""
        ...

    def now(self) -> ColumnElement[float]:
        """The time in seconds since 1970 that all who share this journal go by, as it is when a statement runs."""
        ...

    def told(self) -> dict[str, float]:
        """What a statement with `now` in it must be given when it runs."""
        ...

    def claim(self, connection: Connection, epoch: int) -> bool:
        """Takes the mark of a living holder for an epoch. It goes when the process dies. Whether it has it now."""
        ...

    def died(self, connection: Connection, epoch: int, renewed: float) -> bool:
        """Whether the holder of an epoch, which last renewed its lease at a time, is surely gone."""
        ...

    def unclaim(self, epoch: int) -> None:
        """Gives the mark of an epoch back, or clears away what a dead holder left of it."""
        ...

    def passing(self, error: BaseException) -> bool:
        """Whether what went wrong may go right in a moment: a server that restarts, a lock."""
        ...

    def mendable(self, error: BaseException) -> bool:
        """Whether the journal may go on after this, once it works again. Not so after a failed flush to disk."""
        ...

    def explained(self, error: BaseException) -> StorageError:
        """What the database said, as an error that tells what to do."""
        ...

    def scarce(self) -> bool:
        """Whether little space is left, so that only what must be written should be."""
        ...

    def close(self) -> None:
        """Closes all connections."""
        ...


def database_at(where: str | Path, clock: Callable[[], float], ballast: int) -> Database:
    """The database that `where` names.

    Args:
        where: a path, `sqlite:///PATH`, or `postgresql+psycopg://USER@HOST/NAME`.
        clock: seconds since 1970.
        ballast: bytes of free space below which an SQLite file takes only what must be written.

    Raises:
        UsageError: `where` is none of these, or its driver is not installed.
    """
    from tacit.network.journal.sqlite import SQLite

    if isinstance(where, Path) or "://" not in where:
        return SQLite(Path(where), clock, ballast)
    try:
        url = make_url(where)
    except (ArgumentError, ValueError):
        raise UsageError("the journal's address cannot be read: give a path or postgresql+psycopg://...") from None
    if url.drivername == "sqlite" and url.database and not url.query:
        return SQLite(Path(url.database), clock, ballast)
    if url.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        from tacit.network.journal.postgres import Postgres

        return Postgres(url.set(drivername="postgresql+psycopg"))
    raise UsageError(
        f"the journal {url.render_as_string()} is of a kind that tacit does not use: give a path (SQLite), or "
        "postgresql+psycopg://USER@HOST/NAME"
    )


@contextmanager
def in_words(database: Database) -> Iterator[None]:
    """Around statements: what the database says, as errors that tell what to do.

    Raises:
        StorageError: it could not do them.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise database.explained(error) from None


def cause_of(error: BaseException) -> Any:
    """What the driver raised, inside of what SQLAlchemy made of it."""
    return getattr(error, "orig", None) or error

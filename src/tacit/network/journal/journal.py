"""The journal: everything that a coordinator must not forget, in one database, written by one holder at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from tacit.errors import StorageError
from tacit.network.journal.answers import Answers
from tacit.network.journal.database import Database, database_at, in_words
from tacit.network.journal.events import Events
from tacit.network.journal.facts import Facts
from tacit.network.journal.lease import Lease
from tacit.network.journal.nonces import Nonces
from tacit.network.journal.registry import Registry
from tacit.network.journal.rounds import Rounds
from tacit.network.journal.writer import Write, Writer

BALLAST = 16 * 2**20
"""Bytes of free space that are left to what must be written."""
PATIENCE = 8.0
"""Seconds for which a database that is away is tried again before writes fail."""


class Journal(Registry, Nonces, Facts, Rounds, Answers, Events):
    """An open journal, held by this process until it is closed. A context manager that closes it.

    Writes go through one thread, many in one commit. What a request waits for gives a future that is done when it is
    on disk (`enrol`, `withdraw`, `fresh`, `answer`, `lost`, `note`), to be awaited by `asyncio.wrap_future`; everything
    else, reading included, returns when it is done, and is called from a thread that may wait. All methods may be
    called from any thread, and none after a fork.

    While `problem` says why nothing can be written, every write fails at once with that; nothing is acknowledged that
    is not on disk. A full disk and a database that is away are tried again every second, and the journal goes on when
    they are back; after a failed flush, or where another coordinator has taken over, it does not.
    """

    def __init__(self, database: Database, lease: Lease, connection: Connection, clock: Callable[[], float]) -> None:
        self._database, self._lease, self._clock = database, lease, clock
        self._writer = Writer(database, lease, connection, PATIENCE, self._prune)

    @classmethod
    def open(
        cls,
        where: str | Path,
        *,
        holder: str,
        clock: Callable[[], float] = time.time,
        lease_seconds: float = 15.0,
        ballast: int = BALLAST,
    ) -> Self:
        """Opens a journal, or makes it, and takes the lease.

        Args:
            where: a path (SQLite, on a local disk), or `postgresql+psycopg://USER@HOST/NAME`.
            holder: how this coordinator calls itself, for people: machine and process.
            clock: seconds since 1970.
            lease_seconds: after which another coordinator may take over, if nothing was heard of this one. One that
                died on this machine, or whose connection to PostgreSQL has ended, is taken over from at once.
            ballast: bytes of free space on the disk of an SQLite journal, below which only what must be written is:
                what rounds and privacy need, and not what admits more.

        Raises:
            LeaseHeld: another coordinator leads with this journal.
            StorageError: it cannot be made, opened or written, or is of another version.
            UsageError: `where` is no journal that tacit can use.
        """
        database = database_at(where, clock, ballast)
        connection = None
        try:
            with in_words(database):
                database.prepare()
                connection = database.engine.connect().execution_options(write=True)
                lease = Lease.take(database, holder or "somebody", lease_seconds, connection)
            return cls(database, lease, connection, clock)
        except BaseException:
            if connection is not None:
                connection.close()
            database.close()
            raise

    @property
    def epoch(self) -> int:
        """The number of the lease: greater than those of all who led before."""
        return self._lease.epoch

    @property
    def problem(self) -> str | None:
        """Why nothing can be written now; None where all is well."""
        return None if self._writer.error is None else str(self._writer.error)

    def broken(self) -> StorageError | None:
        """Why nothing will be written any more, whatever becomes of the disk: it must be opened anew. None: it will."""
        return self._writer.error if self._writer.final else None

    @property
    def scarce(self) -> bool:
        """Whether little space is left, so that only what must be written is."""
        return self._writer.scarce

    def renew(self) -> None:
        """Renews the lease. Done by itself as well, three times as often as it must be.

        Raises:
            Fenced: another coordinator has taken over.
            StorageError: it cannot be written now.
        """
        self._writer.put(Write("renew", lambda _, items: [None] * len(items))).result()

    def close(self) -> None:
        """Writes what was asked for, and gives the lease back."""
        self._writer.close()
        with in_words(self._database):
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

"""What the parts of a journal have in common: one thread that writes, and connections of their own that read."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, TextClause, text
from sqlalchemy.exc import SQLAlchemyError

from tacit.network.journal.database import Database
from tacit.network.journal.writer import Write, Writer

T = TypeVar("T")
AT_ONCE = 64
"""Most keys that one statement looks for."""


class Part:
    """Reads and writes of one kind of thing. A journal is all of its parts."""

    _database: Database
    _writer: Writer
    _clock: Callable[[], float]

    def _ms(self) -> int:
        """Milliseconds since 1970."""
        return int(self._clock() * 1000)

    def _later(self, name: str, act: Callable[[Connection], T], minor: bool = False) -> Future[T]:
        """Asks for a write. The future is done when it is on disk."""
        return self._writer.put(Write(name, lambda connection, _: [act(connection)], minor=minor))

    def _now(self, name: str, act: Callable[[Connection], T], minor: bool = False) -> T:
        """Writes, and returns when it is on disk."""
        return self._later(name, act, minor).result()

    def _read(self, act: Callable[[Connection], T]) -> T:
        """Reads what is on disk, again where the database was away for a moment.

        Raises:
            StorageError: it cannot be read.
        """
        pauses = [0.1, 0.4, 1.6]
        while True:
            try:
                with self._database.engine.connect() as connection:
                    return act(connection)
            except SQLAlchemyError as error:
                if not pauses or not self._database.passing(error):
                    raise self._database.explained(error) from None
            time.sleep(pauses.pop(0))


def plain(text: str, most: int = 2000) -> str:
    """Text of a peer in a form that every database takes: no lone surrogates, no NUL, not too long."""
    return text[:most].encode("utf-8", "replace").decode().replace("\0", "?")


def matching(
    connection: Connection,
    columns: tuple[Column[Any], ...],
    key: tuple[Column[Any], ...],
    wanted: Collection[tuple[Any, ...]],
) -> Iterator[tuple[Any, ...]]:
    """These columns of the rows whose key is one of those wanted.

    It is asked with every write of a request: the statements are few, and kept, where an IN of the toolkit's own is
    put together anew for each number of keys and each value.
    """
    left = list(wanted)
    for begin in range(0, len(left), AT_ONCE):
        part = left[begin : begin + AT_ONCE]
        size = 1 << (len(part) - 1).bit_length()
        part += [part[-1]] * (size - len(part))
        values = {f"k{row}_{place}": value for row, one in enumerate(part) for place, value in enumerate(one)}
        yield from (tuple(row) for row in connection.execute(_looking(columns, key, size), values))


@lru_cache(maxsize=64)
def _looking(columns: tuple[Column[Any], ...], key: tuple[Column[Any], ...], size: int) -> TextClause:
    """A statement that looks for so many keys."""
    here = " OR ".join(
        "(" + " AND ".join(f"{column.name} = :k{row}_{place}" for place, column in enumerate(key)) + ")"
        for row in range(size)
    )
    return text(f"SELECT {', '.join(column.name for column in columns)} FROM {key[0].table.name} WHERE {here}")

"""A few facts of a run under names of their own: its id, its terms, the order of its roster."""

from __future__ import annotations

from sqlalchemy import Connection, select

from tacit.network.journal.part import Part
from tacit.network.journal.schema import FACTS


class Facts(Part):
    """What a coordinator knows of its run."""

    def remember(self, key: str, value: bytes | str) -> None:
        """Writes a fact, in the place of what was known under this name. Returns when it is on disk."""
        self._now("remember", lambda connection: _put(connection, key, value, again=True))

    def settle(self, key: str, value: bytes | str) -> bytes | str:
        """Writes a fact that never changes.

        Returns:
            What is known under this name from now on: `value`, or what was known before.
        """
        return self._now("settle", lambda connection: _put(connection, key, value, again=False))

    def recall(self, key: str) -> bytes | str | None:
        """What is known under a name; None if nothing is."""
        return self._read(lambda connection: _get(connection, key))


def _put(connection: Connection, key: str, value: bytes | str, again: bool) -> bytes | str:
    known = _get(connection, key)
    if known is not None and not again:
        return known
    text = isinstance(value, str)
    columns = {"value": value.encode() if isinstance(value, str) else bytes(value), "text": int(text)}
    if known is None:
        connection.execute(FACTS.insert().values(key=key, **columns))
    else:
        connection.execute(FACTS.update().where(FACTS.c.key == key).values(**columns))
    return value


def _get(connection: Connection, key: str) -> bytes | str | None:
    row = connection.execute(select(FACTS.c.value, FACTS.c.text).where(FACTS.c.key == key)).first()
    if row is None:
        return None
    return bytes(row.value).decode() if row.text else bytes(row.value)

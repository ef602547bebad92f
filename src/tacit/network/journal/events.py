"""What happened, in order: a log to which is only added, in which each event holds the digest of the one before it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select

from tacit.errors import DamagedFile
from tacit.network.journal.chain import START, as_json, digest_of, log
from tacit.network.journal.part import Part
from tacit.network.journal.schema import EVENTS

MOST = 10_000
"""Most events that are read at once."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        number: from 1, without gaps.
        at: when, in milliseconds since 1970.
        event: its name.
        facts: about it, as JSON values.
        digest: sha256 over the digest before, the number, the time, the name and the facts.
    """

    number: int
    at: int
    event: str
    facts: Mapping[str, Any]
    digest: str


class Events(Part):
    """The log of a journal. Registrations and the steps of rounds write their own events, in their own transaction."""

    def note(self, event: str, **facts: Any) -> Future[int]:
        """Adds an event. The future has its number.

        Args:
            event: its name, as "run.started".
            facts: about it: JSON values, and nothing of anybody's data.

        Raises:
            TypeError, ValueError: the facts are no JSON values.
        """
        text, at = as_json(facts), self._ms()
        return self._later("note", lambda connection: log(connection, at, event, text))

    def events(self, after: int = 0, limit: int = 1000) -> list[Event]:
        """Events in order.

        Args:
            after: the number of the last one that is known.
            limit: how many, at most 10,000.
        """
        query = select(EVENTS).where(EVENTS.c.number > after).order_by(EVENTS.c.number).limit(min(limit, MOST))
        return self._read(lambda connection: [_event(row) for row in connection.execute(query)])

    def verify(self) -> tuple[int, str]:
        """Checks the whole log.

        Returns:
            How many events it has, and the digest of the last one. Kept elsewhere, they show later that none of these
            was cut off; the log itself cannot.

        Raises:
            DamagedFile: an event was changed, removed or put in between. The message names the first.
        """
        return self._read(self._verified)

    def _verified(self, connection: Connection) -> tuple[int, str]:
        number, digest = 0, START
        rows = connection.execution_options(yield_per=1000).execute(select(EVENTS).order_by(EVENTS.c.number))
        for row in rows:
            number += 1
            digest = digest_of(digest, number, row.at, row.event, row.facts)
            if row.number != number or row.digest != digest:
                raise DamagedFile(
                    f"event {number} of the journal {self._database.name} is not as it was written: do not trust what "
                    "the log says from there on, and put back a copy"
                )
        return number, digest


def _event(row: Row[Any]) -> Event:
    return Event(row.number, row.at, row.event, json.loads(row.facts), row.digest)

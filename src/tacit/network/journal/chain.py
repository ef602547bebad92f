"""Events, each of which holds the digest of the one before it, added inside of a transaction of the writer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, select

from tacit.network.journal.schema import EVENTS

START = "0" * 64
"""Stands for the digest of the event before the first one."""
_LAST = select(EVENTS.c.number, EVENTS.c.digest).order_by(EVENTS.c.number.desc()).limit(1)
_ADD = EVENTS.insert()
NEWEST = "tacit.newest"
"""Where a connection keeps number and digest of the newest event: nobody else writes while the lease is held."""


def log(connection: Connection, at: int, event: str, facts: str) -> int:
    """Adds an event inside of a transaction.

    Args:
        connection: of the writer.
        at: when it happened, in milliseconds since 1970.
        event: its name.
        facts: as `as_json` gives them.

    Returns:
        Its number.
    """
    known: tuple[int, str] | None = connection.info.get(NEWEST)
    if known is None:
        last = connection.execute(_LAST).first()
        known = (last.number, last.digest) if last else (0, START)
    number = known[0] + 1
    digest = digest_of(known[1], number, at, event, facts)
    connection.execute(_ADD, {"number": number, "at": at, "event": event, "facts": facts, "digest": digest})
    connection.info[NEWEST] = number, digest
    return number


def forget(connection: Connection) -> None:
    """What was added is not there after all: called where a transaction, or a part of one, was undone."""
    connection.info.pop(NEWEST, None)


def as_json(facts: Mapping[str, Any]) -> str:
    """Facts in the one way in which they are written."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest_of(before: str, number: int, at: int, event: str, facts: str) -> str:
    """The digest of an event, by that of the one before."""
    return sha256(json.dumps([before, number, at, event, facts]).encode()).hexdigest()

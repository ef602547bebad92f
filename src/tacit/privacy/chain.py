"""The chain of a privacy ledger: entries, each with a digest of itself and of the one before, and what they add up to.

Whoever changes, removes or inserts an entry breaks the chain from there on, and the next who reads it is told where.
Whoever owns the file can write all of it anew, or cut off its end: that shows only to somebody who kept a later digest.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from threading import RLock
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select

from tacit.checks import plain
from tacit.errors import DamagedFile, LedgerTampered, UsageError
from tacit.privacy.event import Charges, Event, charges, event_of, named
from tacit.privacy.store import ENTRIES, REMEDY, Store, understood

EMPTY = {
    "run": "",
    "round": 0,
    "plan": "",
    "note": "",
    "reserve": None,
    "fingerprint": "",
    "epsilon": None,
    "delta": None,
}
"""What an entry does not say."""


@dataclass(frozen=True)
class Entry:
    """One line of a ledger.

    Attributes:
        number: its place in the chain of the whole file, from 1.
        population: a commitment to the data, as hexadecimal text.
        unit: whose data are protected as one: "user", "record", ...
        run: which run; "" for a limit.
        kind: "begin" of a run, "reserve" before noise is drawn, "commit" after the release, "limit" for a budget of the
            population.
        round: of the run.
        event: what a reserve costs; None where an earlier reserve of its run paid for it, and for other kinds.
        plan: a digest of the plan of the run.
        note: free text.
        at: when, UTC, as ISO text; for information only: the order of the entries is that of their numbers.
        previous: the digest of the entry before, "" for the first.
        digest: SHA-256 of all other columns as JSON, hexadecimal.
        reserve: the number of the reserve that a commit completes.
        fingerprint: of what a commit released.
        epsilon, delta: of a limit; of a reserve, the delta of its run's claim.
    """

    number: int
    population: str
    unit: str
    run: str
    kind: str
    round: int
    event: Event | None
    plan: str
    note: str
    at: str
    previous: str
    digest: str
    reserve: int | None = None
    fingerprint: str = ""
    epsilon: float | None = None
    delta: float | None = None

    @property
    def budget(self) -> tuple[float, float] | None:
        """(epsilon, delta) of a limit."""
        return None if self.epsilon is None or self.delta is None else (self.epsilon, self.delta)


@dataclass
class Tally:
    """What the entries of one population and unit add up to.

    Attributes:
        spent: the events of all reserves, by run.
        open: the reserves without a commit, by number.
        last: the last entry of each run.
        limit: the last limit.
        head: the digest of the last entry.
        released: the fingerprints of all commits.
    """

    spent: dict[str, Counter[Event]] = field(default_factory=dict)
    open: dict[int, Entry] = field(default_factory=dict)
    last: dict[str, Entry] = field(default_factory=dict)
    limit: Entry | None = None
    head: str = ""
    released: set[str] = field(default_factory=set)

    def charges(self, *more: Event, without: str | None = None) -> Charges:
        """The events of all runs but one, and `more`."""
        spent = [pair for run, events in self.spent.items() if run != without for pair in events.items()]
        return charges([*spent, *more])

    def add(self, entry: Entry) -> bool:
        """Takes the next entry in; False if nothing that tacit writes could be so."""
        if entry.kind == "reserve":
            self.open[entry.number] = entry
            events = self.spent.setdefault(entry.run, Counter())
            if entry.event is not None:
                events[entry.event] += 1
        elif entry.kind == "commit":
            reserved = self.open.pop(entry.reserve or 0, None)
            if reserved is None or (reserved.run, reserved.round) != (entry.run, entry.round):
                return False
            self.released.add(entry.fingerprint)
        elif entry.kind == "begin":
            if entry.event is not None:
                return False
        elif entry.kind == "limit":
            if entry.budget is None:
                return False
            self.limit = entry
        else:
            return False
        if entry.run:
            self.last[entry.run] = entry
        self.head = entry.digest
        return True


@dataclass
class _Read:
    """How far the chain was read and checked, and what it adds up to."""

    number: int = 0
    digest: str = ""
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)


class Chain:
    """The entries of a file. What was read once is checked once; after that, only the last of it and what is new.

    Args:
        store: the file.
    """

    def __init__(self, store: Store) -> None:
        self.place = store.place
        self._store = store
        self._lock = RLock()
        self._read = _Read()
        self._writing = False

    @contextmanager
    def held(self, write: bool = False, afresh: bool = False) -> Iterator[Connection]:
        """A transaction at whose start all entries are read and checked.

        Args:
            write: nobody else can write until it ends.
            afresh: every entry is checked again.

        Raises:
            LedgerTampered: an entry is not as it was written; the message names the first.
            UsageError: it is held for writing already, by the same thread.
            TacitError: as `Store.transaction`.
        """
        with self._lock:
            if write and self._writing:  # it would wait for itself
                raise UsageError("what decides on a reserve must not write to the ledger: let it read and raise, only")
            with self._store.transaction(write) as connection:
                with understood(self.place):
                    self._follow(connection, afresh)
                self._writing |= write
                try:
                    yield connection
                finally:
                    self._writing &= not write

    def accounts(self) -> list[tuple[str, str]]:
        """Population and unit of each account, in the order of their first entries."""
        return list(self._read.tallies)

    def charged(self, unit: str) -> set[str]:
        """The runs that were charged in any account of a unit."""
        return {run for (_, own), tally in self._read.tallies.items() if own == unit for run in tally.spent}

    def tally(self, population: str, unit: str) -> Tally:
        """What the account's entries add up to."""
        return self._read.tallies.get((population, unit), Tally())

    def entries(self, connection: Connection, *which: ColumnElement[bool]) -> list[Entry]:
        """The entries for which all of `which` holds, in order, each checked by its own digest.

        Raises:
            LedgerTampered: one is not as it was written.
        """
        query = select(ENTRIES).where(*which).order_by(ENTRIES.c.number)
        return [self._entry(row) for row in connection.execute(query).mappings()]

    def append(self, connection: Connection, event: Event | None = None, **values: Any) -> Entry:
        """Writes the next entry; at most one in a transaction, which must be held for writing."""
        row: dict[str, Any] = EMPTY | values
        row["event"] = None if event is None else as_text(event)
        row["number"], row["previous"] = self._read.number + 1, self._read.digest
        row["at"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        row["digest"] = _digest(row)
        with understood(self.place):
            connection.execute(insert(ENTRIES), row)
        row["event"] = event
        return Entry(**row)

    def _follow(self, connection: Connection, afresh: bool) -> None:
        last, known = (self._read.number, self._read.digest), ""
        read = _Read() if afresh else self._read
        query = select(ENTRIES).order_by(ENTRIES.c.number)
        if read.number:
            query = query.where(ENTRIES.c.number >= read.number)
        for row in connection.execute(query).mappings():
            entry = self._entry(row)
            if entry.number == last[0]:
                known = entry.digest
            if entry.number != read.number or not read.number:
                self._add(read, entry)
        if known != last[1]:
            raise self._tampered(last[0], "was read before, and is gone now or another one")
        if afresh and (damage := str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar())) != "ok":
            raise LedgerTampered(f"the ledger {self.place} is damaged ({damage.splitlines()[-1]}): {REMEDY}")
        self._read = read

    def _add(self, read: _Read, entry: Entry) -> None:
        if entry.number != read.number + 1:
            raise self._tampered(read.number + 1, "is missing")
        if entry.previous != read.digest:
            raise self._tampered(entry.number, "does not follow from the one before, which is not the one there was")
        if not read.tallies.setdefault((entry.population, entry.unit), Tally()).add(entry):
            raise self._tampered(entry.number, f"is a {entry.kind} that tacit would not have written")
        read.number, read.digest = entry.number, entry.digest

    def _entry(self, row: Mapping[Any, Any]) -> Entry:
        values = dict(row)
        if not _is_as_written(values):
            raise self._tampered(values["number"], "is not as it was written: its digest is another one")
        try:
            return Entry(**values | {"event": values["event"] and read_event(values["event"])})
        except DamagedFile as error:
            raise self._tampered(values["number"], f"cannot be understood: {error}") from None

    def _tampered(self, number: int, what: str) -> LedgerTampered:
        return LedgerTampered(
            f"entry {number} of the ledger {self.place} {what}. Somebody changed the file, or it was damaged: {REMEDY}"
        )


def as_text(event: Event) -> str:
    """The event as JSON, the same for equal ones."""
    return _json({name: plain(value) for name, value in named(event).items()})


@lru_cache(maxsize=1024)
def read_event(text: str) -> Event:
    """The event that `as_text` wrote.

    Raises:
        DamagedFile: the text is none.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise DamagedFile("its event is no JSON object")
    return event_of(values)


def _digest(row: Mapping[str, Any]) -> str:
    return sha256(_json({name: value for name, value in row.items() if name != "digest"}).encode()).hexdigest()


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _is_as_written(row: Mapping[str, Any]) -> bool:
    try:
        same = _digest(row) == row["digest"]
    except (TypeError, ValueError):  # bytes, or a number that is none
        return False
    typed = (type(row[c.name]) is c.type.python_type or (row[c.name] is None and c.nullable) for c in ENTRIES.columns)
    return same and all(typed)

"""A participant's audit log: what happened to it, line by line, each bound to the one before by a digest.

Every line is JSON: its number, the time (UTC), the event, facts, the digest of the line before and its own: SHA-256 of
all else of the line, as canonical JSON. Whoever changes, removes or inserts a line breaks the chain from there on.
Whoever owns the file can write all of it anew, or cut off its end: that shows only to somebody who kept a later digest
(`verify(head)`). The facts are those listed in `EVENTS`; none of them holds an example, or anything computed from one
but what its name says.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from tacit.errors import DamagedFile, UsageError
from tacit.network.consent.lines import Lines

EVENTS: Mapping[str, tuple[str, ...]] = {
    "enrolled": ("name", "coordinator", "authority", "key"),
    "started": ("coordinator", "version", "incarnation"),
    "seen": ("terms", "run", "plan"),
    "approved": ("terms", "run", "until", "by"),
    "refused": ("terms", "run", "why", "by"),
    "asked": ("run", "round", "attempt", "kind"),
    "charged": ("run", "round", "attempt", "dataset", "epsilon"),
    "trained": ("run", "round", "attempt", "steps", "seconds", "engine"),
    "sent": ("run", "round", "attempt", "kind", "digest", "size"),
    "counted": ("run", "round", "attempt", "counted"),
    "withdrawn": ("run", "counted", "remains"),
    "ended": ("run", "state", "why"),
    "error": ("run", "round", "kind", "text"),
    "repaired": ("bytes", "sha256"),
}
"""What can happen, and what may be said of it; every fact may be left out."""
LATER = frozenset({"asked", "trained", "counted"})
"""From which nothing leaves: they are on disk with the next entry that is flushed, before anything does."""
LONGEST = 2000
"""Most characters of a fact; longer ones are cut, and end in dots."""
NAMES = {"n", "time", "event", "facts", "previous", "hash"}
REMEDY = "keep the file as it is, find out who changed it, and move it away to begin another"


@dataclass(frozen=True)
class Entry:
    """One line.

    Attributes:
        n: its number, from 1.
        time: UTC, ISO text with milliseconds; the order of entries is that of their numbers.
        event: one of `EVENTS`.
        facts: about it: text, numbers, truth values.
        previous: digest of the line before; "" for the first.
        hash: its own digest.
    """

    n: int
    time: str
    event: str
    facts: Mapping[str, Any]
    previous: str
    hash: str


class Log:
    """The log in a file. Several processes may write to it.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = Lines(path)
        self._last: tuple[bytes, Entry] | None = None
        """The last line that was written here, and what it says."""

    def write(self, event: str, **facts: str | int | float | bool | None) -> Entry:
        """Adds an entry, on disk when this returns, those of `LATER` excepted.

        A torn end is written over, by an entry that says so.

        Args:
            event: one of `EVENTS`.
            facts: of those listed for it; None is left out.

        Raises:
            UsageError: another event, or facts that it does not have.
            DamagedFile: the last line is not as it was written.
            StorageError: the file cannot be written.
        """
        kept = _checked(event, facts)
        with self._lines.held() as held:
            last = self._entry(held.last) if held.last else None
            if held.torn:
                told = {"bytes": len(held.torn), "sha256": sha256(held.torn).hexdigest()}
                last = _next(last, "repaired", told)
                held.add(_text(last))
            entry = _next(last, event, kept)
            held.add(_text(entry), flush=event not in LATER)
            self._last = held.last, entry
        return entry

    def _entry(self, line: bytes) -> Entry:
        """What the last line says; looked at only where it is not the one that was written here."""
        if self._last is not None and self._last[0] == line:
            return self._last[1]
        return _parsed(line, self.path, None)

    def entries(self) -> list[Entry]:
        """All entries, oldest first, each held against the one before.

        Raises:
            DamagedFile: one is not as it was written; the message names the first.
        """
        lines, _ = self._lines.read()
        found: list[Entry] = []
        for place, line in enumerate(lines, 1):
            entry = _parsed(line, self.path, place)
            previous = found[-1].hash if found else ""
            if entry.n != place or entry.previous != previous:
                raise DamagedFile(
                    f"line {place} of {self.path} does not follow from the one before: lines were removed, inserted or "
                    f"exchanged. {REMEDY}"
                )
            found.append(entry)
        return found

    @property
    def head(self) -> str:
        """The digest of the last entry, "" when there is none: kept elsewhere, it shows when the end is cut off."""
        with self._lines.held() as held:
            return _parsed(held.last, self.path, None).hash if held.last else ""

    def verify(self, head: str = "") -> str:
        """Checks every line.

        Args:
            head: a digest that `head` gave before; it must be in the log still.

        Returns:
            What was found, a sentence.

        Raises:
            DamagedFile: a line is not as it was written, or the log does not reach `head`.
        """
        entries = self.entries()
        if head and head not in {entry.hash for entry in entries}:
            raise DamagedFile(
                f"{self.path} does not hold the entry {head[:12]}... that it once had: its end was cut off, or it was "
                f"written anew. {REMEDY}"
            )
        _, torn = self._lines.read()
        said = f"{len(entries):,} entries, each as it was written"
        said += f"; the last is {entries[-1].hash}" if entries else ""
        return said + (f"; {len(torn)} bytes behind it were never finished" if torn else "")


def _checked(event: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    if event not in EVENTS:
        raise UsageError(f"event is {event!r}: give one of {', '.join(EVENTS)}")
    kept = {}
    for name, value in facts.items():
        if name not in EVENTS[event]:
            raise UsageError(f"{event} has no fact {name!r}: it has {', '.join(EVENTS[event])}")
        if value is None:
            continue
        if not isinstance(value, str | int | float):
            raise UsageError(f"{name} is a {type(value).__name__}: give text, a number or a truth value")
        if isinstance(value, str) and len(value) > LONGEST:
            value = value[: LONGEST - 3] + "..."
        kept[name] = value if not isinstance(value, float) or abs(value) < float("inf") else str(value)
    return kept


def _next(last: Entry | None, event: str, facts: Mapping[str, Any]) -> Entry:
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    n, previous = (last.n + 1, last.hash) if last else (1, "")
    values = {"n": n, "time": time, "event": event, "facts": dict(facts), "previous": previous}
    return Entry(n, time, event, facts, previous, _digest(values))


def _text(entry: Entry) -> bytes:
    return _json({**entry.__dict__, "facts": dict(entry.facts)})


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(values: Mapping[str, Any]) -> str:
    return sha256(_json({name: value for name, value in values.items() if name != "hash"})).hexdigest()


def _parsed(line: bytes, path: Path, place: int | None) -> Entry:
    """The entry in a line, held against its own digest and the one way in which it can be written."""
    where = f"the last line of {path}" if place is None else f"line {place} of {path}"
    try:
        values = json.loads(line)
        good = isinstance(values, dict) and set(values) == NAMES and _json(values) == line
        good = good and type(values["n"]) is int and isinstance(values["facts"], dict)
        good = good and all(isinstance(values[name], str) for name in ("time", "event", "previous", "hash"))
        good = good and values["hash"] == _digest(values)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise DamagedFile(f"{where} is not as it was written: {REMEDY}")
    return Entry(**values)

"""When a participant trains: hours of its own day, and what it has done today."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tacit.network.consent.log import Entry

SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class Span:
    """A part of every day, from its first minute to before its last; over midnight where that is the earlier one.

    Attributes:
        first, last: of the participant's own day.
    """

    first: time
    last: time

    @classmethod
    def of(cls, text: str) -> Span | None:
        """As "22:00-06:00" says; None where it says no part of a day."""
        found = SPAN.fullmatch(text)
        if found is None:
            return None
        hour, minute, last_hour, last_minute = (int(part) for part in found.groups())
        span = cls(time(hour, minute), time(last_hour, last_minute))
        return None if span.first == span.last else span

    def holds(self, now: time) -> bool:
        """Whether a time of the day is in it."""
        if self.first < self.last:
            return self.first <= now < self.last
        return now >= self.first or now < self.last


def zone_of(name: str) -> tzinfo | None:
    """A time zone by its name ("Europe/Berlin"); None for "local", the machine's own.

    Raises:
        ValueError: there is none of this name here.
    """
    if name == "local":
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(name) from None


@dataclass(frozen=True)
class Today:
    """What was done since midnight, in the participant's own time zone.

    Attributes:
        day: which.
        seconds: of training.
        sent: bytes.
    """

    day: date
    seconds: float = 0.0
    sent: int = 0

    @classmethod
    def of(cls, entries: Iterable[Entry], now: datetime, zone: tzinfo | None) -> Today:
        """As the log tells."""
        today = cls(now.astimezone(zone).date())
        for entry in entries:
            today = today.and_also(entry, zone)
        return today

    def and_also(self, entry: Entry, zone: tzinfo | None) -> Today:
        """With an entry of the log, if it is of this day."""
        if entry.event not in ("trained", "sent"):
            return self
        if datetime.fromisoformat(entry.time).astimezone(zone).date() != self.day:
            return self
        seconds, size = entry.facts.get("seconds", 0.0), entry.facts.get("size", 0)
        return Today(self.day, self.seconds + float(seconds), self.sent + int(size))

    def at(self, now: datetime, zone: tzinfo | None) -> Today:
        """The same, or a new day's beginning."""
        day = now.astimezone(zone).date()
        return self if day == self.day else Today(day)

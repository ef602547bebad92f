"""The log of a process that takes part, with what it has done today: read once, and then counted as it is written."""

from __future__ import annotations

from datetime import datetime, tzinfo
from threading import Lock

from tacit.network.consent.clock import Today
from tacit.network.consent.log import Entry, Log


class Diary:
    """Writes to a log as `Log.write` does, and knows this day's sums. For one process, by several threads.

    Args:
        log: of the participant. What others write to it meanwhile (a person's approvals) is no part of a day's sums.
        zone: of the participant's days, `Policy.time_zone`.
    """

    def __init__(self, log: Log, zone: tzinfo | None) -> None:
        self.log, self._zone = log, zone
        self._today: Today | None = None
        self._lock = Lock()

    def write(self, event: str, **facts: str | int | float | bool | None) -> Entry:
        """See `Log.write`."""
        with self._lock:
            entry = self.log.write(event, **facts)
            if self._today is not None:
                at = datetime.fromisoformat(entry.time)
                self._today = self._today.at(at, self._zone).and_also(entry, self._zone)
        return entry

    def today(self, now: datetime) -> Today:
        """What was done on the day of `now`.

        Raises:
            DamagedFile: the log is not as it was written; looked at when this is first asked.
        """
        with self._lock:
            if self._today is None:
                self._today = Today.of(self.log.entries(), now, self._zone)
            self._today = self._today.at(now, self._zone)
            return self._today

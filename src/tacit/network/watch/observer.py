"""What a coordinator's process has done since it started: counted as it happens, from any thread.

The server tells it of every request, the rounds of every attempt, the journal of every commit. It knows of no
participant: whatever names one is left out before anything is counted.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client import Counter as Counted

from tacit.network.watch.log import Log

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series beside every one, of which nobody reads anything
PAGE = os.sysconf("SC_PAGE_SIZE")
MOST_VALUES = 64
"""Most different values of a label: what comes beyond is counted as "other"."""
OTHER = "other"
LOOK = 0.5
"""Seconds between two looks at how late the event loop is."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COMMITS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Observer:
    """Counts. Its `observe` is what `http.Server` asks for.

    Args:
        connections: how many are open now; None where nobody knows.
        queue: how many writes wait for the journal; None where nobody knows.
        log: that is told of requests and connections, too.
        clock: seconds that only ever grow.
    """

    def __init__(
        self,
        connections: Callable[[], int] | None = None,
        queue: Callable[[], int] | None = None,
        log: Log | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.connections, self.queue, self._log = connections, queue, log
        self.registry = CollectorRegistry()
        self.lag: float | None = None
        self._clock, self._began, self._lock = clock, clock(), threading.Lock()
        self._known: dict[str, set[str]] = {}
        self._sums: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._make()

    def _make(self) -> None:
        def counted(name: str, text: str, *labels: str) -> Counted:
            return Counted(name, text, labels, registry=self.registry)

        def timed(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

        self._requests = counted("tacit_requests", "Requests that ended.", "route", "status")
        self._seconds = timed("tacit_request_seconds", "Seconds from headers to reply.", SECONDS, "route")
        self._received = counted("tacit_received_bytes", "Bytes of bodies that came.", "route")
        self._sent = counted("tacit_sent_bytes", "Bytes of bodies that went.", "route")
        self._refusals = counted("tacit_refusals", "Requests that were refused.", "code")
        self._turned_away = counted("tacit_connections_refused", "Connections that were refused.", "why")
        self._answers = counted("tacit_answers", "Answers that were taken durably.", "kind")
        self._losses = counted("tacit_lost_answers", "Answers that did not come.", "kind", "cause")
        self._attempts = counted("tacit_attempts", "Attempts at rounds that ended.", "state")
        self._rounds = timed("tacit_attempt_seconds", "Seconds of an attempt.", (*SECONDS, 300.0, 1800.0, 7200.0))
        self._commits = timed("tacit_journal_commit_seconds", "Seconds of a commit of the journal.", COMMITS)
        self._written = counted("tacit_journal_writes", "Writes that were committed.")

    def observe(self, event: str, **facts: Any) -> None:
        """Counts something that happened; what it does not know is left to others.

        Args:
            event: "request" (route, status, code, received or bytes_in, sent or bytes_out, seconds),
                "connection" (refused), "malformed" (status), "answer" (kind), "lost" (kind, cause),
                "attempt" (state, seconds), "commit" (seconds, writes).
            facts: of it, as named; others are ignored, the name of a participant among them.
        """
        if self._log is not None:
            self._log.observe(event, **facts)
        if event == "request":
            self._request(**facts)
        elif event == "connection":
            self._turned_away.labels(self._value("why", facts.get("refused", OTHER))).inc()
        elif event == "malformed":
            self._turned_away.labels("malformed").inc()
        elif event == "answer":
            self._answers.labels(self._value("kind", facts.get("kind", OTHER))).inc()
        elif event == "lost":
            kind, cause = (self._value(name, facts.get(name, OTHER)) for name in ("kind", "cause"))
            self._losses.labels(kind, cause).inc()
        elif event == "attempt":
            self._attempts.labels(self._value("state", facts.get("state", OTHER))).inc()
            if facts.get("seconds") is not None:
                self._rounds.observe(facts["seconds"])
        elif event == "commit":
            self._commits.observe(facts.get("seconds", 0.0))
            self._written.inc(facts.get("writes", 1))

    def _request(self, route: str = "", status: int = 0, code: str = "", seconds: float = 0.0, **rest: Any) -> None:
        received = int(rest.get("received", rest.get("bytes_in", 0)) or 0)
        sent = int(rest.get("sent", rest.get("bytes_out", 0)) or 0)
        route, code = self._value("route", route or OTHER), self._value("code", code) if code else ""
        self._requests.labels(route, self._value("status", status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._received.labels(route).inc(received)
        self._sent.labels(route).inc(sent)
        if code:
            self._refusals.labels(code).inc()
        with self._lock:
            self._sums.update(requests=1, received=received, sent=sent)
            if code:
                self._refused[code] += 1

    def _value(self, label: str, value: Any) -> str:
        """A label's value, of which there are few, whatever a peer sends."""
        text = str(value)[:60]
        with self._lock:
            known = self._known.setdefault(label, set())
            if text in known:
                return text
            if len(known) >= MOST_VALUES:
                return OTHER
            known.add(text)
        return text

    def load(self) -> dict[str, Any]:
        """What goes into a status as "load"."""
        with self._lock:
            sums = dict(self._sums)
        return {
            "requests": sums.get("requests", 0),
            "bytes_in": sums.get("received", 0),
            "bytes_out": sums.get("sent", 0),
            "connections": self.connections() if self.connections else 0,
            "rss": resident(),
            "lag": self.lag,
            "uptime": self._clock() - self._began,
        }

    def failures(self) -> dict[str, int]:
        """What goes into a status as "failures": how many requests were refused, by code."""
        with self._lock:
            return dict(self._refused)

    async def watch_loop(self) -> None:
        """Looks how late the event loop runs, until it is cancelled: the worst of the last ten looks."""
        late: list[float] = []
        while True:
            due = time.perf_counter() + LOOK
            await asyncio.sleep(LOOK)
            late = [*late[-9:], max(time.perf_counter() - due, 0.0)]
            self.lag = max(late)


def resident() -> int | None:
    """Bytes of memory that this process holds; None where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE
    except (OSError, ValueError, IndexError):
        return None

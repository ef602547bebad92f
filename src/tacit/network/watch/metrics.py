"""`/metrics`: what an observer has counted and how the run goes, as Prometheus reads it.

Every label has few values, and none is a participant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from tacit.network.watch.guard import Guard
from tacit.network.watch.observer import Observer
from tacit.network.watch.status import STATES

PEOPLE = ("enrolled", "approved", "online", "withdrawn", "revoked")
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


def routes(observer: Observer, status: Callable[[], Mapping[str, Any]], token: str | None = None) -> list[web.RouteDef]:
    """What to add to a coordinator's application. Called once for an observer.

    Args:
        observer: of the process.
        status: how the run goes, in the shape of `watch.status`; asked at every look.
        token: that a monitor must show as its bearer token; None lets in this machine only.

    Raises:
        UsageError: the token is short.
    """
    guard = Guard(token)
    observer.registry.register(_Now(observer, status))

    async def metrics(request: web.Request) -> web.StreamResponse:
        if not guard.allows(request):
            return web.Response(status=401, headers={**HEADERS, "WWW-Authenticate": "Bearer"})
        body = generate_latest(observer.registry)
        return web.Response(body=body, headers={**HEADERS, "Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/metrics", metrics)]


class _Now(Collector):
    """What is the case now, asked when somebody looks."""

    def __init__(self, observer: Observer, status: Callable[[], Mapping[str, Any]]) -> None:
        self._observer, self._status = observer, status

    def describe(self) -> list[Any]:
        """Nothing: the run is not asked before somebody looks."""
        return []

    def collect(self) -> Iterator[Any]:
        """The gauges of the run, and of the process."""
        yield from _of_the_run(self._status())
        load, queue = self._observer.load(), self._observer.queue
        for name, text, value in (
            ("tacit_connections", "Open connections.", load["connections"]),
            ("tacit_journal_queue", "Writes that wait for the journal.", queue() if queue else None),
            ("tacit_event_loop_lag_seconds", "By how much the event loop is late.", load["lag"]),
            ("tacit_resident_bytes", "Memory of the coordinator.", load["rss"]),
            ("tacit_uptime_seconds", "Since the coordinator started.", load["uptime"]),
        ):
            yield from _gauge(name, text, value)


def _gauge(name: str, text: str, value: float | None) -> Iterator[Any]:
    if value is not None:
        yield GaugeMetricFamily(name, text, value)


def _of_the_run(status: Mapping[str, Any]) -> Iterator[Any]:
    yield InfoMetricFamily("tacit", "What runs.", {key: str(status[key]) for key in ("tacit", "run", "scenario")})
    yield from _gauge("tacit_round", "Rounds that are done.", status["round"])
    yield from _gauge("tacit_rounds", "Rounds of the run.", status["rounds"])
    state = GaugeMetricFamily("tacit_state", "1 for the state that the run is in.", labels=["state"])
    for name in STATES:
        state.add_metric([name], float(status["state"] == name))
    yield state
    people = GaugeMetricFamily("tacit_participants", "Participants by state.", labels=["state"])
    for name in PEOPLE:
        people.add_metric([name], status["participants"][name])
    yield people
    yield from _gauge("tacit_participants_expected", "Participants of the run.", status["participants"]["expected"])
    spent = status["privacy"] or {}
    yield from _gauge("tacit_epsilon", "Privacy spent.", spent.get("epsilon"))
    yield from _gauge("tacit_epsilon_limit", "Privacy that may be spent.", spent.get("limit"))
    yield from _gauge("tacit_insecure_settings", "Unsafe settings that are on.", len(status["security"]["insecure"]))
    if status["history"]:
        yield from _gauge("tacit_loss", "Training loss of the last round.", status["history"][-1].get("loss"))

"""The virtual clock of asynchronous training: clients start when others end, and end in the order of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit import checks
from tacit.errors import Problems, UsageError
from tacit.fleet.device import Fleet
from tacit.fleet.journey import Journey, Load, journeys
from tacit.fleet.outcome import Outcome, joined, settle

Float: TypeAlias = NDArray[np.float64]
Int: TypeAlias = NDArray[np.int64]

LOAD = ("clients", "work", "down", "up", "step")


@dataclass(frozen=True, order=True)
class Event:
    """One client ended: it reported, or it is lost.

    Attributes:
        time: seconds of virtual time.
        number: of the start, from 0: of events at one time, the one that started first comes first.
        client: position in the fleet.
        version: of the model from which it started.
        counts: whether it reported.
    """

    time: float
    number: int
    client: int
    version: int
    counts: bool


@dataclass(frozen=True, eq=False)
class _Way:
    journey: Journey
    load: Load
    start: float
    attempt: int
    patience: float


class Arrivals:
    """Clients on their way, at most `concurrency` at a time, each at most once at a time.

    For buffered asynchronous training ([Nguyen22] arXiv:2106.06639): start clients until none is `free`, pop events,
    start another for each, and close a buffer after as many reports as it takes.

    Args:
        fleet: the devices.
        seed: of the run.
        concurrency: how many may be on their way.

    Raises:
        UsageError: a concurrency that is no count.
    """

    def __init__(self, fleet: Fleet, seed: int, concurrency: int) -> None:
        with Problems("the clock cannot run", UsageError) as problems:
            problems.extend(checks.count("concurrency", concurrency))
        self.fleet, self.seed, self.concurrency = fleet, seed, concurrency
        self.now = 0.0
        self._heap: list[Event] = []
        self._ways: dict[int, _Way] = {}
        self._running: set[int] = set()
        self._starts = np.zeros(len(fleet), np.int64)
        self._number = 0

    def __len__(self) -> int:
        """How many are on their way."""
        return len(self._heap)

    @property
    def free(self) -> int:
        """How many more may start."""
        return self.concurrency - len(self)

    @property
    def running(self) -> Int:
        """The clients on their way, ascending."""
        return np.array(sorted(self._running), np.int64)

    @property
    def versions(self) -> Int:
        """The versions of the model from which those on their way have started, ascending, each once."""
        return np.unique(np.array([event.version for event in self._heap], np.int64))

    def start(self, load: Load, version: int, *, patience: float = 0.0) -> None:
        """Starts the clients of `load` now, from `version` of the model.

        A client that is not there within `patience` seconds ends at once, unavailable. What is drawn for a client
        depends on how often it has been started, and on nobody else.

        Raises:
            UsageError: more than are free, or one that is on its way.
        """
        twice = self._running.intersection(load.clients.tolist())
        with Problems("the clients cannot start", UsageError) as problems:
            problems.check(len(load) <= self.free, f"{len(load)} clients are to start, and {self.free} are free")
            problems.check(not twice, f"on their way already: {sorted(twice)[:5]}: a client runs once at a time")
            problems.extend(checks.not_negative("patience", patience))
        load.check(self.fleet)
        many = len(load)
        numbers, versions = np.arange(self._number, self._number + many), np.full(many, version)
        now, waits = np.full(many, self.now), np.full(many, patience)
        self._send(load, now, waits, self._starts[load.clients], numbers, versions)
        self._starts[load.clients] += 1
        self._number += many

    def pop(self) -> tuple[Event, Outcome]:
        """Takes the next event, and moves the time to it. Returns it with its cost, an outcome of one client.

        Raises:
            UsageError: nobody is on the way.
        """
        if not self._heap:
            raise UsageError("nobody is on the way: start clients first")
        event = heappop(self._heap)
        self.now = event.time
        return event, self._settled(event, event.time, event.counts)

    def advance(self, t: float) -> None:
        """Moves the time to `t` seconds, for instance to where a device is available again; no event may lie before.

        Raises:
            UsageError: a time before now, or after the next event.
        """
        latest = self._heap[0].time if self._heap else np.inf
        if not checks.is_number(t) or not self.now <= t <= latest:
            raise UsageError(f"the time {t!r} is not from {self.now:g}, now, to {latest:g}, the next event")
        self.now = float(t)

    def stop(self) -> Outcome:
        """Stops all that are on their way, as late: what they did is wasted."""
        parts = [self._settled(event, self.now, False) for event in sorted(self._heap)]
        self._heap.clear()
        return joined(parts, self.now, self.now)

    def state(self) -> dict[str, NDArray[Any]]:
        """All that it takes to go on from here, by name: of those on their way, one value each, and of the clock."""
        events = sorted(self._heap)
        ways = [self._ways[event.number] for event in events]
        asked = {name: np.concatenate([getattr(way.load, name) for way in ways] or [[]]) for name in LOAD}
        sent = {name: np.array([getattr(way, name) for way in ways]) for name in ("start", "patience", "attempt")}
        told = {name: np.array([getattr(event, name) for event in events]) for name in ("number", "version")}
        clock = {"now": np.float64(self.now), "next": np.int64(self._number), "starts": self._starts.copy()}
        return {name: np.asarray(value) for name, value in (asked | sent | told | clock).items()}

    @classmethod
    def resumed(cls, fleet: Fleet, seed: int, concurrency: int, state: Mapping[str, NDArray[Any]]) -> Arrivals:
        """Goes on from a `state`, with the fleet, seed and concurrency that were: what follows is the same."""
        flow = cls(fleet, seed, concurrency)
        flow.now, flow._number = float(state["now"]), int(state["next"])
        flow._starts = np.array(state["starts"], np.int64)
        load = Load(*(state[name] for name in LOAD))
        load.check(fleet)
        attempts, numbers, versions = (state[name].astype(np.int64) for name in ("attempt", "number", "version"))
        flow._send(load, state["start"], state["patience"], attempts, numbers, versions)
        return flow

    def _send(self, load: Load, start: Float, patience: Float, attempts: Int, numbers: Int, versions: Int) -> None:
        journey = journeys(self.fleet, load, start, seed=self.seed, round=attempts, patience=patience)
        ends = np.maximum(journey.settled, start).tolist()
        reports = (np.isfinite(journey.arrival) & ~(journey.lost < journey.arrival)).tolist()
        rows = zip(load.clients.tolist(), numbers.tolist(), versions.tolist(), start.tolist(), strict=True)
        for k, (client, number, version, begun) in enumerate(rows):
            heappush(self._heap, Event(ends[k], number, client, version, reports[k]))
            way = _Way(journey.row(k), load.row(k), begun, int(attempts[k]), float(patience[k]))
            self._ways[number] = way
            self._running.add(client)

    def _settled(self, event: Event, end: float, counts: bool) -> Outcome:
        way = self._ways.pop(event.number)
        self._running.discard(event.client)
        return settle(way.journey, way.load, way.start, end, np.array([counts]))

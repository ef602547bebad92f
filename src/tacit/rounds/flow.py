"""The virtual time of an asynchronous run: clients come and go one by one, and a buffer of reports makes a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tacit import keys
from tacit.errors import RoundFailed, StorageError
from tacit.fleet import Arrivals, Event, FedBuff, Outcome, joined
from tacit.rounds.call import Call
from tacit.rounds.schedule import Float, Int, Schedule
from tacit.selection.claim import claimed
from tacit.selection.cohort import Cohort, drawn

if TYPE_CHECKING:
    from tacit.federation import Federation

PATIENCE = 1000
"""A buffer that is not full after so many ends for each of its reports fails the run."""
PAUSE = 60.0
"""Seconds after which clients are asked again, where nobody is on the way and nobody was drawn."""
TOGETHER = 20
"""Clients are started when one in so many places is free: each start looks at all of the fleet."""


class Flow(Schedule):
    """The rounds of one asynchronous run: each is a buffer.

    Args:
        federation: whose run it is, with `closing=FedBuff(...)`.
        reads, down, up: as of `Schedule`.
    """

    def __init__(self, federation: Federation, reads: Int, down: int, up: int) -> None:
        super().__init__(federation, reads, down, up)
        assert isinstance(federation.closing, FedBuff) and federation.fleet is not None
        self.how, self.seed, self.devices = federation.closing, federation.seed, federation.fleet
        self.arrivals = Arrivals(self.devices, self.seed, self.how.concurrency)
        self.models: dict[int, Tensor] = {}
        """What went down in each round from which somebody is on the way, and in this one."""

    @property
    def lasting(self) -> bool:
        """Rounds end when buffers are full."""
        return False

    def sent(self, round: int, down: Tensor) -> None:
        """See `Schedule.sent`."""
        needed = set(self.arrivals.versions.tolist())
        self.models = {version: model for version, model in self.models.items() if version in needed}
        self.models[round] = down.clone()

    def call(self, round: int, seed: int, losses: Callable[[Int], Float]) -> Call:
        """Lets time pass until the buffer of `round` is full.

        Raises:
            RoundFailed: it never is.
        """
        start, inside, parts = self.arrivals.now, list[Event](), list[Outcome]()
        while len(inside) < self.how.buffer:
            self._refill(round, seed, [event.client for event in inside])
            event, outcome = self._next(round, seed, [event.client for event in inside])
            fresh = round - event.version <= self.how.most_stale
            parts.append(outcome if fresh else outcome.in_vain())
            if event.counts and fresh:
                inside.append(event)
            if len(parts) > PATIENCE * self.how.buffer:
                raise RoundFailed(
                    f"round {round + 1}: {len(parts)} clients ended, and {len(inside)} of {self.how.buffer} reports "
                    f"came: nearly all fail, or are more than {self.how.most_stale} versions old"
                )
        self.now = self.arrivals.now
        inside.sort(key=lambda event: event.client)
        clients = np.array([event.client for event in inside], np.int64)
        sampling = claimed(self._selection.sampling(len(self.table)), self.devices, self.how)
        versions = np.array([event.version for event in inside], np.int64)
        outcome = joined(parts, start, self.now)
        most = None if self._most is None else self._most[clients]
        return Call(Cohort(clients, sampling, most), np.empty(0, np.int64), len(clients), outcome, versions)

    def _refill(self, round: int, seed: int, inside: list[int]) -> None:
        """Starts clients that are there, not on their way and not in the buffer, if there is room for several."""
        room = self.arrivals.free
        if room < ceil(self.how.concurrency / TOGETHER) and len(self.arrivals):
            return
        there = self.devices.availability.available(None, self.arrivals.now)
        there[self.arrivals.running] = False
        there[inside] = False
        self._calls += 1
        coins = keys.digest(seed, "flow", self._calls)
        table = replace(self.table, pool=there, now=self.arrivals.now)
        who = drawn(self._selection, table, coins, round).clients
        if len(who) > room:
            who = np.sort(keys.generator(coins, "room").choice(who, room, replace=False))
        if len(who):
            self.table.observe(round, who, [])
            self.arrivals.start(self._load.take(who), round)

    def _next(self, round: int, seed: int, inside: list[int]) -> tuple[Event, Outcome]:
        """The next end; where nobody is on the way, time passes until somebody is asked."""
        for _ in range(PATIENCE):
            if len(self.arrivals):
                return self.arrivals.pop()
            when = self.devices.availability.next_on(None, self.arrivals.now)
            when[inside] = np.inf
            if not np.isfinite(when).any():
                raise RoundFailed(f"round {round + 1}: no device that is not in the buffer already is ever there")
            pause = self.arrivals.now + PAUSE
            self.arrivals.advance(max(float(when[np.isfinite(when)].min()), pause))
            self._refill(round, seed, inside)
        raise RoundFailed(f"round {round + 1}: {self._selection!r} asks nobody, in {PATIENCE} tries")

    def _passed_over(self, call: Call, outcome: Outcome, reason: str, round: int) -> float:
        """Books a buffer that is given up; others are on their way already."""
        self._tally.add(outcome, abandoned=reason)
        return 0.0

    def _note(self, call: Call, round: int, counted: Int, losses: Float | None) -> None:
        self.table.observe(round, [], counted, losses)

    def skip(self, round: int, clients: Int) -> dict[str, Any]:
        """Passes a round whose sum was found stored: all begin anew, so that no report counts twice."""
        self.arrivals.stop()
        return super().skip(round, clients)

    def ended(self) -> None:
        """Books those who are still on their way as late."""
        self._tally.add(self.arrivals.stop())

    def _row(self, call: Call, outcome: Outcome, given_up: int, round: int) -> dict[str, Any]:
        assert call.versions is not None
        stale = None if self._private else float(round - call.versions.mean())
        return super()._row(call, outcome, given_up, round) | {"staleness": stale}

    def tensors(self) -> dict[str, Tensor]:
        """See `Schedule.tensors`."""
        state = {f"flow.{name}": torch.from_numpy(np.atleast_1d(part)) for name, part in self.arrivals.state().items()}
        models = {f"model.{version}": self.models[version] for version in self.arrivals.versions.tolist()}
        return super().tensors() | state | models

    def _restored(self, tensors: Mapping[str, Tensor]) -> None:
        parts = {n.removeprefix("flow."): t.numpy() for n, t in tensors.items() if n.startswith("flow.")}
        lacking = set(self.arrivals.state()) - set(parts)
        if lacking or len(parts["starts"]) != len(self.devices):
            raise StorageError("the checkpoint does not hold who was on the way: go on from an earlier one")
        scalars = {name: parts[name][0] for name in ("now", "next")}
        self.arrivals = Arrivals.resumed(self.devices, self.seed, self.how.concurrency, parts | scalars)
        models = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
        self.models = {int(version): model for version, model in models.items()}

"""One round's total: who takes part, what is charged for it, the sum of the reports, the noise on it."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.fixed_point import centred
from tacit.errors import InsufficientSurvivors, RoundFailed, SamplerMismatch, StorageError, TacitWarning
from tacit.fleet import FedAsync
from tacit.learning.layout import Parts
from tacit.privacy.guard import Guard
from tacit.privacy.plan import require_cohort
from tacit.privacy.record_guard import RecordGuard
from tacit.rounds.call import Call
from tacit.rounds.flow import Flow
from tacit.rounds.grouping import Grouping, grouping_of, merged
from tacit.rounds.schedule import Schedule
from tacit.rounds.securing import Session, Sums, most_together
from tacit.rounds.server import Public
from tacit.selection.cohort import Sampling
from tacit.venue.block import Block, cut
from tacit.venue.fold import Total
from tacit.venue.losses import ClientLosses
from tacit.venue.memory import ClientMemory
from tacit.venue.venue import Venue

if TYPE_CHECKING:
    from tacit.federation import Federation

Int = NDArray[np.int64]

_EMPTY: Int = np.empty(0, np.int64)


class Watch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        """Ends a phase."""
        now = time.perf_counter()
        self._laps[f"seconds_{name}"], self._last = now - self._last, now

    def seconds(self) -> dict[str, float]:
        """Of each phase, and of all."""
        return self._laps | {"seconds": sum(self._laps.values())}


@dataclass(frozen=True)
class Gathered:
    """One round's sum, and how it came about.

    Attributes:
        total: the sum.
        asked: how many clients were asked; on average, in a private run.
        call: who was asked; None where the sum was found stored.
        found: (K,) who is in a sum that was found stored.
    """

    total: Total
    asked: float
    call: Call | None = None
    found: Int = field(default_factory=lambda: _EMPTY)


@dataclass(frozen=True)
class _Opened:
    """A round for which enough clients will report, before they train: its groups, and the sessions of their sums."""

    call: Call
    groups: list[Int]
    sessions: list[Session | None] | None


@dataclass
class Gathering:
    """Selects, trains and sums, and lets no sum past its guards.

    Attributes:
        federation: whose rounds these are.
        venue: where reports are made and summed.
        memory: of the clients.
        guard: of the clients' privacy; None where the run has no user-level privacy.
        records: of their records' privacy, or None.
        public: what everybody knows of a private cohort, or None.
        securing: the secure aggregation, or None where the server adds reports itself.
        schedule: when rounds take place, and who reports.
        load: (N,) how many examples each client reads in a round.
        report_bytes: of one report in memory, where it is longest.
        block: most clients in a block, or None.
    """

    federation: Federation
    venue: Venue
    memory: ClientMemory
    guard: Guard | None
    records: RecordGuard | None
    public: Public | None
    securing: Sums | None
    schedule: Schedule
    load: NDArray[Any]
    report_bytes: int
    block: int | None

    def total(self, down: Tensor, round: int, watch: Watch) -> Gathered:
        """The total of a round.

        Args:
            down: the broadcast.
            round: from 0.
            watch: told of every phase.

        Raises:
            RoundFailed: too few reports could be counted.
            BudgetExceeded: the ledger refuses the round.
            Exhausted: the run was charged for all that it may spend.
        """
        if self.guard is not None:
            return self._noised(self.guard, down, round, watch)
        if self.records is not None:
            return self._of_records(self.records, down, round, watch)
        opened = self._opened(down, round, self.federation.seed, watch)
        total = self._sum(opened, down, round, watch)
        self._require_enough(total, opened.call, round)
        return Gathered(total, len(opened.call.cohort.clients), opened.call)

    def _noised(self, guard: Guard, down: Tensor, round: int, watch: Watch) -> Gathered:
        """Charged, summed, noised once, stored and committed; or what was stored before the run was cut off."""
        assert self.public is not None
        memory, nobody, federation = self.memory, np.empty(0, np.int64), self.federation
        found = guard.recovered(round)
        if found is not None:
            self._remember(found, round)
            if self.records is not None:
                self.records.take_up(round, found["cohort"], found["total"])
            total = Total(found["total"], nobody, [])
            return Gathered(total, self.public.counted, found=found["cohort"].numpy())
        seed = guard.seed(federation.seed)
        opened = self._opened(down, round, seed, watch)
        call = opened.call
        guard.take(call.cohort.clients)
        entry = guard.reserve(round)
        guard.take_turns(round, call.cohort.clients, lambda at: self.schedule.earlier(at, seed))
        total = self._sum(opened, down, round, watch)
        self._require_some(total, call, round)
        remembering = total.counted if memory.size else nobody
        who, what = torch.from_numpy(remembering), memory.staged(remembering)
        sent = call.reporting if total.sent is None else total.sent
        summed = total.total if guard.plan.shares is None else self._with_shares(guard, round, total.total, len(sent))
        noised = guard.release(round, summed, entry, who, what, torch.from_numpy(sent))
        if self.records is not None:
            self.records.commit(noised)
        watch.lap("noise")
        return Gathered(replace(total, total=noised), self.public.counted, call)

    def _with_shares(self, guard: Guard, round: int, total: Tensor, clients: int) -> Tensor:
        """The sum with the noise that its clients added under their masks; the whole protocol has seen to it."""
        assert self.securing is not None
        if self.securing.whole:
            return total
        noise = torch.from_numpy(guard.noising.share(round, clients, total.numel()))
        return centred(total + noise, self.securing.bits)

    def _of_records(self, records: RecordGuard, down: Tensor, round: int, watch: Watch) -> Gathered:
        """The same where the noise is in the clients' local steps, and nothing is added to the sum."""
        found = records.recovered(round, dict.fromkeys(("total", "cohort", "counted", "clients", "memory")))
        if found is not None:
            self._remember(found, round)
            total = Total(found["total"], found["counted"].numpy(), [])
            call = self._opened(down, round, self.federation.seed, watch).call  # as it was: its coins are no secret
            return Gathered(total, len(found["cohort"]), call)
        opened = self._opened(down, round, self.federation.seed, watch)
        call = opened.call
        total = self._sum(opened, down, round, watch)
        self._require_enough(total, call, round)
        remembering = total.counted if self.memory.size else np.empty(0, np.int64)
        others = {"cohort": call.reporting, "counted": total.counted, "clients": remembering}
        tensors = {name: torch.from_numpy(positions) for name, positions in others.items()}
        records.release(round, total.total, tensors | {"memory": self.memory.staged(remembering)})
        return Gathered(total, len(call.cohort.clients), call)

    @cached_property
    def _losses(self) -> ClientLosses:
        return ClientLosses(self.federation.task, self.federation.population)

    @cached_property
    def grouping(self) -> Grouping | None:
        """How cohorts are split for a robust rule, or None."""
        return grouping_of(self.federation)

    def _opened(self, down: Tensor, round: int, seed: int, watch: Watch) -> _Opened:
        """Asks clients until enough of them will report. Nothing is charged and nothing trained before that is known.

        Raises:
            RoundFailed: too few would; on a fleet, in every try.
        """
        while True:
            self.schedule.sent(round, down)
            call = self.schedule.call(round, seed, lambda who: self._losses(self.venue.work.down.unpack(down), who))
            if self.guard is not None:
                self.guard.require_declared(call.cohort)
            elif self.records is not None:
                everyone = len(self.federation.population)
                require_cohort(call.cohort.clients, Sampling("arbitrary", everyone, everyone))
            try:
                self._require_reporting(call, round)
                clients = call.reporting
                groups = [clients] if self.grouping is None else self.grouping.split(clients, round)
                groups.sort(key=lambda group: -int(self.load[group].sum()))
                opened = _Opened(call, groups, self._sessions(round, groups, down))
            except RoundFailed as found:
                error = found if self.guard is None or call.outcome is None else self._hidden(round)
                few = "too few for a secure sum" if isinstance(found, InsufficientSurvivors) else "too few reports"
                self.schedule.give_up(call, few, round, error)
                continue
            watch.lap("select")
            return opened

    def _hidden(self, round: int) -> RoundFailed:
        """What may be said of a private round for which too few would report: not how many were drawn."""
        return RoundFailed(
            f"round {round + 1}: too few of the clients whose coins came up would report, for a secure sum; how many "
            "is hidden. Draw larger cohorts, state a smaller minimum, or wait for devices that are not there, "
            "closing=PartialWork(patience=86400)"
        )

    def _require_reporting(self, call: Call, round: int) -> None:
        """On a fleet, too few reports are foreseen. In a private run none will do: whoever is missing is a zero."""
        if call.outcome is None or self.guard is not None:
            return
        needed = max(1, ceil(self.federation.minimum * call.wanted))
        if len(call.reporting) < needed:
            why = ", ".join(f"{many} {reason}" for reason, many in call.outcome.failures.items() if many)
            raise RoundFailed(
                f"round {round + 1}: {len(call.reporting)} of {len(call.cohort.clients)} clients would report, and "
                f"{needed} are needed (minimum={self.federation.minimum:g}){': ' + why if why else ''}"
            )

    def _sum(self, opened: _Opened, down: Tensor, round: int, watch: Watch) -> Total:
        call, groups, sessions = opened.call, opened.groups, opened.sessions
        if self.records is not None:
            self.records.reserve(round, call.reporting)
        asked = groups if sessions is None else [_EMPTY if one is None else one.asked for one in sessions]
        if call.versions is None:
            totals = self.venue.sums([self._blocks(call, clients) for clients in asked], down, round)
        else:
            totals = [self._of_versions(call, asked[0], down, round)]
        watch.lap("train")
        if sessions is not None:
            lost = [len(group) - len(clients) for group, clients in zip(groups, asked, strict=True)]
            totals = [replace(total, lost=count) for total, count in zip(totals, lost, strict=True)]
            if self.guard is None:
                self._require_enough(merged(totals, down[:0]), call, round, silent=True)
            totals = [self._closed(session, total, round) for session, total in zip(sessions, totals, strict=True)]
            watch.lap("secure")
        return totals[0] if self.grouping is None else self.grouping.combine(totals, round)

    def _of_versions(self, call: Call, clients: Int, down: Tensor, round: int) -> Total:
        """The sum of a buffer: of every client's update from the model it started with."""
        flow, versions, parts = self.schedule, call.versions, list[Total]()
        assert isinstance(flow, Flow) and versions is not None
        started = versions[np.isin(call.cohort.clients, clients)]
        alone = isinstance(flow.how, FedAsync)
        for version in np.unique(started).tolist():
            scale = 1.0 if alone else flow.how.scale(round - version)
            blocks = self._blocks(call, clients[started == version])
            given = [replace(block, scale=scale) for block in blocks]
            parts += self.venue.sums([given], flow.models[version], version)
        if not parts:
            return self.venue.sums([[]], down, round)[0]
        total = merged(parts, torch.stack([part.total for part in parts]).sum(0))
        if isinstance(flow.how, FedAsync):
            self._mix(flow.how, total, flow.models[int(started[0])], down, round - int(started[0]))
        return total

    def _mix(self, how: FedAsync, total: Total, start: Tensor, down: Tensor, stale: int) -> None:
        """Makes of the report of a client that started from `start` the step from `down` towards its model."""
        layout, x = self.federation.chain.layout, self.venue.work.down["x"]
        moved = (start[x] - down[x]).to(torch.float64) * total.total[layout["weight"]]
        update = total.total[layout["update"]]
        update.add_(moved).mul_(how.mixing * how.scale(stale))

    def _blocks(self, call: Call, clients: Int) -> list[Block]:
        """Of these clients of a cohort: each of one kind of work."""
        budget = call.cohort.budget
        budget = None if budget is None else budget[np.isin(call.cohort.clients, clients)]
        kinds = self.schedule.kinds(clients)
        if kinds is None:
            return cut(clients, self.load[clients], self.report_bytes, budget, self.block)
        blocks = list[Block]()
        for kind in np.unique(kinds).tolist():
            mine, own = clients[kinds == kind], None if budget is None else budget[kinds == kind]
            found = cut(mine, self.load[mine], self.report_bytes, own, self.block)
            blocks += [replace(block, kind=kind) for block in found]
        return blocks

    def _sessions(self, round: int, groups: list[Int], down: Tensor) -> list[Session | None] | None:
        """One for every group, where sums are secure; None for a group that is lost.

        On a fleet its members are those who have trained by the time the round is closed: they exchange keys when they
        are done, so that a slow device never holds up a session, nor counts as lost in it.
        """
        if self.securing is None:
            return None
        share = None if self.guard is None else self.guard.noising.share_of(round, self.securing.length)
        found: list[Session | None] = [None] * len(groups)
        most = most_together(self.federation)
        if any(len(clients) > most for clients in groups):
            raise SamplerMismatch(
                f"round {round + 1}: {max(map(len, groups))} clients are to be in one sum, for which its words are too "
                f"narrow: {self.federation.selection!r} declares {most} at most. Let it declare what it draws"
            )
        self.securing.announce(round, np.concatenate([_EMPTY, *groups]), down)
        for k, clients in enumerate(groups):
            try:
                found[k] = self.securing.session(round, clients, down, k, share)
            except InsufficientSurvivors as error:
                self._lose_group(error, round)
        return found

    def _lose_group(self, error: InsufficientSurvivors, round: int) -> None:
        """A group of which too few clients are left is one row less for a robust rule; without one, the round fails."""
        error.args = (f"round {round + 1}: {error}",)
        if self.grouping is None:
            raise error
        warnings.warn(f"a group was left out of {error}", TacitWarning, stacklevel=2)

    def _closed(self, session: Session | None, total: Total, round: int) -> Total:
        """The total of a session that hears nothing from the clients that were set aside; empty where it fails.

        In a private run these send zeros, so that nobody learns who they are.
        """
        if session is None:
            return total
        without = {one.client for one in total.set_aside} if self.guard is None else set()
        failed = np.array([c for c in session.asked if self.federation.population.ids[c] in without], np.int64)
        try:
            return replace(session.close(total, failed), sent=np.setdiff1d(session.asked, failed))
        except InsufficientSurvivors as error:
            self._lose_group(error, round)
        return replace(total, counted=_EMPTY, lost=total.lost + len(session.asked))

    def _remember(self, found: Parts, round: int) -> None:
        """Lets clients remember what they did before the run was cut off."""
        clients = found["clients"].numpy()
        if not self.memory.fits(clients, found["memory"]):
            raise StorageError(f"the stored sum of round {round + 1} is damaged: remove it, and it is charged anew")
        if self.guard is not None:
            self.memory.restore(clients, found["memory"])
        elif self.memory.size:  # the server's step commits those who are known to have been counted
            self.memory.stage(clients, found["memory"], self.memory.slots_of(clients))

    def _require_some(self, total: Total, call: Call, round: int) -> None:
        """A private round in which training failed for everybody fails the run: nothing but noise would be learned."""
        if total.set_aside and len(total.set_aside) == len(call.reporting):
            kind = total.set_aside[0].reason.partition(":")[0]
            raise RoundFailed(
                f"round {round + 1}: training failed for every client: {kind}. What else the error says may hold their "
                "data: train without privacy, on data that may be looked at, to see it"
            )

    def _require_enough(self, total: Total, call: Call, round: int, *, silent: bool = False) -> None:
        """Names the clients set aside in a warning, unless `silent`; fails the round when too few are left."""
        causes = "; ".join(f"{a.client!r}: {a.reason}" for a in total.set_aside[:5])
        if self.records is not None:
            causes = "the reasons are hidden, they may hold the records"
        if total.set_aside and not silent:
            text = f"round {round + 1}: {len(total.set_aside)} reports were set aside and not counted: {causes}"
            warnings.warn(text, TacitWarning, stacklevel=2)
        minimum = self.federation.minimum
        needed = max(1, ceil(minimum * call.wanted))
        if len(total.counted) < needed:
            raise RoundFailed(
                f"round {round + 1}: only {len(total.counted)} of {call.wanted} reports could be counted, "
                f"{needed} are needed (minimum={minimum:g}). Set aside: {causes}"
            )

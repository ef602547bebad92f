"""One round's total: who takes part, what is charged for it, the sum of the reports, the noise on it."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.fixed_point import centred
from tacit.errors import InsufficientSurvivors, RoundFailed, StorageError, TacitWarning
from tacit.grouping import Grouping, grouping_of, merged
from tacit.learning.layout import Parts
from tacit.privacy.guard import Guard
from tacit.privacy.record_guard import RecordGuard
from tacit.securing import Session, Sums
from tacit.selection.cohort import Cohort
from tacit.server import Public
from tacit.venue.block import Block, cut
from tacit.venue.fold import Total
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
        load: (N,) how many examples each client reads in a round.
        report_bytes: of one report.
        block: most clients in a block, or None.
    """

    federation: Federation
    venue: Venue
    memory: ClientMemory
    guard: Guard | None
    records: RecordGuard | None
    public: Public | None
    securing: Sums | None
    load: NDArray[Any]
    report_bytes: int
    block: int | None

    def total(self, down: Tensor, round: int, watch: Watch) -> tuple[Total, float]:
        """The total of a round, and how many clients were asked (on average, in a private run).

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
        cohort, total = self._sum(down, round, self.federation.seed, watch)
        self._require_enough(total, cohort, round)
        return total, len(cohort.clients)

    def _noised(self, guard: Guard, down: Tensor, round: int, watch: Watch) -> tuple[Total, float]:
        """Charged, summed, noised once, stored and committed; or what was stored before the run was cut off."""
        assert self.public is not None
        memory, nobody, federation = self.memory, np.empty(0, np.int64), self.federation
        found = guard.recovered(round)
        if found is not None:
            self._remember(found, round)
            if self.records is not None:
                self.records.take_up(round, found["cohort"], found["total"])
            return Total(found["total"], nobody, []), self.public.counted
        entry = guard.reserve(round)
        seed, clients = guard.seed(federation.seed), len(federation.population)
        guard.take_turns(round, lambda at: federation.selection.draw(clients, seed, at).clients)
        cohort, total = self._sum(down, round, seed, watch)
        self._require_some(total, cohort, round)
        remembering = total.counted if memory.size else nobody
        who, what = torch.from_numpy(remembering), memory.staged(remembering)
        sent = cohort.clients if total.sent is None else total.sent
        summed = total.total if guard.plan.shares is None else self._with_shares(guard, round, total.total, len(sent))
        noised = guard.release(round, summed, entry, who, what, torch.from_numpy(sent))
        if self.records is not None:
            self.records.commit(noised)
        watch.lap("noise")
        return replace(total, total=noised), self.public.counted

    def _with_shares(self, guard: Guard, round: int, total: Tensor, clients: int) -> Tensor:
        """The sum with the noise that its clients added under their masks; the whole protocol has seen to it."""
        assert self.securing is not None
        if self.securing.whole:
            return total
        noise = torch.from_numpy(guard.noising.share(round, clients, total.numel()))
        return centred(total + noise, self.securing.bits)

    def _of_records(self, records: RecordGuard, down: Tensor, round: int, watch: Watch) -> tuple[Total, float]:
        """The same where the noise is in the clients' local steps, and nothing is added to the sum."""
        found = records.recovered(round, dict.fromkeys(("total", "cohort", "counted", "clients", "memory")))
        if found is not None:
            self._remember(found, round)
            return Total(found["total"], found["counted"].numpy(), []), len(found["cohort"])
        cohort, total = self._sum(down, round, self.federation.seed, watch)
        self._require_enough(total, cohort, round)
        remembering = total.counted if self.memory.size else np.empty(0, np.int64)
        others = {"cohort": cohort.clients, "counted": total.counted, "clients": remembering}
        tensors = {name: torch.from_numpy(positions) for name, positions in others.items()}
        records.release(round, total.total, tensors | {"memory": self.memory.staged(remembering)})
        return total, len(cohort.clients)

    @cached_property
    def grouping(self) -> Grouping | None:
        """How cohorts are split for a robust rule, or None."""
        return grouping_of(self.federation)

    def _sum(self, down: Tensor, round: int, seed: int, watch: Watch) -> tuple[Cohort, Total]:
        federation, grouping = self.federation, self.grouping
        cohort = federation.selection.draw(len(federation.population), seed, round)
        if self.guard is not None:
            self.guard.require_declared(cohort)
        if self.records is not None:
            self.records.reserve(round, cohort.clients)
        groups = [cohort.clients] if grouping is None else grouping.split(cohort.clients, round)
        groups.sort(key=lambda clients: -int(self.load[clients].sum()))
        sessions = self._sessions(round, groups, down)
        asked = groups if sessions is None else [_EMPTY if one is None else one.asked for one in sessions]
        blocks = [self._blocks(cohort, clients) for clients in asked]
        watch.lap("select")
        totals = self.venue.sums(blocks, down, round)
        watch.lap("train")
        if sessions is not None:
            lost = [len(group) - len(clients) for group, clients in zip(groups, asked, strict=True)]
            totals = [replace(total, lost=count) for total, count in zip(totals, lost, strict=True)]
            if self.guard is None:
                self._require_enough(merged(totals, down[:0]), cohort, round, silent=True)
            totals = [self._closed(session, total, round) for session, total in zip(sessions, totals, strict=True)]
            watch.lap("secure")
        return cohort, totals[0] if grouping is None else grouping.combine(totals, round)

    def _blocks(self, cohort: Cohort, clients: Int) -> list[Block]:
        """Of these clients of a cohort."""
        budget = None if cohort.budget is None else cohort.budget[np.isin(cohort.clients, clients)]
        return cut(clients, self.load[clients], self.report_bytes, budget, self.block)

    def _sessions(self, round: int, groups: list[Int], down: Tensor) -> list[Session | None] | None:
        """One for every group, where sums are secure; None for a group that is lost."""
        if self.securing is None:
            return None
        share = None if self.guard is None else self.guard.noising.share_of(round, self.securing.length)
        found: list[Session | None] = [None] * len(groups)
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
        self.memory.restore(clients, found["memory"])

    def _require_some(self, total: Total, cohort: Cohort, round: int) -> None:
        """A private round in which training failed for everybody fails the run: nothing but noise would be learned."""
        if total.set_aside and len(total.set_aside) == len(cohort.clients):
            kind = total.set_aside[0].reason.partition(":")[0]
            raise RoundFailed(
                f"round {round + 1}: training failed for every client: {kind}. What else the error says may hold their "
                "data: train without privacy, on data that may be looked at, to see it"
            )

    def _require_enough(self, total: Total, cohort: Cohort, round: int, *, silent: bool = False) -> None:
        """Names the clients set aside in a warning, unless `silent`; fails the round when too few are left."""
        causes = "; ".join(f"{a.client!r}: {a.reason}" for a in total.set_aside[:5])
        if self.records is not None:
            causes = "the reasons are hidden, they may hold the records"
        if total.set_aside and not silent:
            text = f"round {round + 1}: {len(total.set_aside)} reports were set aside and not counted: {causes}"
            warnings.warn(text, TacitWarning, stacklevel=2)
        minimum = self.federation.minimum
        needed = max(1, ceil(minimum * len(cohort.clients)))
        if len(total.counted) < needed:
            raise RoundFailed(
                f"round {round + 1}: only {len(total.counted)} of {len(cohort.clients)} reports could be counted, "
                f"{needed} are needed (minimum={minimum:g}). Set aside: {causes}"
            )

"""One round's total: who takes part, what is charged for it, the sum of the reports, the noise on it."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.errors import RoundFailed, StorageError, TacitWarning
from tacit.learning.layout import Parts
from tacit.privacy.guard import Guard
from tacit.privacy.record_guard import RecordGuard
from tacit.selection.cohort import Cohort
from tacit.server import Public
from tacit.venue.block import cut
from tacit.venue.fold import Total
from tacit.venue.memory import ClientMemory
from tacit.venue.venue import Venue

if TYPE_CHECKING:
    from tacit.federation import Federation

Int = NDArray[np.int64]


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
        noised = guard.release(round, total.total, entry, who, what, torch.from_numpy(cohort.clients))
        if self.records is not None:
            self.records.commit(noised)
        watch.lap("noise")
        return replace(total, total=noised), self.public.counted

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

    def _sum(self, down: Tensor, round: int, seed: int, watch: Watch) -> tuple[Cohort, Total]:
        federation = self.federation
        cohort = federation.selection.draw(len(federation.population), seed, round)
        if self.guard is not None:
            self.guard.require_declared(cohort)
        if self.records is not None:
            self.records.reserve(round, cohort.clients)
        blocks = cut(cohort.clients, self.load[cohort.clients], self.report_bytes, cohort.budget, self.block)
        watch.lap("select")
        total = self.venue.sum(blocks, down, round)
        watch.lap("train")
        return cohort, total

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

    def _require_enough(self, total: Total, cohort: Cohort, round: int) -> None:
        """Names the clients set aside in a warning; fails the round when too few are left."""
        causes = "; ".join(f"{a.client!r}: {a.reason}" for a in total.set_aside[:5])
        if self.records is not None:
            causes = "the reasons are hidden, they may hold the records"
        if total.set_aside:
            text = f"round {round + 1}: {len(total.set_aside)} reports were set aside and not counted: {causes}"
            warnings.warn(text, TacitWarning, stacklevel=2)
        minimum = self.federation.minimum
        needed = max(1, ceil(minimum * len(cohort.clients)))
        if len(total.counted) < needed:
            raise RoundFailed(
                f"round {round + 1}: only {len(total.counted)} of {len(cohort.clients)} reports could be counted, "
                f"{needed} are needed (minimum={minimum:g}). Set aside: {causes}"
            )

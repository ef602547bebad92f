"""The virtual time of a run: when rounds take place on its fleet, who is asked, who reports, and what it cost.

How long devices take does not depend on what they learn, so all of that is known before anything is trained or charged
to a privacy budget. A round for which too few would report is given up, at no other cost than their time, and tried
again later with other clients.

Without a fleet there is no time: who is drawn is asked, and reports.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from math import exp, inf, isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.errors import RoundFailed, StorageError, TacitWarning
from tacit.fleet import (
    Clock,
    Closing,
    Deadline,
    Fate,
    FedBuff,
    FirstArrivals,
    Load,
    Outcome,
    PartialWork,
    Tally,
    WaitForAll,
    expected,
)
from tacit.rounds.attendance import Attendance
from tacit.rounds.call import Call, fitting, least
from tacit.rounds.load import enough, loads, sizes_of
from tacit.selection.claim import CHANCE, claimed
from tacit.selection.cohort import Separated, drawn
from tacit.selection.overselected import wanted
from tacit.selection.power_of_choice import to_evaluate
from tacit.selection.table import CLIENT_LOSSES, TIER_LOSSES, ClientTable

if TYPE_CHECKING:
    from tacit.federation import Federation

Float: TypeAlias = NDArray[np.float64]
Int: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]

PAUSE = 300.0
"""Seconds before a round that was given up is tried again; twice as many after every further try."""
TRIES = 10
"""How often a round is tried."""
REASONS = ("late", "dropped", "left", "unavailable")
NAMES = ("asked", "reports")
EVALUATION = 1 / 3
"""Units of work for an example that is only evaluated."""
ANSWER = 8
"""Bytes of a loss."""
KEPT = ("table.", "tally.")
"""How the tensors of every schedule are named."""
HOUR = 3600.0


class Schedule:
    """The rounds of one run, in virtual time where it has a fleet.

    Args:
        federation: whose run it is.
        reads: (N,) examples that each client reads in a round.
        down, up: bytes that each receives and sends in a round.
    """

    def __init__(self, federation: Federation, reads: Int, down: int, up: int) -> None:
        self._made_of = federation, reads, down, up
        self._selection, self.fleet = federation.selection, federation.fleet
        self._private, self._how = federation.privacy is not None, federation.by_tier
        uses = getattr(federation.selection, "uses", ())
        self.with_losses, self._with_tiers = CLIENT_LOSSES in uses, TIER_LOSSES in uses
        self.remembers = bool(uses) or self.fleet is not None
        """Whether the table goes into checkpoints."""
        self.now, self._calls, self._tries = 0.0, 0, 0
        self.table = ClientTable.of(len(reads), examples=sizes_of(federation))
        self.there: Callable[[int, Tensor], Bool | None] = lambda round, down: None
        """(N,) who can be asked in a round with its broadcast, where that is not virtual; None for everybody."""
        self._down = torch.empty(0)
        if self.fleet is None:
            return
        self._load, self._most = loads(federation, self.fleet, down, up)
        self._clock, self._tally = Clock(self.fleet, federation.seed), Tally(self.fleet)
        self._tally.start = 0.0  # the wait for the first devices is part of the run
        seconds = expected(self.fleet, self._load)
        self._rule = self.closing = federation.closing or PartialWork()
        if isinstance(self.closing, Deadline) and self.closing.share is not None:
            whole = expected(self.fleet, self._load, self.closing.margin or 0.0)
            found = float(np.quantile(whole, self.closing.share))
            self._rule = self.closing.within(found + self.closing.patience)
        limit = inf if self._rule.seconds is None else self._rule.seconds
        patience = min(getattr(self.closing, "patience", 0.0), limit)
        self.attendance = Attendance(self._clock, self._selection, *enough(federation), patience)
        self.table = ClientTable.of(
            len(reads),
            examples=sizes_of(federation),
            seconds=seconds,
            memory=self.fleet.memory,
            flags=self.fleet.flags,
            version=self.fleet.version,
            tier=self.fleet.tier,
        )

    def call(self, round: int, seed: int, losses: Callable[[Int], Float]) -> Call:
        """Who is asked now, and who of them will report.

        Args:
            round: from 0.
            seed: of the coins of the selection: a secret in a private run.
            losses: evaluates the model of this round on clients (K,), for a selection that asks candidates for it.

        Raises:
            RoundFailed: no device is ever there.
        """
        seed = seed if not self._tries or self._turns else keys.digest(seed, "again", self._tries)
        if self.fleet is None:
            there = self.there(round, self._down)
            table = self.table if there is None else replace(self.table, pool=there)
            cohort = drawn(self._selection, self._asked_for_losses(table, seed, round, losses), seed, round)
            return Call(cohort, np.empty(0, np.int64), len(cohort.clients))
        table = self.attendance.table(self.table, self.now, round, self._due(round, seed))
        self.now = table.now
        cohort = drawn(self._selection, self._asked_for_losses(table, seed, round, losses), seed, round)
        cohort = replace(cohort, sampling=claimed(cohort.sampling, self.fleet, self.closing))
        rule = self._definite(len(cohort.clients))
        load = self._load.take(cohort.clients)
        outcome = self._clock.round(self._calls, load, rule, self.now, patience=self.attendance.patience)
        if self.lasting:
            assert rule.seconds is not None
            outcome = replace(outcome, end=self.now + rule.seconds)
        self._calls += 1
        needed = rule.count if isinstance(rule, FirstArrivals) and rule.count else len(cohort.clients)
        most = None if self._most is None else self._most[cohort.clients]
        cohort = replace(cohort, budget=least(fitting(outcome, load), least(most, cohort.budget)))
        return Call(cohort, cohort.clients[~outcome.counts], min(needed, len(cohort.clients)), outcome)

    def _asked_for_losses(
        self, table: ClientTable, seed: int, round: int, losses: Callable[[Int], Float]
    ) -> ClientTable:
        """The table with what candidates answer who are asked how well the model fits them; on a fleet that takes time.

        An evaluation is a pass forwards, a third of the work of a training step.
        """
        who = to_evaluate(self._selection, table, seed, round)
        if not len(who):
            return table
        if self.fleet is not None:
            load = Load(who, table.examples[who] * EVALUATION, self._load.down[who], ANSWER)
            limit = self._rule.seconds
            rule = WaitForAll() if limit is None or not isfinite(limit) else Deadline(limit)
            outcome = self._clock.round(self._calls, load, rule, self.now)
            self._calls, self.now, who = self._calls + 1, outcome.end, outcome.counted
            self._tally.spend(outcome)
        told = table.loss.copy()
        told[who] = losses(who)
        return replace(table, loss=told, now=self.now)

    @property
    def lasting(self) -> bool:
        """Whether a round lasts until its limit even if all are done: its length tells nothing in a private run."""
        return self._private and self.fleet is not None and isfinite(self._rule.seconds or 0.0)

    def earlier(self, round: int, seed: int) -> Int:
        """Who took part in a round before."""
        if self.remembers:
            return np.flatnonzero(self.table.last == round).astype(np.int64)
        return self._selection.draw(len(self.table), seed, round).clients

    @property
    def _chance(self) -> bool:
        """Whether amplification of privacy by sampling is claimed."""
        kind = claimed(self._selection.sampling(len(self.table)), self.fleet, self.closing).kind
        return kind in CHANCE

    @property
    def _turns(self) -> bool:
        """Whether clients take turns in an order, which a second try of a round must not shift."""
        return isinstance(self._selection, Separated)

    def _due(self, round: int, seed: int) -> Bool | None:
        """(N,) whose turn it is, where clients take turns in an order."""
        if not self._turns:
            return None
        due = np.zeros(len(self.table), np.bool_)
        due[self._selection.draw(len(self.table), seed, round).clients] = True
        return due

    def give_up(self, call: Call, reason: str, round: int, error: RoundFailed) -> None:
        """Books a round that is given up before anything of it was trained.

        Args:
            call: its.
            reason: for the books, in a few words.
            round: from 0.
            error: what to raise where no further try is made.

        Raises:
            RoundFailed: `error`, without a fleet or after the last try; at once where privacy rests on the chance by
                which the cohort was drawn: cohorts drawn anew until one is large enough are no such draw.
        """
        self._tries += 1
        if call.outcome is None or self._tries >= TRIES or (self._private and self._chance):
            raise error
        pause = self._passed_over(call, call.outcome, reason, round)
        when = f"{pause / 60:g} minutes of virtual time later" if pause else "with the next reports"
        said = f"round {round + 1}: {reason}" if self._private else str(error)
        text = f"{said}. Given up, and tried again {when}"
        if not self._private and len(call.cohort.clients) < self.attendance.least:
            text += ". Too few devices are there: wait for others with closing=PartialWork(patience=86400)"
        warnings.warn(text, TacitWarning, stacklevel=2)

    def _passed_over(self, call: Call, outcome: Outcome, reason: str, round: int) -> float:
        """Books a round that is given up. Returns the seconds until it is tried again."""
        self._tally.add(outcome, abandoned=reason)
        self.table.observe(round, call.cohort.clients, [], turn=False)
        pause: float = PAUSE * 2 ** (self._tries - 1)
        self.now = outcome.end + pause
        return pause

    def done(self, call: Call, round: int, counted: Int, loss: float | None, losses: Float | None) -> dict[str, Any]:
        """Books a round whose sum was taken.

        Args:
            call: its.
            round: from 0.
            counted: (C,) whose report is in the sum.
            loss: mean training loss, where it is known.
            losses: (C,) of each, where the selection uses them.

        Returns:
            The columns that a fleet adds to the round's row.
        """
        given_up, self._tries = self._tries, 0
        self._note(call, round, counted, losses if self.with_losses else None)
        if self._with_tiers and loss is not None and len(call.cohort.clients):
            tiers = np.unique(self.table.tier[call.cohort.clients])
            if len(tiers) == 1:
                self.table.observe_tier(round, int(tiers[0]), loss)
        outcome = call.outcome
        if outcome is None:
            return {}
        self._tally.add(outcome if self._private else outcome.without(np.setdiff1d(outcome.counted, counted)))
        self._follow(outcome)
        self.now = outcome.end
        return self._row(call, outcome, given_up, round)

    def _note(self, call: Call, round: int, counted: Int, losses: Float | None) -> None:
        self.table.observe(round, call.cohort.clients, counted, losses)

    def kinds(self, clients: Int) -> Int | None:
        """(K,) the kind of work of each of these clients; None where all do the same."""
        if self._how is None or self._how.kinds == 1 or self.fleet is None:
            return None
        return self._how.kind_of(self.fleet.tier[clients])

    def sent(self, round: int, down: Tensor) -> None:
        """Notes the model of a round, for those who come back with another."""
        self._down = down

    def ended(self) -> None:
        """Books what is left when a run has ended."""

    def skip(self, round: int, clients: Int) -> dict[str, Any]:
        """Passes a round whose sum was found stored, with the clients (K,) in it: what it cost is no longer known."""
        self.table.observe(round, clients, clients)
        if self.fleet is None:
            return {}
        self._calls += 1
        if self.lasting:
            began = self.attendance.table(self.table, self.now, round).now
            self.now = began + float(self._rule.seconds or 0.0)
        hours = self.now / HOUR if self.lasting else None
        return {"virtual_hours": hours, **dict.fromkeys(("asked", *REASONS, "given_up"))}

    def _row(self, call: Call, outcome: Outcome, given_up: int, round: int) -> dict[str, Any]:
        if self._private:
            hidden = dict.fromkeys(("asked", *REASONS, "given_up"))
            return {"virtual_hours": self.now / HOUR if self.lasting else None, **hidden}
        failures = outcome.failures
        told = {reason: failures[reason] for reason in REASONS}
        return {"virtual_hours": self.now / HOUR, "asked": len(outcome.clients), **told, "given_up": given_up}

    def as_json(self, rounds: int) -> dict[str, Any] | None:
        """The table `fleet` of a result; None without a fleet.

        Of a private run the books would tell who took part, from which its coins could be guessed: so they are those
        of a rehearsal, the same rounds with coins that everybody may know and nobody trained by.

        Args:
            rounds: how many there were.
        """
        if self.fleet is None:
            return None
        books = self._tally if not self._private else self._rehearsed(rounds)
        limit = getattr(self._rule, "seconds", None)
        shown = None if limit is None or not isfinite(limit) else limit
        told = {"closing": repr(self.closing), "limit_seconds": shown, "devices": len(self.fleet)}
        return told | {"rehearsed": self._private} | books.as_json()

    def _rehearsed(self, rounds: int) -> Tally:
        """The books of so many rounds of another run of this kind."""
        federation = self._made_of[0]
        how, other = federation.aggregation, type(self)(*self._made_of)
        needed = 1 if how is None else how.fewest(federation.sampling)
        seed = keys.digest(self._clock.seed, "rehearsal")
        for round in range(rounds):
            with suppress(RoundFailed):
                other._rehearse(round, seed, needed)
        other.ended()
        return other._tally

    def _rehearse(self, round: int, seed: int, needed: int) -> None:
        """One round of a rehearsal."""
        call = self.call(round, seed, lambda who: np.zeros(len(who)))
        while call.outcome is not None and len(call.reporting) < needed and self._tries < TRIES:
            self._tries += 1
            self._passed_over(call, call.outcome, "too few reports", round)
            call = self.call(round, seed, lambda who: np.zeros(len(who)))
        self.done(call, round, call.reporting, None, None)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside `tensors`, as JSON values."""
        if self.fleet is None:
            return {}
        books = self._tally.state()["sums"]
        return {"now": self.now, "calls": self._calls, "limit": self._rule.seconds, "books": books}

    def tensors(self) -> dict[str, Tensor]:
        """The history of the clients and the counts of the books, by name."""
        if not self.remembers:
            return {}
        columns = {f"table.{name}": column for name, column in self.table.history().items()}
        if self.fleet is not None:
            columns |= {f"tally.{name}": self._tally.state()[name] for name in NAMES}
        return {name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in columns.items()}

    def restore(self, state: Any, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from a checkpoint.

        Raises:
            StorageError: it lacks something, or holds it in another shape.
        """
        mine = {name: part for name, part in self.tensors().items() if name.startswith(KEPT)}
        wrong = [
            n for n, t in mine.items() if n not in tensors or tensors[n].shape != t.shape or tensors[n].dtype != t.dtype
        ]
        keys_ = {"now", "calls", "limit", "books"} if self.fleet is not None else set()
        if wrong or (keys_ and not (isinstance(state, Mapping) and keys_ <= set(state))):
            raise StorageError(
                f"the checkpoint does not hold the schedule of this run ({', '.join(wrong) or 'its time'}): go on from "
                "an earlier one"
            )
        if not self.remembers:
            return
        history = {n.removeprefix("table."): tensors[n].numpy() for n in mine if n.startswith("table.")}
        self.table = self.table.with_history(history)
        if self.fleet is not None:
            self.now, self._calls = float(state["now"]), int(state["calls"])
            if isinstance(self._rule, Deadline) and state["limit"] is not None:
                self._rule = self._rule.within(float(state["limit"]))
            counts = {name: tensors[f"tally.{name}"].numpy() for name in NAMES}
            self._tally = Tally.resumed(self.fleet, counts | {"sums": state["books"]})
        self._restored(tensors)

    def _restored(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes up what is not of every schedule."""

    def _definite(self, asked: int) -> Closing:
        """The rule with nothing left open."""
        rule = self._rule
        assert not isinstance(rule, FedBuff), "buffers are no rounds that are closed"
        if isinstance(rule, FirstArrivals) and rule.count is None:
            return replace(rule, count=max(1, wanted(self._selection) or asked))
        return rule

    def _follow(self, outcome: Outcome) -> None:
        """Moves a paced limit towards its quantile."""
        closing = self.closing
        if not isinstance(closing, Deadline) or not closing.pace or closing.share is None:
            return
        tried = outcome.counts | (outcome.fate == Fate.LATE)
        if not tried.any():
            return
        whole = outcome.counts & (outcome.work >= self._load.work[outcome.clients])
        assert isinstance(self._rule, Deadline) and self._rule.seconds is not None
        met = float(whole.sum() / tried.sum())
        self._rule = self._rule.within(self._rule.seconds * exp(closing.pace * (closing.share - met)))

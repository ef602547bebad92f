"""What a participant does when it is asked: trains, charges its ledger before a report leaves, and hides the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from tacit.aggregation.secure.identity import Identity
from tacit.errors import MalformedMessage, StorageError, TacitError
from tacit.learning.task import Task
from tacit.network.consent.cost import Cost, costs
from tacit.network.consent.diary import Diary
from tacit.network.consent.policy import Policy
from tacit.network.consent.spending import Spending
from tacit.network.deployment import task_of
from tacit.network.office import READY, Assignment, Kind, Outcome
from tacit.network.order import Order
from tacit.network.sessions import Sessions
from tacit.network.terms import Terms
from tacit.network.training import Standing, Training, digest_of
from tacit.plan import build
from tacit.privacy.promised import promised

ATTEMPTS = 50
"""Most attempts of one round, those that a restart of the coordinator cut off among them."""
ROOM, ROSTER = 2**20, 4096
"""Bytes of a blob beside the model's numbers: at all, and for each participant."""
KEPT = 1000
"""Rounds of which is known which model they began with."""
SHARE = 0.7
"""Share of the time for which a report is waited for that local steps may take: the rest is for what goes around it."""


class Unwilling(TacitError):
    """This participant does not do what it is asked for, by its own rules."""


class Duties:
    """The duties of one participant in one run. Its methods run one after another.

    Args:
        terms: of the run, approved.
        own: its inputs and targets, as the schema has them.
        identity: by which it signs.
        authority: public key of who certified it.
        policy: what it admits.
        memory: folder of what it remembers between rounds.
        diary: where it is noted.
        spending: its ledger.
        task: of its own, or None.
        train: a function for the local steps, or None.
    """

    def __init__(
        self,
        terms: Terms,
        own: tuple[Tensor, Tensor],
        *,
        identity: Identity,
        authority: bytes,
        policy: Policy,
        memory: Path,
        diary: Diary,
        spending: Spending,
        task: Task | None,
        train: Callable[..., Any] | None,
    ) -> None:
        self._terms, self._own, self._identity, self._authority = terms, own, identity, authority
        self._policy, self._memory, self._diary, self._spending = policy, memory, diary, spending
        self._task, self._train = task, train
        self._training: Training | None = None
        self._sessions: Sessions | None = None
        self._costs: tuple[Cost, ...] = ()
        self._pending: Outcome | None = None
        self._down, self._version = b"", 0
        self._models: dict[int, bytes] = {}
        self._pace: float | None = None
        """Seconds of a local step, in the last round that was trained."""

    @property
    def engine(self) -> str:
        """What runs the local steps; empty before it has trained."""
        return "" if self._training is None else self._training.engine

    @cached_property
    def largest(self) -> int:
        """Most bytes of anything that this run may send: its model four times, in double precision, or a roster."""
        model = task_of(self._terms.plan, self._terms.schema, self._task).model
        numbers = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
        return 32 * numbers + ROSTER * self._terms.participants + ROOM

    def answer(self, assignment: Assignment, blobs: Mapping[str, bytes]) -> bytes:
        """What an assignment is answered with.

        Args:
            assignment: of this run.
            blobs: that belong to it.

        Raises:
            Unwilling: the policy says no, now.
            BudgetExceeded: the participant's own cap does.
            SecureAggregationError: the session breaks its rules.
            TacitError: training failed.
        """
        self._require_agreed(assignment)
        if assignment.kind is Kind.TRAIN:
            order = Order.read(assignment.payload)
            self._train_now(assignment, order, _needed(blobs, "down"))
            return READY if order.waits else self._given(assignment, order)
        if assignment.kind is Kind.KEYS:
            return self._given(assignment, Order.read(assignment.payload))
        if self._sessions is None:
            raise Unwilling("this session was begun by an earlier process, and its keys went with that")
        message = _needed(blobs, "roster") if assignment.kind is Kind.SHARE else assignment.payload
        return self._sessions.answer(assignment.kind, (assignment.round, assignment.attempt), message)

    def settled(self, outcome: Outcome) -> None:
        """Remembers a round in which it was counted, and forgets one in which it was not."""
        if self._training is None:  # it is told of a round that an earlier process trained
            self._pending = outcome
        else:
            self._training.settled(outcome.round, outcome.attempt, outcome.counted)

    def _require_agreed(self, assignment: Assignment) -> None:
        """Holds an assignment against the terms that were approved, whatever the coordinator says.

        Raises:
            Unwilling: it is of a round that they do not have, or the round was tried too often.
        """
        rounds = self._terms.plan.rounds
        if assignment.round >= rounds:
            raise Unwilling(f"round {assignment.round + 1} was asked for, and {rounds} rounds were approved")
        if assignment.attempt >= ATTEMPTS:
            raise Unwilling(f"round {assignment.round + 1} was tried {assignment.attempt} times: {ATTEMPTS} at most")

    def _require_one_model(self, round: int, down: bytes) -> None:
        """Of one round one model is trained from: with two, what a coordinator sees of both could be compared.

        Raises:
            Unwilling: another model was sent for this round before.
        """
        digest = digest_of(down)
        if self._models.setdefault(round, digest) != digest:
            raise Unwilling(f"round {round + 1} began with another model before: this participant trains from one")
        for old in [one for one in self._models if one < round - KEPT]:
            del self._models[old]

    def _stale(self, assignment: Assignment, order: Order) -> int:
        """How many versions old its training is, by its own count.

        Raises:
            Unwilling: the coordinator counts otherwise, or it is older than the terms allow.
        """
        how = build.overlapping(self._terms.plan)
        own = assignment.round - self._version
        if own != order.stale or not 0 <= own <= (0 if how is None else how.most_stale):
            raise Unwilling(f"a report that is {own} versions old is asked for as one of {order.stale}")
        return own

    def _train_now(self, assignment: Assignment, order: Order, down: bytes) -> None:
        """Trains."""
        run, round, attempt = self._terms.run, assignment.round, assignment.attempt
        self._diary.write("asked", run=run, round=round, attempt=attempt, kind=str(assignment.kind))
        now = datetime.now(UTC)
        why = self._policy.may_train(now, self._diary.today(now))
        if why is not None:
            raise Unwilling(why)
        if order.waits != (build.overlapping(self._terms.plan) is not None):
            raise Unwilling("whether rounds overlap is said otherwise than in the terms")
        training = self._prepared(order)
        self._require_one_model(round, down)
        if self._sessions is not None:
            self._sessions.require_willing(round)
        budget = self._fitting(training, assignment.seconds)
        began = time.monotonic()
        training.train(down, round, budget)
        self._down, self._version = down, round
        seconds = float(f"{time.monotonic() - began:.4f}")
        steps = training.steps if budget is None else budget
        self._pace = seconds / steps
        self._diary.write(
            "trained", run=run, round=round, attempt=attempt, steps=steps, seconds=seconds, engine=training.engine
        )

    def _given(self, assignment: Assignment, order: Order) -> bytes:
        """The report of the last training, or the keys of the session in which it will be hidden; charged first."""
        training = self._training
        if training is None:
            raise Unwilling("an earlier process trained, and what came of it went with that")
        round, attempt = assignment.round, assignment.attempt
        scale = build.stale_scale(self._terms.plan, self._stale(assignment, order))
        self._charge(round, attempt)
        report = training.report(round, attempt, scale)
        if self._sessions is None:
            return training.encoded(report, self._down)
        return self._sessions.begin((round, attempt), report, digest_of(self._down))

    def _prepared(self, order: Order) -> Training:
        """The training of this run, made when it is first asked for."""
        if order.count != self._terms.participants:
            raise Unwilling(f"{order.count} participants are said to be in this run: {self._terms.participants} were")
        if self._training is not None and self._training.place.position != order.position:
            raise Unwilling("this participant is said to stand elsewhere among the others than before")
        if self._training is not None:
            return self._training
        try:
            self._memory.mkdir(exist_ok=True)
        except OSError as error:
            raise StorageError(f"the folder {self._memory} cannot be made: {error}") from error
        place = Standing(self._identity.name, order.position, order.count)
        training = Training(self._terms, place, self._own, self._task, self._memory, self._train)
        federation = training.federation
        shares = None if federation.privacy is None else promised(federation, self._terms.plan.rounds).shares
        self._costs = costs(self._terms, shares=shares, records=training.examples)
        if training.securing is not None:
            policy = self._policy.for_sums(self._authority)
            if build.overlapping(self._terms.plan) is not None:  # those of a buffer began with several models
                policy = replace(policy, same_model=False)
            self._sessions = Sessions(training.securing, self._identity, policy)
        self._training = training
        if self._pending is not None:
            self.settled(self._pending)
            self._pending = None
        return training

    def _fitting(self, training: Training, seconds: float) -> int | None:
        """The local steps that fit into the time for which the report is waited for; None where all of them do.

        They are judged by the pace of the round before; in the first all are tried.
        """
        if not build.network(self._terms.plan).partial or self._pace is None:
            return None
        fit = int(SHARE * seconds / max(self._pace, 1e-9))
        return None if fit >= training.steps else max(1, fit)

    def _charge(self, round: int, attempt: int) -> None:
        """Charges the participant's own ledger, before anything of the round leaves."""
        terms = self._terms
        for cost in self._costs:
            if cost.private:
                self._spending.reserve(cost, run=terms.run, plan=terms.plan.hash, round=round, attempt=attempt)
                dataset = self._policy.dataset
                self._diary.write("charged", run=terms.run, round=round, attempt=attempt, dataset=dataset)


def _needed(blobs: Mapping[str, bytes], name: str) -> bytes:
    if name not in blobs:
        raise MalformedMessage(f"an assignment without its {name!r}")
    return blobs[name]

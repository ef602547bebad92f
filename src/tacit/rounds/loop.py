"""The rounds of one run: select, broadcast, train and sum, step, evaluate, record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from tacit.errors import Exhausted, RoundFailed, StorageError, UsageError
from tacit.evaluation import Evaluation
from tacit.fleet import FedBuff
from tacit.learning.ladder import Choice
from tacit.learning.layout import Parts
from tacit.privacy.bound import Bound
from tacit.privacy.clip import Clip
from tacit.privacy.guard import Guard, guard_of, is_state
from tacit.privacy.record_guard import RecordGuard, is_record_state
from tacit.privacy.releases import measured_parts, released_columns
from tacit.record.best import Best, Kept
from tacit.record.callback import Callback
from tacit.record.checkpoint import Checkpoint
from tacit.record.identity import differences, identity
from tacit.record.run import Run
from tacit.record.saving import Saving
from tacit.record.stopping import Stopping
from tacit.rounds.flow import Flow
from tacit.rounds.gathering import Gathered, Gathering, Watch
from tacit.rounds.opening import examples_read
from tacit.rounds.place import Here, Place
from tacit.rounds.rows import Row, public_row, row_of
from tacit.rounds.schedule import Schedule
from tacit.rounds.securing import most_together
from tacit.rounds.server import Public, Server
from tacit.venue.fold import Total
from tacit.venue.threads import one_thread
from tacit.venue.venue import Venue

if TYPE_CHECKING:
    from tacit.federation import Federation

UNSAID = "the checkpoint does not say what its run has spent: go on from an earlier one"


class Loop:
    """The rounds of one run, with everything that lives only as long as it does."""

    def __init__(
        self,
        federation: Federation,
        rounds: int,
        evaluation: Evaluation | None,
        evaluate_every: int,
        rules: list[Stopping],
        callbacks: list[Callback],
        place: Place | None = None,
    ) -> None:
        self.place: Place = place or Here()
        self.federation, self.rounds, self.rules, self.callbacks = federation, rounds, rules, callbacks
        self.evaluation, self.evaluate_every = evaluation, evaluate_every
        clients = len(federation.population)
        self.public: Public | None = None
        if federation.privacy is not None:
            expected = federation.sampling.size
            self.public = Public(weight=expected, counted=expected)
        self.guard: Guard | None = None
        self.records: RecordGuard | None = None
        self.securing = self.place.sums(federation)
        parts = federation.task, federation.algorithm, federation.chain
        self.server = Server(*parts, clients, self.public, federation.submodels, remembers=self.place.remembers)
        self.rows: list[Row] = []
        self.load = examples_read(federation.algorithm, federation.population)
        longest = max(layout.size for layout in (federation.chain.layout, *federation.chain.layouts))
        self.report_bytes = longest * federation.task.dtype.itemsize
        kind = Flow if isinstance(federation.closing, FedBuff) else Schedule
        self.schedule = kind(federation, self.load, self._bytes_down, self._bytes_up)
        self.schedule.there = self.place.pool
        self.block: int | None = None
        self.best = Best(rules)
        self.elapsed: Counter[str] = Counter()
        self.saved: Row | None = None
        self.saved_records: Row | None = None
        self.ended_by: list[Stopping] = []
        self.reason = f"all {rounds} rounds are done"

    def run(self, engine: str, folder: Path | None, every: int) -> Run:
        """Chooses engine and venue, goes through the rounds, and closes what it opened."""
        users_generator = torch.get_rng_state()
        known = self._identity if folder is not None else {}
        self.guard = guard_of(self.federation, self.rounds, folder, self.saved)
        if self.guard is not None:
            self.guard.bounds = self._bounds
        self.records = self.place.records(self.federation, self.rounds, folder, self.saved_records)
        if self.guard is not None and self.records is not None:
            self.guard.partner, self.records.partner = self.records.run, self.guard.run
        choice = self.place.choice(self.federation, engine)
        self.block = choice.block
        venue = self.place.venue(
            self.federation,
            self.server,
            choice,
            guards=(self.guard, self.records),
            sums=self.securing,
            losses=self.schedule.with_losses,
        )
        facts = self._facts(venue, choice)
        try:
            for callback in self.callbacks:
                callback.on_start(self.rounds, facts)
            self._rounds(self._gathering(venue), Saving(folder, every, {"identity": known, "engine": choice.name}))
            facts |= self._promised()
        except BaseException as error:
            self.reason = f"failed: {str(error) or type(error).__name__}"
            raise
        finally:
            venue.close()
            for guard in (self.guard, self.records):
                if guard is not None:
                    guard.close()
            torch.set_rng_state(users_generator)
            with ExitStack() as ends:  # every callback is told, even if another fails
                for callback in reversed(self.callbacks):
                    ends.callback(callback.on_end, self.reason)
        if self.ended_by or len(self.rows) >= self.rounds:
            for guard in (self.guard, self.records):
                if guard is not None:
                    guard.forget()
        kept = self.best.of(self.ended_by) or Kept(len(self.rows), self.server.state["x"], self.server.buffers)
        model = self.federation.task.install(kept.x, kept.buffers)
        travelled = {n: b for n, b in model.named_buffers() if n in self.federation.task.buffer_layout}
        tensors = {name: tensor.detach().clone() for name, tensor in (travelled | model.state_dict()).items()}
        facts |= {"ended": self.reason, "kept_round": kept.round, "elapsed": dict(self.elapsed)}
        self.schedule.ended()
        facts |= {"fleet": self.schedule.as_json(len(self.rows))}
        return Run(tensors, self.rows, facts, model)

    def _gathering(self, venue: Venue) -> Gathering:
        memory, guards, load = self.server.memory, (self.guard, self.records), self.load
        public, sums, schedule = self.public, self.securing, self.schedule
        return Gathering(
            self.federation, venue, memory, *guards, public, sums, schedule, load, self.report_bytes, self.block
        )

    def _promised(self) -> Row:
        """What the guards say at the end, while the ledger is open."""
        guards = {"privacy": self.guard, "record_privacy": self.records}
        return {name: guard.statement(len(self.rows)) for name, guard in guards.items() if guard is not None}

    def _bounds(self) -> Sequence[Bound]:
        """The bounds of the round that goes on."""
        clip = self.federation.chain.stages[-1]
        assert isinstance(clip, Clip)
        return clip.now(self.server.stages[-1])

    def _rounds(self, gathering: Gathering, saving: Saving) -> None:
        ended = self._ended(False)
        if (self.guard is not None or self.records is not None) and not self.rows:
            self._save(saving)  # so that even the first round, once released, can be completed
        while not ended and len(self.rows) < self.rounds:
            round = len(self.rows)
            for callback in self.callbacks:
                callback.on_round_start(round + 1)
            try:
                row = self._round(gathering, round)
            except Exhausted as spent:
                if not self.rows:
                    raise
                self.reason = str(spent)
                self._save(saving)
                break
            asked = [callback.on_round_end(row) for callback in self.callbacks]
            ended = self._ended(any(asked))
            if ended and self.evaluation is not None and not self._due(round):
                row |= self.evaluation(self.server.state["x"], self.server.buffers)
            if saving.due(round + 1) or ended or round + 1 == self.rounds:
                self._save(saving)

    def _save(self, saving: Saving) -> None:
        guards = {"privacy": self.guard, "record_privacy": self.records}
        states = {name: guard.state() for name, guard in guards.items() if guard is not None}
        states |= {"schedule": self.schedule.state()}
        tensors = lambda: self.server.tensors() | self.schedule.tensors()  # noqa: E731
        saving.save(self._regular, tensors, self.best, elapsed=dict(self.elapsed), **states)
        for guard in guards.values():
            if guard is not None:
                guard.released.forget(len(self.rows))

    def _round(self, gathering: Gathering, round: int) -> Row:
        """Select, broadcast, train and sum, step, evaluate, record."""
        watch, server = Watch(), self.server
        before = server.state["x"]
        with one_thread():
            _, down = server.broadcast()
            watch.lap("broadcast")
            gathered = gathering.total(down, round, watch)
            mean = server.step(gathered.total, round)
            if self.federation.audit is not None:
                self.federation.audit.see(round, mean)
            moved = self._moved(before, round)
            watch.lap("aggregate")
        measured = self._evaluate(round)
        watch.lap("evaluate")
        said = self._row(round, gathered.total, mean) | {"update_norm": moved, **measured}
        said |= self._travelled(gathered, said["clients"]) | self._passed(gathered, round, said["loss"])
        times = watch.seconds() | {"worker_seconds": gathered.total.seconds}
        self.elapsed.update(times)
        # How long a round took tells how many took part, and how many examples they have.
        self.rows.append(said | (times if self.public is None else dict.fromkeys(times)))
        self.best.look(self._regular, server.state["x"], server.buffers)
        return self.rows[-1]

    def _travelled(self, gathered: Gathered, clients: float) -> Row:
        """Bytes of all clients together: as far as each came on a fleet; on average, in a private run."""
        outcome = None if gathered.call is None or self.public is not None else gathered.call.outcome
        if outcome is not None:
            return {"bytes_down": round(outcome.bytes_down.sum()), "bytes_up": round(outcome.bytes_up.sum())}
        return {"bytes_down": int(self._bytes_down * gathered.asked), "bytes_up": int(self._bytes_up * clients)}

    def _passed(self, gathered: Gathered, round: int, loss: float | None) -> Row:
        """Books the round in virtual time."""
        if gathered.call is None:
            return self.schedule.skip(round, gathered.found)
        return self.schedule.done(gathered.call, round, gathered.total.counted, loss, gathered.total.losses)

    @property
    def _regular(self) -> list[Row]:
        """The rows without measurements that were made only because the run ended: nothing is to depend on where."""
        if not self.rows or self._regularly(len(self.rows) - 1):
            return self.rows
        last = {name: None if name.startswith("test_") else value for name, value in self.rows[-1].items()}
        return [*self.rows[:-1], last]

    @property
    def _seen(self) -> list[Row]:
        """The rows that rules may look at: in a private run only what is released."""
        rows, levels = self._regular, (self.federation.privacy, self.federation.record_privacy)
        for level in (level for level in levels if level is not None):
            kept = [released_columns(level, row) for row in rows[-1:]]
            rows = [{name: value for name, value in row.items() if name in kept[0]} for row in rows]
        return rows

    def _moved(self, before: Tensor, round: int) -> float:
        """How far the server's step went; a step that leaves the finite numbers fails the run."""
        moved = float(torch.linalg.vector_norm((self.server.state["x"] - before).double()))
        left = [*self.server.state.values(), self.server.buffers]
        if not isfinite(moved) or not all(bool(torch.isfinite(part).all()) for part in left):
            raise RoundFailed(
                f"round {round + 1}: the server's step makes the model NaN or Inf, though all reports are finite: "
                f"take a smaller server_lr or local learning rate ({self.federation.algorithm!r})"
            )
        return moved

    def _row(self, round: int, total: Total, mean: Parts) -> Row:
        if self.guard is None:
            level = self.federation.record_privacy
            spent = None if level is None else level.epsilon if self.records is None else self.records.epsilon()
            return row_of(round, total, mean, spent, self.securing is not None, level is not None)
        assert self.public is not None
        user, epsilon = self.guard.plan.level, self.guard.so_far(round + 1)
        return public_row(round, mean, self.public.counted, epsilon, self._bounds()[0].norm, measured_parts(user))

    def _evaluate(self, round: int) -> Row:
        """The test measures of this round; None for each where it is not this round's turn."""
        if self.evaluation is None:
            return {}
        if self._due(round):
            return dict(self.evaluation(self.server.state["x"], self.server.buffers))
        return dict.fromkeys(sorted({name for row in self.rows for name in row if name.startswith("test_")}))

    def _due(self, round: int) -> bool:
        """Whether this is a round after which the model is evaluated."""
        return self._regularly(round) or round + 1 == self.rounds

    def _regularly(self, round: int) -> bool:
        """Whether the model is evaluated after this round, however many there are."""
        return round == 0 or (round + 1) % self.evaluate_every == 0

    def _ended(self, asked: bool) -> bool:
        rows = self._seen
        found = [(rule, reason) for rule in self.rules if rows and (reason := rule.done(rows))]
        self.ended_by = [rule for rule, _ in found]
        if asked or found:
            self.reason = "a callback asked to stop" if asked else found[0][1]
        return asked or bool(found)

    def _facts(self, venue: Venue, choice: Choice) -> dict[str, Any]:
        federation, private = self.federation, self.guard is not None or self.records is not None
        return {
            "seed": federation.seed,
            "algorithm": repr(federation.algorithm),
            "selection": repr(federation.selection),
            "selection_uses": list(getattr(federation.selection, "uses", ())),
            "stages": repr(federation.chain.stages),
            "aggregation": None if self.securing is None else self.securing.facts(most_together(federation)),
            "robust": None if federation.robust is None else repr(federation.robust),
            "parameters": federation.task.d,
            "population": None if private else federation.population.roster(),
            "engine": choice.name,
            "device": choice.device,
            "engine_declined": dict.fromkeys(choice.declined, "hidden") if private else choice.declined,
            "engine_deviation": None if private else choice.deviation,
            "venue": venue.name,
            "workers": venue.workers,
            "clients": len(self.federation.population),
            "bytes_up_per_client": self._bytes_up,
            "bytes_down_per_client": self._bytes_down,
            "dtype": str(self.federation.task.dtype).removeprefix("torch."),
            "torch": torch.__version__,
            "privacy": None if self.guard is None else self.guard.statement(self.rounds, final=False),
            "record_privacy": None if self.records is None else self.records.statement(self.rounds, final=False),
        }

    @cached_property
    def _bytes_up(self) -> int:
        """What one client sends in a round."""
        if self.securing is None:
            return self.federation.chain.encoded_bytes(self.federation.task.dtype.itemsize)
        return sum(self.securing.facts(most_together(self.federation))["bytes_up"].values())

    @cached_property
    def _bytes_down(self) -> int:
        """What one client receives in a round: the model, and the messages of a secure sum."""
        model = self.server.broadcast()[0].size * self.federation.task.dtype.itemsize
        told = {} if self.securing is None else self.securing.facts(most_together(self.federation))["bytes_down"]
        return model + int(sum(told.values()))

    @cached_property
    def _identity(self) -> Row:
        federation = self.federation
        return identity(
            federation.task,
            federation.population,
            federation.seed,
            algorithm=federation.algorithm,
            selection=federation.selection,
            stages=federation.chain.stages,
            privacy=federation.privacy,
            aggregation=federation.aggregation,
            **({} if federation.record_privacy is None else {"record_privacy": federation.record_privacy}),
            **({} if federation.robust is None else {"robust": federation.robust}),
            **({} if federation.fleet is None else {"fleet": federation.fleet.digest, "closing": federation.closing}),
            **({} if federation.by_tier is None else {"by_tier": federation.by_tier}),
        )

    def restore(self, saved: Checkpoint) -> str:
        """Takes up a checkpoint. Returns the engine that the run must go on with.

        Raises:
            UsageError: the checkpoint belongs to another run.
            StorageError: it is damaged.
        """
        differs = differences(saved.state.get("identity"), self._identity)
        if differs:
            raise UsageError("the checkpoint belongs to another run: " + "; ".join(differs))
        self.server.restore(saved.tensors)
        self.saved = saved.state.get("privacy")
        if self.federation.privacy is not None and not is_state(self.saved):
            raise StorageError(UNSAID)
        self.saved_records = saved.state.get("record_privacy")
        kept = self.federation.record_privacy is not None and self.place.remembers
        if kept and not is_record_state(self.saved_records):
            raise StorageError(UNSAID)
        self.schedule.restore(saved.state.get("schedule"), saved.tensors)
        self.rows = list(saved.state["rows"])
        self.elapsed = Counter(saved.state.get("elapsed") or {})
        x, buffers = self.server.state["x"], self.server.buffers
        self.best.restore(saved.state.get("best"), saved.tensors, x, buffers, len(self.rows))
        return str(saved.state["engine"])

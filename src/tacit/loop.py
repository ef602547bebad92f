"""The rounds of one run: select, broadcast, train and sum, step, evaluate, record."""

from __future__ import annotations

import time
import warnings
from contextlib import ExitStack
from functools import cached_property
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tacit.algorithms.base import Algorithm
from tacit.errors import RoundFailed, TacitWarning, UsageError
from tacit.evaluation import Evaluation
from tacit.learning.ladder import Choice, choose
from tacit.learning.layout import Parts
from tacit.learning.solver import steps_for
from tacit.population.population import Population
from tacit.record.best import Best, Kept
from tacit.record.callback import Callback
from tacit.record.checkpoint import Checkpoint
from tacit.record.identity import differences, identity
from tacit.record.run import Run
from tacit.record.saving import Saving
from tacit.record.stopping import Stopping
from tacit.selection.cohort import Cohort
from tacit.server import Server
from tacit.venue.block import cut
from tacit.venue.fold import Total
from tacit.venue.processes import Processes, available
from tacit.venue.sample import sample
from tacit.venue.threads import Threads, one_thread
from tacit.venue.venue import Venue
from tacit.venue.work import LocalTraining

if TYPE_CHECKING:
    from tacit.federation import Federation

Row = dict[str, Any]


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
    ) -> None:
        self.federation, self.rounds, self.rules, self.callbacks = federation, rounds, rules, callbacks
        self.evaluation, self.evaluate_every = evaluation, evaluate_every
        self.server = Server(federation.task, federation.algorithm, federation.chain, len(federation.population))
        self.rows: list[Row] = []
        self.load = _examples_read(federation.algorithm, federation.population)
        self.report_bytes = federation.chain.layout.size * federation.task.dtype.itemsize
        self.block: int | None = None
        self.best = Best(rules)
        self.ended_by: list[Stopping] = []
        self.reason = f"all {rounds} rounds are done"

    def run(self, engine: str, folder: Path | None, every: int) -> Run:
        """Chooses engine and venue, goes through the rounds, and closes what it opened."""
        users_generator = torch.get_rng_state()
        known = self._identity if folder is not None else {}
        choice = self._choose(engine)
        self.block = choice.block
        venue = self._open(choice)
        facts = self._facts(venue, choice)
        try:
            for callback in self.callbacks:
                callback.on_start(self.rounds, facts)
            self._rounds(venue, Saving(folder, every, {"identity": known, "engine": choice.name}))
        except BaseException as error:
            self.reason = f"failed: {str(error) or type(error).__name__}"
            raise
        finally:
            venue.close()
            torch.set_rng_state(users_generator)
            with ExitStack() as ends:  # every callback is told, even if another fails
                for callback in reversed(self.callbacks):
                    ends.callback(callback.on_end, self.reason)
        kept = self.best.of(self.ended_by) or Kept(len(self.rows), self.server.state["x"], self.server.buffers)
        model = self.federation.task.install(kept.x, kept.buffers)
        tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return Run(tensors, self.rows, {**facts, "ended": self.reason, "kept_round": kept.round}, model)

    def _rounds(self, venue: Venue, saving: Saving) -> None:
        ended = self._ended(False)
        while not ended and len(self.rows) < self.rounds:
            round = len(self.rows)
            for callback in self.callbacks:
                callback.on_round_start(round + 1)
            row = self._round(venue, round)
            asked = [callback.on_round_end(row) for callback in self.callbacks]
            ended = self._ended(any(asked))
            if ended and self.evaluation is not None and not self._due(round):
                row |= self.evaluation(self.server.state["x"], self.server.buffers)
                self.best.look(self.rows, self.server.state["x"], self.server.buffers)
            if saving.due(round + 1) or ended or round + 1 == self.rounds:
                saving.save(self.rows, self.server.tensors, self.best)

    def _round(self, venue: Venue, round: int) -> Row:
        """Select, broadcast, train and sum, step, evaluate, record."""
        watch, federation, server = _Watch(), self.federation, self.server
        before = server.state["x"]
        with one_thread():
            cohort = federation.selection.draw(len(federation.population), federation.seed, round)
            blocks = cut(cohort.clients, self.load[cohort.clients], self.report_bytes, cohort.budget, self.block)
            watch.lap("select")
            _, down = server.broadcast()
            watch.lap("broadcast")
            total = venue.sum(blocks, down, round)
            watch.lap("train")
            self._require_enough(total, cohort, round)
            mean = server.step(total)
            moved = self._moved(before, round)
            watch.lap("aggregate")
        measured = self._evaluate(round)
        watch.lap("evaluate")
        row = self._row(round, total, mean, moved, measured)
        row |= {"bytes_down": down.nbytes * len(cohort.clients), "bytes_up": self.report_bytes * len(total.counted)}
        self.rows.append(row | watch.seconds() | {"worker_seconds": total.seconds})
        self.best.look(self.rows, server.state["x"], server.buffers)
        return self.rows[-1]

    def _moved(self, before: Tensor, round: int) -> float:
        """How far the server's step went; a step that leaves the finite numbers fails the run."""
        moved = float(torch.linalg.vector_norm((self.server.state["x"] - before).double()))
        if not isfinite(moved):
            raise RoundFailed(
                f"round {round + 1}: the server's step makes the model NaN or Inf, though all reports are finite: "
                f"take a smaller server_lr or local learning rate ({self.federation.algorithm!r})"
            )
        return moved

    def _require_enough(self, total: Total, cohort: Cohort, round: int) -> None:
        """Names the clients set aside in a warning; fails the round when too few are left."""
        causes = "; ".join(f"{a.client!r}: {a.reason}" for a in total.set_aside[:5])
        if total.set_aside:
            text = f"round {round + 1}: {len(total.set_aside)} reports were set aside and not counted: {causes}"
            warnings.warn(text, TacitWarning, stacklevel=2)
        needed = max(1, ceil(self.federation.minimum * len(cohort.clients)))
        if len(total.counted) < needed:
            raise RoundFailed(
                f"round {round + 1}: only {len(total.counted)} of {len(cohort.clients)} reports could be counted, "
                f"{needed} are needed (minimum={self.federation.minimum:g}). Set aside: {causes}"
            )

    def _row(self, round: int, total: Total, mean: Parts, moved: float, measured: Row) -> Row:
        return {
            "round": round + 1,
            "loss": float(mean["loss"]),
            **measured,
            "clients": len(total.counted),
            "examples": int(float(mean["examples"] * mean["weight"]) + 0.5),
            "update_norm": moved,
            "set_aside": len(total.set_aside),
            "set_aside_reasons": "; ".join(f"{a.client}: {a.reason}" for a in total.set_aside),
        }

    def _evaluate(self, round: int) -> Row:
        """The test measures of this round; None for each where it is not this round's turn."""
        if self.evaluation is None:
            return {}
        if self._due(round):
            return dict(self.evaluation(self.server.state["x"], self.server.buffers))
        return dict.fromkeys(sorted({name for row in self.rows for name in row if name.startswith("test_")}))

    def _due(self, round: int) -> bool:
        """Whether this is a round after which the model is evaluated, however it ends."""
        return round == 0 or (round + 1) % self.evaluate_every == 0 or round + 1 == self.rounds

    def _ended(self, asked: bool) -> bool:
        found = [(rule, reason) for rule in self.rules if self.rows and (reason := rule.done(self.rows))]
        self.ended_by = [rule for rule, _ in found]
        if asked or found:
            self.reason = "a callback asked to stop" if asked else found[0][1]
        return asked or bool(found)

    def _choose(self, engine: str) -> Choice:
        """Climbs the engine ladder, with a few clients as a sample where there is an engine to verify."""
        federation, algorithm = self.federation, self.federation.algorithm
        task, population, device = federation.task, federation.population, federation.device
        plain = engine == "eager"
        examples = population.examples(np.array([0])) if plain else sample(task, algorithm, population)
        return choose(
            task, algorithm.solver, examples, algorithm.proximal, algorithm.memory(task.d) > 0, engine, device
        )

    def _open(self, choice: Choice) -> Venue:
        federation, server = self.federation, self.server
        layout, _ = server.broadcast()
        work = LocalTraining(
            federation.task,
            federation.algorithm,
            federation.population,
            server.memory,
            federation.chain,
            layout,
            choice.make,
            federation.seed,
        )
        workers = 1 if choice.alone else min(federation.workers, len(federation.population))
        if choice.threads or choice.block is not None or workers == 1 or not available():
            return Threads(work, workers if choice.threads else 1)
        return Processes(work, workers)

    def _facts(self, venue: Venue, choice: Choice) -> dict[str, Any]:
        layout, _ = self.server.broadcast()
        federation = self.federation
        return {
            "seed": federation.seed,
            "algorithm": repr(federation.algorithm),
            "selection": repr(federation.selection),
            "stages": repr(federation.chain.stages),
            "parameters": federation.task.d,
            "population": federation.population.roster(),
            "engine": choice.name,
            "device": choice.device,
            "engine_declined": choice.declined,
            "engine_deviation": choice.deviation,
            "venue": venue.name,
            "workers": venue.workers,
            "clients": len(self.federation.population),
            "bytes_up_per_client": self.report_bytes,
            "bytes_down_per_client": layout.size * self.federation.task.dtype.itemsize,
            "dtype": str(self.federation.task.dtype).removeprefix("torch."),
            "torch": torch.__version__,
        }

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
        self.rows = list(saved.state["rows"])
        x, buffers = self.server.state["x"], self.server.buffers
        self.best.restore(saved.state.get("best"), saved.tensors, x, buffers, len(self.rows))
        return str(saved.state["engine"])


class _Watch:
    """Seconds by phase."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[f"seconds_{name}"], self._last = now - self._last, now

    def seconds(self) -> dict[str, float]:
        return self._laps | {"seconds": sum(self._laps.values())}


def _examples_read(algorithm: Algorithm, population: Population) -> np.ndarray[Any, np.dtype[np.int64]]:
    """(N,) how many examples each client reads in a round: the measure of its work."""
    solver = algorithm.solver
    sizes, counts = np.unique(population.sizes, return_inverse=True)
    reads = [steps_for(solver, int(n)) * min(solver.batch_size or int(n), int(n)) for n in sizes]
    return np.array(reads, dtype=np.int64)[counts]

"""Local training: what a block of clients does to make its reports, and the sum of those reports."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.aggregation.stage import Chain
from tacit.aggregation.total import weighted_sum
from tacit.algorithms.base import Algorithm, Done
from tacit.errors import DataError, TacitError
from tacit.learning import batches as batching
from tacit.learning.batches import Examples
from tacit.learning.eager import EagerEngine, full_gradient
from tacit.learning.layout import Layout, Parts
from tacit.learning.solver import lr_at
from tacit.learning.step import Engine, LocalRun
from tacit.learning.task import Task
from tacit.population.population import Population
from tacit.venue.block import Block
from tacit.venue.memory import ClientMemory

Int = NDArray[np.int64]

EXPLODED = 1e8
"""A client has diverged when one of its parameters moves by more than this times the largest of the broadcast model,
or this times 1 where that is smaller. No local run that works comes near."""


@dataclass(frozen=True)
class SetAside:
    """A client whose report was not counted, and why."""

    client: str
    reason: str


@dataclass
class BlockSum:
    """The sum of a block's reports.

    Attributes:
        total: (m,) float64.
        counted: positions of the clients in it.
        set_aside: clients that are not in it.
        seconds: spent in the engine's local steps.
    """

    total: Tensor
    counted: Int
    set_aside: list[SetAside] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class LocalTraining:
    """Broadcast in, sum of reports out: batches, local steps, message, weight, stages, sum.

    A report is `w_k` times the parts of the algorithm's message, the model's buffers, the training loss, the ratio
    `n_k / w_k` and 1, so that every column of a round's record comes out of the same sum.

    Attributes:
        down: layout of the broadcast.
        make_engine: makes one engine for each worker.
    """

    task: Task
    algorithm: Algorithm
    population: Population
    memory: ClientMemory
    chain: Chain
    down: Layout
    make_engine: Callable[[], Engine]
    seed: int

    @property
    def layout(self) -> Layout:
        """The layout of a report before the stages."""
        return self.chain.layouts[0]

    @staticmethod
    def report_layout(task: Task, algorithm: Algorithm) -> Layout:
        """The layout of a report before the stages."""
        layout = algorithm.parts(task.d)
        if task.buffers == "average" and task.buffer_layout.size:
            layout = layout.extend("buffers", (task.buffer_layout.size,))
        return layout.extend("loss").extend("examples").extend("weight")


class Worker:
    """One worker's hands: an engine and the memory of one block's reports, used again and again."""

    def __init__(self, work: LocalTraining) -> None:
        self.work = work
        self.engine = work.make_engine()
        self._reports = torch.empty(0, 0)
        self._eager: EagerEngine | None = None
        self._into: Tensor | None = None

    def run(self, block: Block, down: Tensor, round: int, into: Tensor | None = None) -> BlockSum:
        """Trains a block's clients and sums their reports.

        Args:
            block: K clients.
            down: the broadcast, one flat vector.
            round: of the run, from 0.
            into: (m,) float64, where the sum is to lie; new memory when None.

        Returns:
            The sum over the clients whose reports are sound, and the others with their reasons.
        """
        clients, budget, self._into = block.clients, block.budget, into
        set_aside: list[SetAside] = []
        try:
            examples = self.work.population.examples(clients)
        except DataError:
            clients, budget, set_aside = self._readable(block)
            if not len(clients):
                nothing = torch.zeros(0, self.work.chain.layout.size, dtype=self.work.task.dtype)
                return BlockSum(weighted_sum(nothing, torch.zeros(0), into), clients, set_aside)
            examples = self.work.population.examples(clients)
        try:
            result = self._train(clients, budget, examples, self.work.down.unpack(down), round)
        except TacitError:
            raise
        except Exception as error:  # whatever a user's model or loss raises gets the name of the client
            raise self._named(error, clients, budget, down, round) from error
        result.set_aside[:0] = set_aside
        return result

    def _named(self, error: Exception, clients: Int, budget: Int | None, down: Tensor, round: int) -> TacitError:
        """Trains the clients of a block in which `error` was raised one by one, to say whose training raises it."""
        names = [self.work.population.ids[c] for c in clients]
        for k, name in enumerate(names):
            alone = clients[k : k + 1]
            limit = None if budget is None else budget[k : k + 1]
            try:
                self._train(alone, limit, self.work.population.examples(alone), self.work.down.unpack(down), round)
            except Exception as again:
                error, names = again, [name]
                break
        return TacitError(
            f"round {round + 1}: training client {' or '.join(map(repr, names))} failed with "
            f"{type(error).__name__}: {error}"
        )

    def _readable(self, block: Block) -> tuple[Int, Int | None, list[SetAside]]:
        """Finds the clients of a block whose data cannot be read, one by one."""
        keep: list[int] = []
        set_aside: list[SetAside] = []
        for k, client in enumerate(block.clients):
            try:
                self.work.population.examples(block.clients[k : k + 1])
                keep.append(k)
            except DataError as error:
                set_aside.append(SetAside(self.work.population.ids[client], str(error)))
        return block.clients[keep], None if block.budget is None else block.budget[keep], set_aside

    def _train(self, clients: Int, budget: Int | None, examples: Examples, down: Parts, round: int) -> BlockSum:
        work = self.work
        names = [work.population.ids[c] for c in clients]
        batches = batching.draw(
            work.algorithm.solver, examples, names, work.seed, round, None if budget is None else budget.tolist()
        )
        memory = work.memory.load(clients)
        job = LocalRun(
            x=down["x"],
            b=down["buffers"],
            examples=examples,
            batches=batches,
            correction=work.algorithm.correction(down, memory),
            lr=lr_at(work.algorithm.solver, round),
            seeds=keys.torch_seeds(work.seed, "model", round, each=names),
        )
        return self._report(clients, names, job, down, memory)

    def _report(self, clients: Int, names: list[str], job: LocalRun, down: Parts, memory: Tensor | None) -> BlockSum:
        work, count = self.work, len(clients)
        reports = self._room(count)
        parts = work.layout.unpack(reports)
        update = parts[work.layout.names[0]]
        buffers = torch.empty(count, len(job.b), dtype=job.b.dtype)
        began = time.perf_counter()
        self.engine.run(job, update, buffers, parts["loss"])
        seconds = time.perf_counter() - began
        done = self._done(job)
        message, renewed = work.algorithm.message(update.sub_(job.x), down, memory, done)
        for name, value in message.items():
            if value.data_ptr() != parts[name].data_ptr():
                parts[name].copy_(value)
        if "buffers" in parts:
            parts["buffers"].copy_(buffers)
        weight = done.examples if work.algorithm.weights == "examples" else torch.ones_like(done.examples)
        parts["examples"].copy_(done.examples / weight)
        parts["weight"].fill_(1.0)
        if renewed is not None:
            work.memory.stage(clients, renewed, work.memory.slots_of(clients))
        result = self._sum(clients, names, reports, weight, down)
        result.seconds = seconds
        return result

    def _sum(self, clients: Int, names: list[str], reports: Tensor, weight: Tensor, down: Parts) -> BlockSum:
        """Weights, encodes and sums; looks for the clients to set aside only where the sum says that there are some."""
        update = self.work.layout[self.work.layout.names[0]]
        reach = EXPLODED * max(1.0, _largest(down["x"]))
        if self.work.chain.stages:
            good = _sound(reports, update, reach)
            weighted = reports[good].mul_(weight[good, None])
            encoded = self.work.chain.encode(weighted, down)
            total = weighted_sum(encoded, torch.ones(len(encoded)), self._into)
        else:
            good = torch.ones(len(reports), dtype=torch.bool)
            total = weighted_sum(reports, weight, self._into)
            calm = _largest(total[update]) < reach * float(weight.min()) and isfinite(_largest(total[update.stop :]))
            if not calm:
                good = _sound(reports, update, reach)
                total = weighted_sum(reports[good], weight[good], self._into)
        losses = self.work.layout.unpack(reports)["loss"]
        rejected = torch.nonzero(~good).flatten().tolist()
        bad = [SetAside(names[k], _reason(losses[k], reports[k, update].abs().max(), reach)) for k in rejected]
        return BlockSum(total, clients[good.numpy()], bad)

    def _done(self, job: LocalRun) -> Done:
        work, algorithm = self.work, self.work.algorithm
        dtype, steps = work.task.dtype, job.batches.steps
        a = None
        if algorithm.asks_norm:
            solver = algorithm.solver
            norms = [solver.norm(s, job.lr, algorithm.proximal) for s in steps.tolist()]
            a = torch.tensor(norms, dtype=dtype)
        gradient = None
        if algorithm.asks_gradient:
            self._eager = self._eager or EagerEngine(work.task, algorithm.solver)
            gradient = full_gradient(self._eager, job)
        return Done(
            torch.from_numpy(job.examples.size).to(dtype), torch.from_numpy(steps).to(dtype), a, job.lr, gradient
        )

    def _room(self, count: int) -> Tensor:
        if len(self._reports) < count:
            self._reports = torch.empty(count, self.work.layout.size, dtype=self.work.task.dtype)
        return self._reports[:count]


def _largest(vector: Tensor) -> float:
    """The largest absolute value, NaN where there is one; in one pass, and nothing is copied."""
    if not vector.numel():
        return 0.0
    least, most = torch.aminmax(vector)
    return float(torch.maximum(-least, most))


def _sound(reports: Tensor, update: slice, reach: float) -> Tensor:
    """(K,) which reports are finite and have an update that has not exploded."""
    return torch.isfinite(reports).all(dim=1) & (reports[:, update].abs().amax(dim=1) < reach)


def _reason(loss: Tensor, largest: Tensor, reach: float) -> str:
    """Why a report that is not sound is not counted."""
    what = "its report is not finite"
    if not bool(torch.isfinite(loss)):
        what = "its training loss is not finite"
    elif not bool(torch.isfinite(largest)):
        what = "its update is not finite"
    elif float(largest) >= reach:
        what = f"its update exploded (a parameter moved by {float(largest):.2g})"
    return f"{what}: look for extreme values in its data, or take a smaller learning rate"

"""A worker: it makes the reports of a block of clients, and their sum."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.algorithms.base import Done
from tacit.errors import DataError, TacitError
from tacit.learning import batches as batching
from tacit.learning.batches import Examples
from tacit.learning.eager import EagerEngine, full_gradient
from tacit.learning.layout import Parts
from tacit.learning.out_of_memory import out_of_memory
from tacit.learning.solver import lr_at
from tacit.learning.step import Engine, LocalRun
from tacit.population.population import some
from tacit.venue import reason
from tacit.venue.adding import Adding
from tacit.venue.block import Block
from tacit.venue.block_sum import EXPLODED, BlockSum, SetAside, Trained
from tacit.venue.local_training import LocalTraining

Int = NDArray[np.int64]

DEVICE_FAILED: Any = getattr(torch, "AcceleratorError", ())
"""What torch raises, from 2.8 on, where a kernel on an accelerator has failed: late, and in every call from then on."""


class Hands:
    """One worker's hands: a `Worker` for each kind of work, made when it is first asked for."""

    def __init__(self, work: LocalTraining) -> None:
        self._works = work.kinds or (work,)
        self._workers: dict[int, Worker] = {0: Worker(self._works[0])}

    def run(self, block: Block, down: Tensor, round: int, into: Tensor | None = None) -> BlockSum:
        """See `Worker.run`."""
        if block.kind not in self._workers:
            self._workers[block.kind] = Worker(self._works[block.kind])
        return self._workers[block.kind].run(block, down, round, into)


class Worker:
    """One kind of work: an engine and the memory of one block's reports, used again and again."""

    def __init__(self, work: LocalTraining) -> None:
        self.work = work
        self.engine = work.make_engine()
        self._reports = torch.empty(0, work.layout.size, dtype=work.task.dtype)
        self._eager: EagerEngine | None = None
        self._adding = Adding(work)

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
        return self.summed(self.trained(block, down, round), down, round, block.scale, into)

    def trained(self, block: Block, down: Tensor, round: int) -> Trained:
        """Trains a block's clients; what they are to report lies in this worker's memory until it trains again.

        Args:
            block: K clients.
            down: the broadcast, one flat vector.
            round: of the run, from 0.
        """
        parts = self.work.down.unpack(down)
        block, examples, unreadable = self._read(block, round)
        trained = Trained(block.clients, self._room(len(block.clients)))
        if len(block.clients):
            try:
                trained = self._train(trained.reports, block, examples, parts, round)
            except Exception as error:
                self._raise_unless_of_data(error, block.clients, round)
                trained = self._one_by_one(block, error, parts, round)
        trained.set_aside[:0] = unreadable
        return trained

    def summed(
        self, trained: Trained, down: Tensor, round: int, scale: float = 1.0, into: Tensor | None = None
    ) -> BlockSum:
        """The sum of what `trained` gave, once.

        Args:
            trained: see there; its updates are overwritten.
            down, round: as they were there.
            scale: by which updates are multiplied: below 1 where they are stale.
            into: (m,) float64, where the sum is to lie; new memory when None.
        """
        if scale != 1.0:
            self.work.layout.unpack(trained.reports)[self.work.layout.names[0]].mul_(scale)
        return self._adding.sum(trained, self.work.down.unpack(down), round, into)

    def _read(self, block: Block, round: int) -> tuple[Block, Examples, list[SetAside]]:
        """The clients of a block whose data can be read, their data, and the others."""
        try:
            return block, self.work.population.examples(block.clients), []
        except Exception as error:
            self._raise_unless_of_data(error, block.clients, round)
        keep: list[int] = []
        read: list[tuple[Tensor, Tensor]] = []
        unreadable: list[SetAside] = []
        for k, alone in enumerate(_singly(block)):
            try:
                read.append(self.work.population.examples(alone.clients).of(0))
                keep.append(k)
            except Exception as error:
                self._raise_unless_of_data(error, alone.clients, round)
                unreadable.append(self._aside(alone, error))
        x, y = (torch.cat([pair[i] for pair in read]) if read else torch.empty(0) for i in (0, 1))
        sizes = np.array([len(pair[1]) for pair in read], dtype=np.int64)
        kept = replace(block, clients=block.clients[keep], budget=None if block.budget is None else block.budget[keep])
        return kept, Examples(x, y, np.cumsum(sizes) - sizes, sizes), unreadable

    def _one_by_one(self, block: Block, error: Exception, down: Parts, round: int) -> Trained:
        """Trains the clients of a block in which `error` was raised, each alone and from its own keys."""
        if len(block.clients) == 1 and self.work.records is None:
            return Trained(block.clients[:0], self._room(0), set_aside=[self._aside(block, error)])
        room, done, aside = self._room(len(block.clients)), list[Trained](), list[SetAside]()
        for alone in _singly(block):
            row = room[len(done) : len(done) + 1]
            try:
                done.append(self._train_alone(row, alone, down, round))
            except Exception as again:
                self._raise_unless_of_data(again, alone.clients, round)
                aside.append(self._aside(alone, again))
        return Trained(
            clients=np.concatenate([block.clients[:0], *(one.clients for one in done)]),
            reports=room[: len(done)],
            weight=torch.cat([room.new_empty(0), *(one.weight for one in done)]),
            moved=torch.cat([room.new_empty(0), *(one.moved for one in done)]),
            seconds=sum(one.seconds for one in done),
            set_aside=aside,
        )

    def _train_alone(self, reports: Tensor, alone: Block, down: Parts, round: int) -> Trained:
        """Trains one client of a block that failed; where records are protected, past those on which training fails."""
        examples = self.work.population.examples(alone.clients)
        try:
            return self._train(reports, alone, examples, down, round)
        except Exception as error:
            if self.work.records is None:
                raise
            self._raise_unless_of_data(error, alone.clients, round)
        return self._train(reports, alone, examples, down, round, self._patient())

    def _aside(self, alone: Block, error: Exception) -> SetAside:
        why = reason.of_error(error) if self.work.chain.grid is None else reason.hidden(error)
        return SetAside(self.work.population.ids[alone.clients[0]], why)

    def _raise_unless_of_data(self, error: Exception, clients: Int, round: int) -> None:
        """Ends the run for what no client's data can have caused, or what this process cannot go on after."""
        if out_of_memory(error):
            raise error
        if isinstance(error, TacitError) and not isinstance(error, DataError):
            raise error
        if isinstance(error, DEVICE_FAILED):
            names = some([self.work.population.ids[c] for c in clients])
            raise TacitError(
                f"round {round + 1}: the accelerator failed while training clients {names}: {reason.one_line(error)}. "
                "Look for class labels or indices out of range in their data; with device='cpu' such a client is set "
                "aside by name"
            ) from error

    def _patient(self) -> Engine:
        """An engine to which a record on which training fails is no record: that it fails must not be seen."""
        from tacit.learning.dp_sgd.alone import Patient
        from tacit.learning.dp_sgd.engine import PrivateEngine

        return PrivateEngine(self.work.task, self.work.algorithm.solver, Patient)

    def _train(
        self,
        reports: Tensor,
        block: Block,
        examples: Examples,
        down: Parts,
        round: int,
        engine: Engine | None = None,
    ) -> Trained:
        """Trains a block's clients, with `engine` or the worker's own; their reports fill the rows of `reports`."""
        work, clients = self.work, block.clients
        names = [work.population.ids[c] for c in clients]
        budget = None if block.budget is None else block.budget.tolist()
        if work.records is None:
            batches = batching.draw(work.algorithm.solver, examples, names, work.seed, round, budget)
        else:
            batches = work.records.batches(clients, names, examples, round, budget)
        memory = self._remembered(clients)
        job = LocalRun(
            x=down["x"] if work.submodel is None else down["x"][work.submodel.places],
            b=down["buffers"],
            examples=examples,
            batches=batches,
            correction=work.algorithm.correction(down, memory),
            lr=lr_at(work.algorithm.solver, round),
            seeds=keys.torch_seeds(work.seed if work.chance is None else work.chance, "model", round, each=names),
            perturbation=None if work.records is None else work.records.perturbation(clients, names, round),
        )
        return self._report(reports, clients, job, down, memory, engine or self.engine)

    def _report(
        self, reports: Tensor, clients: Int, job: LocalRun, down: Parts, memory: Tensor | None, engine: Engine
    ) -> Trained:
        work = self.work
        parts = work.layout.unpack(reports)
        update = parts[work.layout.names[0]]
        buffers = torch.empty(len(clients), len(job.b), dtype=job.b.dtype)
        began = time.perf_counter()
        loss = parts["loss"] if "loss" in parts else torch.empty(len(clients), dtype=work.task.dtype)
        moved = self._run(engine, job, update, buffers, loss)
        seconds = time.perf_counter() - began
        if "widths" in parts:
            parts["widths"].zero_()[:, work.kind] = 1.0
        self._measure(parts, job)
        if work.plant is not None:
            work.plant(clients, update)
        done = self._done(job)
        message, renewed = work.algorithm.message(update, down, memory, done)
        for name, value in message.items():
            if name in parts and value.data_ptr() != parts[name].data_ptr():
                parts[name].copy_(value)
        if "buffers" in parts:
            parts["buffers"].copy_(buffers)
            moved = torch.where(_far(buffers, job.b) < EXPLODED**2, moved, torch.inf)
        weight = work.weigh(done.examples)
        if "weight" in parts:
            parts["examples"].copy_(done.examples / weight)
            parts["weight"].fill_(1.0)
        if renewed is not None:
            moved = torch.where(torch.isfinite(renewed).all(1), moved, torch.inf)
            work.memory.stage(clients, renewed, work.memory.slots_of(clients))
        return Trained(clients, reports, weight, moved, seconds)

    def _run(self, engine: Engine, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """The local runs, of a narrower model where that is this kind of work; the other parameters stay."""
        if self.work.submodel is None:
            return engine.run(job, update, buffers, loss)
        own = update.new_empty(len(update), len(self.work.submodel.places))
        moved = engine.run(job, own, buffers, loss)
        update.zero_()[:, self.work.submodel.places] = own
        return moved

    def _remembered(self, clients: Int) -> Tensor | None:
        """(K, s) what the method has these clients remember; None where that is nothing."""
        size = self.work.algorithm.memory(self.work.task.d)
        memory = self.work.memory.load(clients) if size else None
        return None if memory is None else memory[:, :size]

    def _measure(self, parts: Parts, job: LocalRun) -> None:
        """Fills what clients say of the model that they were sent: metrics on their own examples, cut to [0, 1]."""
        asked = {part: self.work.task.metrics[name] for part, name in self.work.measured.items()}
        if not asked:
            return
        self._eager = self._eager or EagerEngine(self.work.task, self.work.algorithm.solver)
        bound = self._eager.bound
        bound.x.copy_(job.x)
        bound.b.copy_(job.b)
        bound.push()
        bound.module.eval()
        with torch.no_grad():
            for k in range(len(job.examples.size)):
                inputs, target = (column.clone() for column in job.examples.of(k))
                output = bound.module(inputs)
                for name, metric in asked.items():
                    value = torch.as_tensor(metric(output, target), dtype=self.work.task.dtype)
                    parts[name][k] = value.nan_to_num(0.0).clamp(0.0, 1.0)

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


def _singly(block: Block) -> Iterator[Block]:
    """Every client of a block as a block of its own."""
    for k in range(len(block.clients)):
        yield Block(block.clients[k : k + 1], None if block.budget is None else block.budget[k : k + 1])


def _far(buffers: Tensor, b: Tensor) -> Tensor:
    """(K,) how far buffers (K, b) moved at most, relative to the largest that was broadcast."""
    return (buffers - b).abs().amax(dim=1) / b.abs().amax().clamp(min=1.0)

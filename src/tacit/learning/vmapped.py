"""The vmapped engine: a block of clients at once, step after step, through `torch.func`. For accelerators.

On a CPU it is correct but slow: there one client after another keeps the parameters in cache. Random masks (dropout)
are drawn for the whole block, hence reproducible for the same block but not the masks of the eager engine.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call, grad_and_value, vmap

from tacit.learning.batches import Batches, Examples, draw
from tacit.learning.solver import SGD, Correction, Solver, lr_at
from tacit.learning.step import LocalRun
from tacit.learning.task import Task

Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Tick:
    """One step of several clients, with batches of one length.

    Attributes:
        clients: (k,) int64, which clients of the block.
        step: number of the step within the local run of each of them (the first one's, where they differ).
        length: examples in each batch.
        place: where the (k, length) rows begin in the concatenated order of all ticks.
    """

    clients: NDArray[np.int64]
    step: int
    length: int
    place: int


def schedule(batches: Batches, aligned: bool) -> tuple[list[Tick], NDArray[np.int64]]:
    """Orders the steps of a block so that few ticks carry them all.

    Clients need not be at the same step, only have a batch of the same length before them; in each tick go those of the
    length for which most clients wait.

    Args:
        batches: of K clients.
        aligned: whether clients in a tick must be at the same step (optimisers whose step depends on its number).

    Returns:
        The ticks, and the rows that they read, one after another.
    """
    done, total, lengths = np.zeros(len(batches.steps), dtype=np.int64), batches.steps, batches.lengths
    ticks, rows, place = [], [], 0
    while (waiting := np.flatnonzero(done < total)).size:
        following = lengths[batches.client[waiting] + done[waiting]]
        if aligned:
            level = done[waiting].min()
            following = np.where(done[waiting] == level, following, -1)
        values, counts = np.unique(following[following >= 0], return_counts=True)
        length = int(values[counts.argmax()])
        chosen = waiting[following == length]
        starts = batches.cut[batches.client[chosen] + done[chosen]]
        rows.append(batches.order[starts[:, None] + np.arange(length)].reshape(-1))
        ticks.append(Tick(chosen, int(done[chosen[0]]), length, place))
        place += len(rows[-1])
        done[chosen] += 1
    return ticks, np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)


SHARE = 0.25
"""Share of an accelerator's memory that the parameters, gradients and optimiser state of a block may take."""
HOST_BYTES = 64 * 2**20
"""The same on a CPU, in bytes."""
COPIES = 6
"""Vectors of d numbers that a client needs on the device besides its optimiser's, temporaries counted."""


def block_of(task: Task, solver: Solver, device: torch.device | str) -> int:
    """How many clients a block may hold on `device`: as many as memory allows, at least one."""
    device = torch.device(device)
    room = HOST_BYTES
    if device.type == "cuda":
        room = int(SHARE * torch.cuda.get_device_properties(device).total_memory)
    return max(1, room // (task.d * task.dtype.itemsize * (COPIES + solver.slots())))


class VmappedEngine:
    """`vmap(grad(...))` over the clients of a block; nothing is read back from the device before the end.

    Args:
        task, solver: what every client runs.
        device: where it runs; the first accelerator, or the CPU where there is none.
    """

    name = "vmapped"
    threads = False
    private = False

    def __init__(self, task: Task, solver: Solver, device: torch.device | str | None = None) -> None:
        self.task, self.solver = task, solver
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.model = copy.deepcopy(task.model).to(self.device).train()
        self._held: tuple[Examples, Tensor, Tensor] | None = None

    @classmethod
    def accepts(
        cls, task: Task, solver: Solver, sample: Examples, device: torch.device | str | None = None
    ) -> str | None:
        """Why this engine cannot run the task: None when it can. One step of the sample's first clients is tried."""
        first = Examples(sample.x, sample.y, sample.start[:2], sample.size[:2])
        count = len(first.size)
        batches = draw(solver, first, [str(k) for k in range(count)], 0, 0, [1] * count)
        x, b = task.initial()
        job = LocalRun(x, b, first, batches, Correction(), lr_at(solver, 0), tuple(range(count)))
        update, buffers, loss = x.new_empty(count, len(x)), x.new_empty(count, len(b)), x.new_empty(count)
        try:
            with torch.random.fork_rng(), warnings.catch_warnings():
                cls(task, solver, device).run(job, update, buffers, loss)
        except Exception as error:
            return f"vmap refuses it with {type(error).__name__}: {str(error).strip().splitlines()[0]}"
        return None

    def run(self, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """See `Engine.run`."""
        block = _Block(self, job)
        ticks, rows = schedule(job.batches, aligned=not isinstance(self.solver, SGD))
        order = torch.from_numpy(rows).to(self.device)
        if job.seeds:
            torch.manual_seed(job.seeds[0])
        for tick in ticks:
            block.advance(tick, order[tick.place : tick.place + len(tick.clients) * tick.length])
        moved = block.y.sub_(block.x)
        update.copy_(moved)
        buffers.copy_(block.packed_state())
        visited = torch.from_numpy(np.maximum(job.batches.visited, 1))
        loss.copy_(block.total.cpu().double() / visited)
        return moved.square_().sum(1).sqrt_().cpu()

    def examples(self, examples: Examples) -> tuple[Tensor, Tensor]:
        """Inputs and targets on the device, moved when they are met first."""
        if self._held is None or self._held[0].x is not examples.x or self._held[0].y is not examples.y:
            self._held = (examples, examples.x.to(self.device), examples.y.to(self.device))
        return self._held[1:]

    def gradients(self, params: Parts, state: Parts, x: Tensor, y: Tensor) -> tuple[Parts, Tensor, Parts]:
        """Gradients, losses and next buffers of k clients: everything has a leading axis of k."""

        def value(params: Parts, state: Parts, x: Tensor, y: Tensor) -> tuple[Tensor, Parts]:
            named = {**params, **state}
            loss = self.task.loss(functional_call(self.model, named, (x,)), y)
            return loss, {name: named[name] for name in state}

        both = vmap(grad_and_value(value, has_aux=True), randomness="different")
        with warnings.catch_warnings():
            # Recurrent layers go through vmap one client at a time, which it warns of in every step.
            warnings.filterwarnings("ignore", message="There is a performance drop")
            grads, (losses, after) = both(params, state, x, y)
        return grads, losses, after


class _Block:
    """The clients of one local run on the device.

    Attributes:
        y: (K, d) parameters.
        state: name -> (K, ...) buffers that steps move.
        total: (K,) sum of the losses of the examples read.
    """

    def __init__(self, engine: VmappedEngine, job: LocalRun) -> None:
        self.engine, self.task, self.solver = engine, engine.task, engine.solver
        self.count, device = len(job.examples.size), engine.device
        self.inputs, self.targets = engine.examples(job.examples)
        self.x, self.lr, self.proximal = job.x.to(device), job.lr, job.correction.proximal
        self.offset = None if job.correction.offset is None else job.correction.offset.to(device)
        self.y = self.x.expand(self.count, -1).clone()
        self.state = self._begun(job.b.to(device))
        self.slots = self.y.new_zeros(engine.solver.slots(), *self.y.shape)
        self.total = torch.zeros(self.count, dtype=torch.float64, device=device)

    def _begun(self, b: Tensor) -> Parts:
        """Buffers that steps move, one for each client: those that travel from `b`, others as the model has them."""
        parts = self.task.buffer_layout.unpack(b)
        own = {n: t for n, t in self.engine.model.named_buffers() if n in self.task.moving}
        first = {n: parts[n].to(o.dtype) if n in parts else o.detach() for n, o in own.items()}
        return {n: t.expand(self.count, *t.shape).clone() for n, t in first.items()}

    def packed_state(self) -> Tensor:
        """(K, b) the buffers that travel, in the task's dtype."""
        layout = self.task.buffer_layout
        if not layout.names:
            return self.y.new_empty(self.count, 0)
        return layout.pack({n: self.state[n].to(self.task.dtype) for n in layout.names})

    def advance(self, tick: Tick, rows: Tensor) -> None:
        """One step of the tick's clients."""
        with torch.no_grad(), _Part(self, tick.clients) as part:
            rows = rows.view(-1, tick.length)
            params = self.task.layout.unpack(part.y)
            grads, losses, after = self.engine.gradients(params, part.state, self.inputs[rows], self.targets[rows])
            gradient = self.task.layout.pack(grads)
            correction = Correction(self.proximal, part.offset)
            self.solver.update(part.y, correction(gradient, part.y, self.x), part.slots, self.lr, tick.step)
            part.state = {name: s.detach() for name, s in after.items()}
            part.total.add_(losses.detach().reshape(-1), alpha=tick.length)


class _Part:
    """Some of a block's clients: the block itself where all take part, else copies that are put back at the end."""

    def __init__(self, block: _Block, clients: NDArray[np.int64]) -> None:
        self.block = block
        whole = len(clients) == block.count
        self.index = None if whole else torch.from_numpy(clients).to(block.engine.device, non_blocking=True)
        self.y, self.slots, self.total = self._of(block.y), self._of(block.slots, 1), self._of(block.total)
        self.offset = None if block.offset is None else self._of(block.offset)
        self.state = {name: self._of(s) for name, s in block.state.items()}

    def _of(self, tensor: Tensor, axis: int = 0) -> Tensor:
        return tensor if self.index is None else tensor.index_select(axis, self.index)

    def _moved(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        block = self.block
        yield from ((block.y, self.y, 0), (block.slots, self.slots, 1), (block.total, self.total, 0))
        yield from ((block.state[name], s, 0) for name, s in self.state.items())

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *error: object) -> None:
        if self.index is None:
            self.block.state = self.state
            return
        for whole, part, axis in self._moved():
            whole.index_copy_(axis, self.index, part)

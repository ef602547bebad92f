"""The traced engine: one client run to the end on one core, each step one flat function of ATen calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from tacit.errors import TacitError
from tacit.learning.batches import Examples
from tacit.learning.solver import SGD, Correction, Solver
from tacit.learning.step import LocalRun
from tacit.learning.task import Task
from tacit.learning.traced.capture import Untraceable
from tacit.learning.traced.emit import Step, running
from tacit.learning.traced.program import Program, nothing
from tacit.learning.traced.updates import Ending

Advance = Callable[[list[Step], Sequence[Tensor], Sequence[Tensor], int], list[Tensor]]

MOST_LENGTHS = 64
"""Most distinct batch lengths in a run: each costs a capture, some tenths of a second, in every worker."""
GATHER = 2**20
"""Bytes of inputs that are collected from the population at a time, for several steps."""


class TracedEngine:
    """Steps captured with `make_fx`, rewritten, and run without autograd.

    For any model whose Python does not look at the data. Plain SGD is fused into the gradient products
    (`W <- W - lr d^T x` is one call), with weight decay, proximal term and offset as one affine step before it;
    momentum, Adam and other solvers get the gradient as one flat vector. The graph of a batch length is captured when
    it is met first. The bits of a client's result do not depend on the others in its block.

    Args:
        task, solver: what every client runs.
    """

    name = "traced"
    threads = False
    private = False

    def __init__(self, task: Task, solver: Solver) -> None:
        self.task, self.solver = task, solver
        self.program = Program(task)
        self.slots = torch.zeros(solver.slots(), task.d, dtype=task.dtype)

    @classmethod
    def accepts(cls, task: Task, solver: Solver, sample: Examples) -> str | None:
        """Why this engine cannot run the task: None when it can.

        Captures one batch of the sample twice, on different numbers: a model that decides in Python by what it sees, by
        chance or by what it did before is refused.
        """
        size = solver.batch_size
        lengths = {n for s in sample.size.tolist() for n in ((min(size, s), s % size) if size else (s,))} - {0}
        if len(lengths) > MOST_LENGTHS:
            return f"batches of {len(lengths)} different lengths would need as many captures; most: {MOST_LENGTHS}"
        n = min(size or max(lengths), max(lengths))
        rows = slice(int(sample.start[int(sample.size.argmax())]), None)
        x, y = sample.x[rows][:n].clone(), sample.y[rows][:n].clone()  # the first step may write into its input
        try:
            engine = cls(task, solver)
            first, second = engine.program.capture(x, y), engine.program.capture(x.flip(0), y.flip(0))
            if not first.same_as(second):
                return "two captures of its step differ: its Python depends on the data, on chance or on earlier calls"
            engine.program.build(first, x, y, engine._ending(0.0, False))
        except Untraceable as reason:
            return str(reason)
        except Exception as error:
            return f"capturing its step failed with {type(error).__name__}: {str(error).strip().splitlines()[0]}"
        return None

    def _ending(self, proximal: float, offset: bool) -> Ending:
        if not isinstance(self.solver, SGD) or self.solver.momentum:
            return Ending.GATHERED
        return Ending.SHIFTED if self.solver.weight_decay or proximal or offset else Ending.PLAIN

    def run(self, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """See `Engine.run`."""
        ending = self._ending(job.correction.proximal, job.correction.offset is not None)
        steps = self._steps(job, ending)
        first, lengths = job.batches.client.tolist(), job.batches.lengths.tolist()
        moved = torch.empty_like(loss)
        with running():
            start = self.program.storage.inward(job.x, torch.empty_like(job.x))
            order = torch.from_numpy(job.batches.order)
            for k in range(len(loss)):
                self.program.load(start, job.b)
                if self.program.draws:
                    torch.manual_seed(job.seeds[k])
                mine = lengths[first[k] : first[k + 1]]
                rows = order[job.batches.cut[first[k]] : job.batches.cut[first[k + 1]]]
                advance, values = self._advance(job, k, start, ending), list[Tensor]()
                for part, x, t in self._batches(job.examples, rows, mine):
                    values += advance([steps[n] for n in part], x, t, len(values))
                loss[k] = _mean(values, mine)
                self.program.store(start, update[k], buffers[k])
                moved[k] = torch.linalg.vector_norm(update[k])
        return moved

    def _steps(self, job: LocalRun, ending: Ending) -> dict[int, Step]:
        """The step for each batch length of the block."""
        lengths, where = np.unique(job.batches.lengths, return_index=True)
        steps = {}
        for length, s in zip(lengths.tolist(), where.tolist(), strict=True):
            rows = torch.from_numpy(job.batches.order[job.batches.cut[s] : job.batches.cut[s + 1]])
            try:
                steps[length] = self.program.step(job.examples.x[rows], job.examples.y[rows], ending)
            except Untraceable as reason:
                raise TacitError(
                    f"the traced engine cannot run batches of {length} examples: {reason}; choose engine='eager'"
                ) from None
        return steps

    def _batches(
        self, examples: Examples, rows: Tensor, lengths: list[int]
    ) -> Iterator[tuple[list[int], Sequence[Tensor], Sequence[Tensor]]]:
        """The client's batches, collected from the population some steps at a time: lengths, inputs and targets."""
        width = examples.x.stride(0) * examples.x.element_size()
        most = max(GATHER // max(width * max(lengths, default=1), 1), 1)
        done = 0
        for s in range(0, len(lengths), most):
            part = lengths[s : s + most]
            chosen = rows[done : done + sum(part)]
            done += len(chosen)
            x, y = self.program.prepare(examples.x.index_select(0, chosen)), examples.y.index_select(0, chosen)
            yield part, x.split_with_sizes(part), y.split_with_sizes(part)

    def _advance(self, job: LocalRun, k: int, start: Tensor, ending: Ending) -> Advance:
        """`advance(steps, x, y, s)` takes the client's steps from number s on and returns their losses."""
        if ending is Ending.PLAIN:
            rate = -job.lr
            return lambda steps, xs, ys, s: [step(x, y, rate) for step, x, y in zip(steps, xs, ys, strict=True)]
        offset = None if job.correction.offset is None else self._inward(job.correction.offset[k])
        if ending is Ending.SHIFTED:
            ends = -job.lr, *self._shift(job, start, offset)
            return lambda steps, xs, ys, s: [step(x, y, *ends) for step, x, y in zip(steps, xs, ys, strict=True)]
        return self._gathered(job, start, Correction(job.correction.proximal, offset))

    def _gathered(self, job: LocalRun, start: Tensor, correction: Correction) -> Advance:
        flat, gradient = self.program.storage.flat, self.program.gradient
        self.slots.zero_()

        def advance(steps: list[Step], xs: Sequence[Tensor], ys: Sequence[Tensor], s: int) -> list[Tensor]:
            losses = []
            for step, x, y in zip(steps, xs, ys, strict=True):
                losses.append(step(x, y))
                self.solver.update(flat, correction(gradient, flat, start), self.slots, job.lr, s)
                s += 1
            return losses

        return advance

    def _inward(self, vector: Tensor) -> Tensor:
        return self.program.storage.inward(vector, torch.empty_like(vector))

    def _shift(self, job: LocalRun, start: Tensor, offset: Tensor | None) -> tuple[float, Callable[[], object]]:
        """a, and what adds c, in `y <- y - lr (wd y + mu (y - x) + offset)` written as `y <- a y + c`."""
        mu, decay = job.correction.proximal, self.solver.weight_decay if isinstance(self.solver, SGD) else 0.0
        keep = 1.0 - job.lr * (decay + mu)
        if not mu and offset is None:
            return keep, nothing
        c = start * (job.lr * mu)
        if offset is not None:
            c.sub_(offset, alpha=job.lr)
        return keep, partial(self.program.storage.flat.add_, c)


def _mean(values: list[Tensor], lengths: list[int]) -> float:
    """Mean loss over the examples that were read; 0 where none was."""
    if not values:
        return 0.0
    return float(sum(loss.item() * n for loss, n in zip(values, lengths, strict=True)) / sum(lengths))

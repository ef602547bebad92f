"""The engine of private steps: any way to sum cut gradients, then noise, correction and the solver's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from tacit.learning.perturb import perturbed
from tacit.learning.solver import Correction, Solver
from tacit.learning.step import LocalRun
from tacit.learning.task import Bound, Task

TINY, HUGE = 1e-30, 1e36
"""A gradient that would be cut by more, or an input of a layer whose norm has a larger square, is as good as not
finite: in single precision what is left of it would be rounded too coarsely."""


class CutSum(Protocol):
    """A way to sum the gradients of a batch's examples, each cut to a norm. One instance per worker.

    Attributes:
        name: of the engine that it makes.
        bound: the model; `total` reads its parameters.
    """

    name: str
    bound: Bound

    def total(self, inputs: Tensor, target: Tensor, norm: float) -> Tensor:
        """The sum of `min(1, norm / |g_i|) g_i` over the examples of a batch, (d,).

        `g_i` is the gradient of the loss on example i as a batch of its own. One that is not finite counts as zero.
        """
        ...


class PrivateEngine:
    """One client after another, one step after another, by any `CutSum`.

    Args:
        task, solver: what every client runs.
        cut_sum: makes the way to sum.
    """

    threads = False
    private = True

    def __init__(self, task: Task, solver: Solver, cut_sum: Callable[[Task], CutSum]) -> None:
        self.task, self.solver = task, solver
        self.gradients = cut_sum(task)
        self.name = self.gradients.name
        self.slots = torch.zeros(solver.slots(), task.d, dtype=task.dtype)

    def run(self, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """See `Engine.run`."""
        bound = self.gradients.bound
        bound.module.train()
        buffers.copy_(job.b)
        loss.zero_()
        order = torch.from_numpy(job.batches.order)
        for k in range(len(loss)):
            self._client(k, job, order)
            torch.sub(bound.x, job.x, out=update[k])
        return update.square().sum(1).sqrt_()

    def _client(self, k: int, job: LocalRun, order: Tensor) -> None:
        private, bound, cut, offset = job.perturbation, self.gradients.bound, job.batches.cut, job.correction.offset
        assert private is not None
        bound.x.copy_(job.x)
        bound.b.copy_(job.b)
        bound.push()
        self.slots.zero_()
        torch.manual_seed(job.seeds[k])
        correction = Correction(job.correction.proximal, None if offset is None else offset[k])
        first, scale = int(job.batches.client[k]), private.noise[k] * private.clip
        for s in range(first, int(job.batches.client[k + 1])):
            rows = order[cut[s] : cut[s + 1]]
            g = torch.zeros_like(bound.x)
            if len(rows):
                g = self.gradients.total(job.examples.x[rows], job.examples.y[rows], private.norm)
            noise = private.draws[k].normal(self.task.d)
            with torch.no_grad():
                perturbed(g.numpy(), noise, scale, private.expected[k])
                self.solver.update(bound.x, correction(g, bound.x, job.x), self.slots, job.lr, s - first)


def cut_factors(squares: Tensor, norm: float) -> Tensor:
    """`min(1, norm / |g_i|)` from the squares of the norms, (B,) float64; 0 for those that are absurd."""
    size = squares.to(torch.float64).sqrt()
    factors = (norm / size).clamp(max=1.0)
    return torch.where(torch.isfinite(size) & (factors > TINY), factors, 0.0)

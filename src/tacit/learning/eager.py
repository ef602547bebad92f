"""The eager engine: plain autograd on a reused model with flat buffers.

It runs any `nn.Module`, and is the truth that the faster engines are verified against.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacit.learning.solver import Solver
from tacit.learning.step import LocalRun
from tacit.learning.task import Task


class EagerEngine:
    """Autograd, one client after another, one step after another."""

    name = "eager"
    threads = False
    private = False

    def __init__(self, task: Task, solver: Solver) -> None:
        self.task, self.solver = task, solver
        self.bound = task.bind()
        self.slots = torch.zeros(solver.slots(), task.d, dtype=task.dtype)

    def run(self, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """See `Engine.run`."""
        order = torch.from_numpy(job.batches.order)
        self.bound.module.train()
        for k in range(len(loss)):
            loss[k] = self._client(k, job, order)
            torch.sub(self.bound.x, job.x, out=update[k])
            self.bound.pull()
            buffers[k] = self.bound.b
        return update.square().sum(1).sqrt_()

    def _client(self, k: int, job: LocalRun, order: Tensor) -> float:
        bound, cut, offset = self.bound, job.batches.cut, job.correction.offset
        bound.x.copy_(job.x)
        bound.b.copy_(job.b)
        bound.push()
        self.slots.zero_()
        torch.manual_seed(job.seeds[k])
        correction = type(job.correction)(job.correction.proximal, None if offset is None else offset[k])
        total, first = 0.0, int(job.batches.client[k])
        for s in range(first, int(job.batches.client[k + 1])):
            rows = order[cut[s] : cut[s + 1]]
            bound.g.zero_()
            value = self.task.loss(bound.module(job.examples.x[rows]), job.examples.y[rows])
            value.backward()  # type: ignore[no-untyped-call]
            total += value.item() * len(rows)
            with torch.no_grad():
                self.solver.update(bound.x, correction(bound.g, bound.x, job.x), self.slots, job.lr, s - first)
        return total / max(int(job.batches.visited[k]), 1)


def full_gradient(engine: EagerEngine, job: LocalRun) -> Tensor:
    """Each client's gradient over all its examples at the broadcast model, (K, d) (SCAFFOLD's option 1).

    The model is in training mode; its buffers and its random numbers start anew for each client.
    """
    bound = engine.bound
    out = torch.empty(len(job.examples.size), engine.task.d, dtype=engine.task.dtype)
    bound.module.train()
    for k in range(len(out)):
        bound.x.copy_(job.x)
        bound.b.copy_(job.b)
        bound.push()
        torch.manual_seed(job.seeds[k])
        bound.g.zero_()
        inputs, target = (column.clone() for column in job.examples.of(k))
        engine.task.loss(bound.module(inputs), target).backward()  # type: ignore[no-untyped-call]
        out[k] = bound.g
    return out

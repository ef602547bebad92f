"""Blocks of clients for the tests of the fused engine."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from tacit.learning.batches import Examples, draw
from tacit.learning.eager import EagerEngine
from tacit.learning.fused import FusedEngine
from tacit.learning.solver import Correction, Solver
from tacit.learning.step import LocalRun
from tacit.learning.task import Task


@dataclass
class Outcome:
    y: Tensor
    loss: Tensor


def mlp(*widths, activation=nn.ReLU, bias=True, dtype=torch.float64, last=None, seed=0) -> nn.Sequential:
    """Linear layers of these widths with an activation between them, and `last` behind."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out, bias=bias), activation()]
    layers[-1] = last or nn.Identity()
    return nn.Sequential(*layers).to(dtype)


def examples(sizes, features, outputs, dtype=torch.float64, target="real", seed=0) -> Examples:
    """Random examples; targets are "real" (R, outputs), "unit" (the same in [0, 1]), "column" (R,) or "class"."""
    sizes = np.asarray(sizes, np.int64)
    rng, rows = torch.Generator().manual_seed(seed), int(sizes.sum())
    shape = (rows,) if target == "column" else (rows, outputs)
    kinds = {
        "real": lambda: torch.randn(shape, generator=rng, dtype=dtype),
        "column": lambda: torch.randn(shape, generator=rng, dtype=dtype),
        "unit": lambda: torch.rand(shape, generator=rng, dtype=dtype),
        "class": lambda: torch.randint(0, outputs, (rows,), generator=rng),
    }
    x = torch.randn(rows, features, generator=rng, dtype=dtype)
    return Examples(x, kinds[target](), np.cumsum(sizes) - sizes, sizes)


def job_of(task: Task, solver: Solver, data: Examples, proximal=0.0, offset=None, seed=0) -> LocalRun:
    """All clients of `data`, from the model's present weights."""
    clients = [f"client {k}" for k in range(len(data.size))]
    x, b = task.initial()
    batches = draw(solver, data, clients, seed, 0)
    return LocalRun(x, b, data, batches, Correction(proximal, offset), float(solver.lr), tuple(range(len(clients))))


def run(engine: EagerEngine | FusedEngine, job: LocalRun, y: Tensor | None = None) -> Outcome:
    """The block's final parameters and losses."""
    count = len(job.examples.size)
    y = torch.full((count, len(job.x)), float("nan"), dtype=job.x.dtype) if y is None else y
    loss = torch.full((count,), float("nan"), dtype=torch.float64)
    engine.run(job, y, torch.zeros(count, 0, dtype=job.x.dtype), loss)
    return Outcome(job.x + y, loss)


def assert_agree(task: Task, solver: Solver, job: LocalRun, y: Tensor | None = None) -> None:
    """The fused engine and autograd end at the same parameters and losses, up to rounding."""
    truth, mine = run(EagerEngine(task, solver), job), run(FusedEngine(task, solver), job, y)
    relative = 1e-10 if task.dtype == torch.float64 else 2e-5
    change = float((truth.y - job.x).abs().max())
    rounding = 8 * torch.finfo(task.dtype).eps * float(truth.y.abs().max())
    torch.testing.assert_close(mine.y, truth.y, rtol=0, atol=relative * change + rounding)
    torch.testing.assert_close(mine.loss, truth.loss, rtol=relative, atol=relative)

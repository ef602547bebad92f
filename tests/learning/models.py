"""Small models of every common kind, and local runs to hold engines against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tacit.learning.batches import Examples, draw
from tacit.learning.eager import EagerEngine
from tacit.learning.solver import Correction, Solver, lr_at
from tacit.learning.step import Engine, LocalRun
from tacit.learning.task import Task


class Residual(nn.Module):
    """A multilayer perceptron with skip connections."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.inner, self.outer = nn.Linear(8, 5), nn.Linear(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.first(x))
        h = h + torch.relu(self.second(h))
        return self.last(torch.relu(h + self.outer(torch.relu(self.inner(h)))))


def convolutional(norm: bool, dropout: bool = False) -> nn.Module:
    """Two convolutions with pooling over 2-channel 8x8 images, 3 classes."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4) if norm else nn.Identity(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.3) if dropout else nn.Identity(),
        nn.Conv2d(4, 5, 3, padding=1),
        nn.GroupNorm(1, 5),
        nn.ReLU(),
        nn.Dropout2d(0.3) if dropout else nn.Identity(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(20, 3),
    )


class Language(nn.Module):
    """Embedding, a recurrent layer and a readout at every place."""

    def __init__(self, cell: Callable[..., nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.embedding, self.cell, self.readout = nn.Embedding(11, 4), cell(4, 6, batch_first=True), nn.Linear(6, 11)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.cell(self.embedding(x))[0])


class Attention(nn.Module):
    """Embedding, one transformer layer, mean over the places."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embedding, self.readout = nn.Embedding(11, 8), nn.Linear(8, 3)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.layer(self.embedding(x)).mean(1))


class Chooser(nn.Module):
    """Decides in Python by what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum().item() > 0 else -self.layer(x)


def places(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy at every place of a sequence."""
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


@dataclass(frozen=True)
class Case:
    """A model with its loss and the inputs it takes."""

    model: Callable[[], nn.Module]
    loss: Callable[[Tensor, Tensor], Tensor]
    x: Callable[[int], Tensor]
    y: Callable[[int], Tensor]

    def task(self, dtype: torch.dtype = torch.float64) -> Task:
        torch.manual_seed(0)
        return Task(self.model().to(dtype), self.loss)


def _vectors(n: int) -> Tensor:
    return torch.randn(n, 6)


def _images(n: int) -> Tensor:
    return torch.randn(n, 2, 8, 8)


def _words(n: int) -> Tensor:
    return torch.randint(0, 11, (n, 5))


def _classes(n: int) -> Tensor:
    return torch.randint(0, 3, (n,))


CASES = {
    "residual": Case(Residual, F.mse_loss, _vectors, lambda n: torch.randn(n, 3)),
    "norms": Case(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.GELU(), nn.BatchNorm1d(8), nn.Linear(8, 3)),
        F.cross_entropy,
        _vectors,
        _classes,
    ),
    "convolutional": Case(lambda: convolutional(norm=False), F.cross_entropy, _images, _classes),
    "batch norm": Case(lambda: convolutional(norm=True), F.cross_entropy, _images, _classes),
    "lstm": Case(Language, places, _words, _words),
    "gru": Case(lambda: Language(nn.GRU), places, _words, _words),
    "attention": Case(lambda: Attention(0.0), F.cross_entropy, _words, _classes),
}
RANDOM = {
    "dropout": Case(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 3)),
        F.cross_entropy,
        _vectors,
        _classes,
    ),
    "convolutional dropout": Case(lambda: convolutional(True, dropout=True), F.cross_entropy, _images, _classes),
    "attention dropout": Case(lambda: Attention(0.2), F.cross_entropy, _words, _classes),
}


def population(case: Case, sizes: Sequence[int], dtype: torch.dtype) -> Examples:
    """Random examples of clients with the given sizes."""
    torch.manual_seed(1)
    x, y = case.x(sum(sizes)), case.y(sum(sizes))
    x, y = (t.to(dtype) if t.is_floating_point() else t for t in (x, y))
    size = np.asarray(sizes, dtype=np.int64)
    return Examples(x, y, np.concatenate([[0], np.cumsum(size)[:-1]]).astype(np.int64), size)


def local_run(
    task: Task,
    solver: Solver,
    examples: Examples,
    proximal: float = 0.0,
    offset: bool = False,
    round: int = 0,
    budget: Sequence[int | None] | None = None,
) -> LocalRun:
    """A local run of every client, with random offsets where wanted."""
    x, b = task.initial()
    count = len(examples.size)
    generator = torch.Generator().manual_seed(2)
    shift = 0.1 * torch.randn(count, task.d, dtype=task.dtype, generator=generator) if offset else None
    batches = draw(solver, examples, [str(k) for k in range(count)], 0, round, budget)
    return LocalRun(
        x, b, examples, batches, Correction(proximal, shift), lr_at(solver, round), tuple(range(10, 10 + count))
    )


def outcome(engine: Engine, job: LocalRun) -> tuple[Tensor, Tensor, Tensor]:
    """Parameters (K, d), buffers (K, b) and losses (K,) after a local run."""
    count = len(job.examples.size)
    y = torch.full((count, len(job.x)), torch.nan, dtype=job.x.dtype)
    buffers = torch.full((count, len(job.b)), torch.nan, dtype=job.x.dtype)
    loss = torch.full((count,), torch.nan, dtype=job.x.dtype)
    with torch.random.fork_rng(devices=[]):
        engine.run(job, y, buffers, loss)
    return y.add_(job.x), buffers, loss


def assert_agree(engine: Engine, job: LocalRun, task: Task, solver: Solver, rtol: float) -> None:
    """Holds an engine against the eager one; `rtol` is relative to the largest number of its kind."""
    for mine, truth in zip(outcome(engine, job), outcome(EagerEngine(task, solver), job), strict=True):
        scale = float(truth.abs().max()) if truth.numel() else 0.0
        torch.testing.assert_close(mine, truth, rtol=0.0, atol=rtol * scale)

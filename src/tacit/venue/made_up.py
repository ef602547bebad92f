"""Examples that nobody gave, of the shape and type of a population's: engines of private runs are tried on them.

Which engine runs is told, so no number of a participant may decide it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from tacit.learning.batches import Examples
from tacit.learning.solver import Solver
from tacit.learning.task import Task
from tacit.population.population import Population

FEW, MOST = 24, 256
"""Examples of the largest made-up client where the solver takes whole clients; largest batch that is tried."""


def made_up(task: Task, solver: Solver, population: Population) -> Examples:
    """Three clients, of which the last has a single example.

    Inputs are standard normal, or whole numbers that every table of the model has (0 and 1 where it has none); class
    labels are any of the model's.

    Raises:
        Exception: whatever the model raises on such inputs.
    """
    batch = min(solver.batch_size or 0, MOST)
    sizes = np.array([2 * batch + batch // 3 + 1 if batch else FEW, batch // 2 + 3, 1], dtype=np.int64)
    inputs, target = population.examples(np.array([0])).of(0)  # only shapes and types are looked at
    rng = torch.Generator().manual_seed(0)
    x = _inputs(task.model, (int(sizes.sum()), *inputs.shape[1:]), inputs.dtype, rng)
    y = _targets(task, x, (len(x), *target.shape[1:]), target.dtype, rng)
    return Examples(x, y, np.cumsum(sizes) - sizes, sizes)


def _inputs(model: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, rng: torch.Generator) -> Tensor:
    if dtype.is_floating_point:
        return torch.randn(shape, generator=rng, dtype=dtype)
    tables = [module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding | nn.EmbeddingBag)]
    return torch.randint(2 if dtype is torch.bool else min(tables, default=2), shape, generator=rng).to(dtype)


def _targets(task: Task, x: Tensor, shape: tuple[int, ...], dtype: torch.dtype, rng: torch.Generator) -> Tensor:
    """Numbers from 0 to 1, or class labels."""
    if dtype.is_floating_point:
        return torch.rand(shape, generator=rng, dtype=dtype)
    with torch.no_grad(), torch.random.fork_rng(devices=()):
        output = task.bind().module.eval()(x[:2].clone())
    classes = output.shape[1] if output.dim() > 1 and dtype is not torch.bool else 2
    return torch.randint(max(classes, 1), shape, generator=rng).to(dtype)

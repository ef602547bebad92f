"""Small reports, chains and federations for the tests of compression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

import tacit
from tacit.aggregation.fixed_point import FixedPoint
from tacit.aggregation.stage import Chain
from tacit.learning.layout import Layout


def layout(d: int) -> Layout:
    return Layout.of(update=(d,), loss=(), examples=(), weight=())


def reports(clients: int, d: int, seed: int = 0, dtype: torch.dtype = torch.float64, weights: Any = 1.0) -> Tensor:
    """Weighted reports (K, d + 3) of normal numbers."""
    rows = torch.randn(clients, d + 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    rows[:, -1] = 1.0
    return (rows * torch.as_tensor(weights, dtype=torch.float64).reshape(-1, 1)).to(dtype)


def through(chain: Chain, rows: Tensor, states: Any, memory: Tensor | None = None) -> tuple[Tensor, Any]:
    """What is decoded of the sum of these reports, and the next states, as a run does it."""
    encoded = chain.encode(rows.clone(), chain.broadcast(states), memory)
    if chain.grid is None:
        return chain.decode(encoded.double().sum(0), states)
    ones = torch.ones(len(encoded))
    assert chain.grid.fits(encoded, ones, ones * chain.grid.weight).all()
    return chain.decode(chain.grid.encode(encoded, ones).sum(0), states)


def grid(clients: int, weight: float = 1.0, bits: int = 32) -> FixedPoint:
    return FixedPoint(8.0, weight, clients, bits)


def people(count: int = 12, features: int = 20) -> dict[str, tuple[Tensor, Tensor]]:
    source = torch.Generator().manual_seed(3)
    return {
        f"p{k}": (torch.randn(4 + k, features, generator=source), torch.randn(4 + k, 2, generator=source))
        for k in range(count)
    }


def federation(stages: Sequence[Any], algorithm: Any = None, **settings: Any) -> tacit.Federation:
    torch.manual_seed(1)
    task = tacit.Task(nn.Linear(20, 2), nn.functional.mse_loss)
    algorithm = algorithm or tacit.FedAvg(tacit.SGD(lr=0.05, epochs=2, batch_size=5))
    population = settings.pop("population", None) or tacit.Population.from_arrays(people())
    return tacit.Federation(task, population, algorithm, stages=stages, **({"workers": 1} | settings))


def same(one: tacit.Run, other: tacit.Run) -> bool:
    return all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)

"""What is learned in the benchmark of the network: next to nothing, so that what is measured is the network.

Client k has examples of one kind, with a 1 in place k. A local step of rate 1 adds 1 to parameter k and to no other, so
that the model tells who was counted in a round, and how often: with n counted once each, each of theirs grows by 1/n.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import tacit
from tacit.plan import Given, Plan, settled
from tacit.population.schema import Schema
from tacit.scenarios.scenario import scenario

EXAMPLES = 8
MEGABYTE = 2**18
"""Numbers of 32 bits in one."""


class Tally(nn.Module):
    """The parameters, picked by a weight for each."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(size))

    def forward(self, x: Tensor) -> Tensor:
        """(n, size) to (n, 1)."""
        return x @ self.weight[:, None]


def upwards(out: Tensor, target: Tensor) -> Tensor:
    """A loss that falls by what is put out."""
    return -(out * target).mean()


def task(size: int) -> tacit.Task:
    """Of so many parameters."""
    return tacit.Task(Tally(size), upwards)


def data(k: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Of client k."""
    x = np.zeros((EXAMPLES, size), np.float32)
    x[:, k] = 1.0
    return x, np.ones((EXAMPLES, 1), np.float32)


def schema(size: int) -> Schema:
    """Of everybody's examples."""
    return Schema.of(*data(0, size))


def names(count: int) -> list[str]:
    """Of the participants, in the order in which they stand."""
    return [f"silo-{k:04d}" for k in range(count)]


def plan(participants: int, rounds: int, minimum: int, **sections: Any) -> Plan:
    """Everybody takes part in every round, in sums of `minimum` or more."""
    given: dict[str, Any] = {
        "version": 1,
        "scenario": "own",
        "rounds": rounds,
        "seed": 3,
        "algorithm": {"name": "FedAvg", "weights": "uniform"},
        "solver": {"name": "SGD", "lr": 1.0, "batch_size": EXAMPLES, "epochs": 1},
        "selection": {"name": "Everyone"},
        "aggregation": {"name": "SecureSum", "minimum": minimum, "range": 4.0, "bits": 32},
        "network": {"participants": participants, "answer": 20.0, "patience": 60.0, "absence": 60.0},
    }
    for name, section in sections.items():
        given[name] = {**given.get(name, {}), **section} if isinstance(section, dict) else section
    return settled([Given(given)], scenario)

"""On what inversion is tried: a federation with the shape and the meaning of its examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.algorithms.fedavg import FedAvg
from tacit.attacks.pictures import HOLDS, Pictures, convolutional, perceptron
from tacit.attacks.target import Target
from tacit.federation import Federation
from tacit.learning.solver import SGD, lr_at, steps_for
from tacit.privacy.user_level import UserLevel
from tacit.selection.cohort import Poisson

Real = NDArray[np.float64]

ANALYTIC, OPTIMISED = "analytic", "optimised"
HISTORY = "frequency:"
"""So begin the names of the columns that show what a user used, and how much."""
TV = 0.01
IMAGE_ROUNDS, IMAGE_SHARE, IMAGE_CLIP = 100, 0.2, 1.0


@dataclass(frozen=True)
class Material:
    """Something to attack.

    Attributes:
        name: for people.
        target: what is attacked.
        span: least and largest value of an example.
        methods: by which it is attacked.
        history: name -> column of what a user used, among the features; empty for images.
        tv: weight of the total variation in the optimised attack.
    """

    name: str
    target: Target
    span: tuple[float, float]
    methods: tuple[str, ...]
    history: Mapping[str, int] = field(default_factory=dict)
    tv: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return tuple(self.examples(0, 1)[0].shape[1:])

    @property
    def images(self) -> bool:
        """Whether an example is an image."""
        return len(self.shape) == 3

    @property
    def classes(self) -> bool:
        """Whether a target is one of several classes."""
        return not self.examples(0, 1)[1].is_floating_point()

    def examples(self, client: int, most: int | None) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a client, the latest `most` of them."""
        x, y = self.target.federation.population.examples(np.array([client])).of(0)
        return (x, y) if most is None else (x[-most:], y[-most:])

    def rows(self, client: int, most: int | None) -> Real:
        """The inputs flat, (n, F)."""
        return np.asarray(self.examples(client, most)[0].double().flatten(1).numpy(), dtype=np.float64)

    def moved(self, client: int, most: int | None, solver: SGD | None) -> float:
        """By how much a constant gradient of 1 would have moved the client: learning rate times steps."""
        own = solver or self.target.federation.algorithm.solver
        return lr_at(own, 0) * steps_for(own, len(self.examples(client, most)[1]))


def of_scenario(name: str, target: Target, columns: Sequence[str]) -> Material:
    """The examples of a scenario's own clients.

    Args:
        name: of the scenario.
        target: its federation.
        columns: names of its input columns.
    """
    places = {column: place for place, column in enumerate(columns)}
    history = {name.removeprefix(HISTORY): place for name, place in places.items() if name.startswith(HISTORY)}
    population = target.federation.population
    few = population.examples(np.arange(min(len(population), 64), dtype=np.int64))
    x = torch.cat([few.of(k)[0] for k in range(len(few.size))])
    classes = not few.y.is_floating_point()
    span = (float(x.min()), float(x.max()))
    return Material(
        f"{name}: features", target, span, (ANALYTIC, OPTIMISED) if classes else (ANALYTIC,), history or places
    )


def of_images(found: Pictures, epsilon: float, seed: int) -> tuple[Material, ...]:
    """Clients with ten images each, who train a perceptron, and a convolutional network.

    The run with DP has a fifth of the clients in a round and 100 rounds, and spends `epsilon`.
    """
    population = found.population()
    level = UserLevel(epsilon=epsilon, clip=IMAGE_CLIP)
    solver = SGD(lr=0.1, batch_size=HOLDS // 2, epochs=5)
    made = []
    for task, name, method in (
        (perceptron(seed), "perceptron", ANALYTIC),
        (convolutional(seed), "convolutional", OPTIMISED),
    ):
        federation = Federation(
            task,
            population,
            FedAvg(solver),
            selection=Poisson(IMAGE_SHARE * len(population)),
            privacy=level,
            engine="eager",
        )
        target = Target.of(federation, IMAGE_ROUNDS)
        made.append(Material(f"{found.source}: {name}", target, (0.0, 1.0), (method,), tv=TV))
    return tuple(made)

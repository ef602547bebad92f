"""Small federations to attack."""

from __future__ import annotations

import numpy as np
import torch

import tacit
from tacit.attacks.target import Target

FEATURES, CLASSES = 12, 5


def population(clients: int, examples: int = 4, seed: int = 0) -> tacit.Population:
    """Random inputs with random classes: there is nothing to learn but the examples themselves."""
    rng = np.random.default_rng(seed)
    data = {
        f"client-{k}": (
            rng.normal(size=(examples, FEATURES)).astype(np.float32),
            rng.integers(CLASSES, size=examples),
        )
        for k in range(clients)
    }
    made = tacit.Population.from_arrays(data)
    made.synthetic = True
    return made


def perceptron(width: int = 16, seed: int = 0) -> tacit.Task:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = torch.nn.Linear(FEATURES, width), torch.nn.ReLU(), torch.nn.Linear(width, CLASSES)
        return tacit.Task(torch.nn.Sequential(*layers), torch.nn.functional.cross_entropy)


def federation(
    clients: int = 20,
    *,
    epsilon: float = 4.0,
    clip: float = 0.05,
    examples: int = 4,
    width: int = 16,
    lr: float = 0.1,
    epochs: int = 1,
) -> tacit.Federation:
    return tacit.Federation(
        perceptron(width),
        population(clients, examples),
        tacit.FedAvg(tacit.SGD(lr=lr, batch_size=examples, epochs=epochs)),
        privacy=tacit.UserLevel(epsilon=epsilon, clip=clip),
        engine="eager",
        workers=1,
    )


def target(rounds: int = 5, **given: float) -> Target:
    return Target.of(federation(**given), rounds)  # type: ignore[arg-type]

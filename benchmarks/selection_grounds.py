"""What is learned in the benchmark of selection: grounds on which policies are compared, made anew for every seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import tacit
from benchmarks.mnist_trials import DEVIATION, MEAN
from tacit.attacks.pictures import idx
from tacit.scenarios import datasets
from tacit.scenarios.app_recommendation.phones import PhonesRule
from tacit.scenarios.app_recommendation.scenario import PreparedPhones
from tacit.scenarios.app_recommendation.synthetic import SyntheticLogs

Images = tuple[NDArray[np.float32], NDArray[np.int64]]
MEASURED = 2000
"""Test images on which the model is measured after every round: the first ones."""
SOLVERS = {
    "apps": tacit.SGD(0.02, 20, epochs=1),
    "mnist": tacit.SGD(0.1, 10, epochs=1),
    "slow-digits": tacit.SGD(0.001, 10, epochs=5),
    "slow-digits-far": tacit.SGD(0.05, 10, epochs=10),
    "unequal": tacit.SGD(0.1, 10, epochs=1),
    "synthetic": tacit.SGD(0.05, 50, steps=30),
}
"""Local training of each ground."""


@dataclass(frozen=True)
class Ground:
    """A learning problem.

    Attributes:
        title: what it is.
        clients: how many are asked for; of the apps' phones, a tenth is kept apart as unseen.
        cohort: clients in a round.
        rounds: of a run.
        metric: the column of the history that counts.
    """

    title: str
    clients: int
    cohort: int
    rounds: int
    metric: str


GROUNDS = {
    "apps": Ground("app recommender, 900 phones, 100 in a round", 1000, 100, 60, "test_HR@10"),
    "apps-few": Ground("app recommender, 216 phones, 60 in a round", 240, 60, 60, "test_HR@10"),
    "mnist": Ground("MNIST, 1000 clients of 60 images with two labels, 100 in a round", 1000, 100, 80, "test_accuracy"),
    "slow-digits": Ground(
        "MNIST sorted by label, slow devices hold the high digits, 30 short local steps", 1000, 100, 60, "test_accuracy"
    ),
    "slow-digits-far": Ground(
        "MNIST sorted by label, slow devices hold the high digits, 60 long local steps", 1000, 100, 60, "test_accuracy"
    ),
    "unequal": Ground(
        "MNIST, 1000 clients, labels and numbers of images from Dirichlet(0.3), 100 in a round", 1000, 100, 80,
        "test_accuracy",
    ),
    "synthetic": Ground("Synthetic(1, 1), 30 clients, 1 in a round", 30, 1, 200, "test_accuracy"),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Made:
    """A ground with one seed.

    Attributes:
        task, population: of the federation.
        test: what is measured after every round.
        order: (N,) client positions from the one that is to hold the fastest device on; None where speed is chance.
    """

    task: tacit.Task
    population: tacit.Population
    test: Any
    order: NDArray[np.int64] | None = None


@lru_cache(maxsize=4)
def make(name: str, seed: int, clients: int) -> Made:
    """Makes a ground.

    Args:
        name: of `GROUNDS`.
        seed: of data, of who holds what, and of the first weights.
        clients: how many.
    """
    if name.startswith("apps"):
        log = SyntheticLogs(phones=clients).log(seed)
        phones = PreparedPhones.of(log, PhonesRule(), (64,), seed)
        return Made(phones.task, phones.population, phones.validation())
    if name == "synthetic":
        return _synthetic(clients, seed)
    train, test = images(clients * 60)
    population = tacit.Population.partition(*train, _deal(name, clients), seed=seed)
    torch.manual_seed(seed)
    task = tacit.Task(_model(name), nn.functional.cross_entropy, {"accuracy": accuracy})
    if not name.startswith("slow-digits"):
        return Made(task, population, test)
    labels = [float(population[client][1].double().mean()) for client in population.ids]
    return Made(task, population, _by_digit(*test), np.argsort(labels, kind="stable"))


def _deal(name: str, clients: int) -> Any:
    if name == "unequal":
        return tacit.Dirichlet(clients, alpha=0.3, balanced=False, minimum=2)
    return tacit.Shards(clients, per_client=1 if name.startswith("slow-digits") else 2)


def _model(name: str) -> nn.Module:
    if name.startswith("slow-digits"):
        return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10))
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 32), nn.ReLU(), nn.Linear(32, 10))


def _synthetic(clients: int, seed: int) -> Made:
    """Synthetic(1, 1) of [Li20] arXiv:1812.06127, section 5.1: every client has a model and a centre of its own.

    Measured is on all examples of all clients, as [Cho20] arXiv:2010.01243 does.
    """
    rng, held = np.random.default_rng(seed), {}
    sizes = np.minimum(rng.lognormal(4, 2, clients).astype(int) + 50, 2000)
    spread = np.arange(1, 61) ** -0.6
    for k in range(clients):
        lean, centre = rng.normal(0, 1, 2)
        x = rng.normal(centre, 1, 60) + rng.normal(0, 1, (sizes[k], 60)) * spread
        y = (x @ rng.normal(lean, 1, (60, 10)) + rng.normal(lean, 1, 10)).argmax(1)
        held[str(k)] = (x.astype(np.float32), y)
    torch.manual_seed(seed)
    task = tacit.Task(nn.Linear(60, 10), nn.functional.cross_entropy, {"accuracy": accuracy})
    population = tacit.Population.from_arrays(held)
    return Made(task, population, population)


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of labels that are right."""
    right: Tensor = (output.argmax(dim=1) == target).float().mean()
    return right


def _by_digit(x: NDArray[np.float32], y: NDArray[np.int64]) -> Callable[[nn.Module], Mapping[str, float]]:
    """Accuracy, and that on the digits which the slowest and the fastest devices hold."""
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)

    def measure(model: nn.Module) -> dict[str, float]:
        right = (model(inputs).argmax(1) == labels).double()
        slow, fast = right[labels >= 8].mean(), right[labels <= 1].mean()
        return {"accuracy": float(right.mean()), "slow": float(slow), "fast": float(fast)}

    return measure


@cache
def images(count: int) -> tuple[Images, Images]:
    """The first images to train on, and those to measure on."""
    files = datasets.locate("mnist")
    train = _part(files["train-images-idx3-ubyte"], files["train-labels-idx1-ubyte"], 60_000, min(count, 60_000))
    return train, _part(files["t10k-images-idx3-ubyte"], files["t10k-labels-idx1-ubyte"], 10_000, MEASURED)


def _part(pixels: Path, labels: Path, held: int, count: int) -> Images:
    x = idx(pixels, (held, 28, 28))[:count, None].astype(np.float32) / np.float32(255)
    return (x - MEAN) / DEVIATION, idx(labels, (held,))[:count].astype(np.int64)

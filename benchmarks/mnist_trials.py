"""One training on MNIST, with or without privacy: what is set, and what came of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import tacit
from benchmarks.models import tanh_cnn
from tacit.attacks.pictures import idx
from tacit.scenarios import datasets

Images = tuple[NDArray[np.float32], NDArray[np.int64]]
MEAN, DEVIATION = np.float32(0.1307), np.float32(0.3081)
"""Of the pixels of MNIST, as every tutorial on it has them: public numbers."""
DELTA = 1e-5
"""Of record-level privacy; user-level privacy has its own, by the number of clients."""
HELD_OUT = 10_000
"""Of the 60,000 training images, those on which settings were chosen: the last ones."""
TUNING_SEED = 1000


@dataclass(frozen=True)
class Setting:
    """How a model is trained.

    Attributes:
        unit: "record" or "user": what is protected.
        clients: that the training images are dealt to, alike.
        deal: "iid", or "shards" (two of ten digits for most clients).
        model: "cnn" or "mlp".
        lr, momentum, batch_size: of local steps.
        steps: local ones of a round.
        rounds: of the run.
        clip: norm of a record's gradient or of a client's update.
        expected: clients in a round on average; None takes all of them.
        quantile: that the clip norm follows; None keeps it.
        server_lr, server_momentum: of the server's step.
        mechanism: "gaussian" with Poisson cohorts, or "bisr" with turns.
    """

    unit: str
    clients: int
    model: str
    lr: float
    batch_size: int
    steps: int
    rounds: int
    clip: float
    momentum: float = 0.0
    deal: str = "iid"
    expected: int | None = None
    quantile: float | None = None
    server_lr: float = 1.0
    server_momentum: float = 0.0
    mechanism: str = "gaussian"


@dataclass(frozen=True)
class Trial:
    """One training.

    Attributes:
        part: of the benchmark to which it belongs.
        epsilon: what may be spent; None trains without privacy and without clipping.
        seed: of initial weights, of who holds what, and of what is drawn; not of privacy's noise and coins.
        tuning: trains on 50,000 images and measures on the other 10,000 training images, not on the test set.
    """

    part: str
    setting: Setting
    epsilon: float | None
    seed: int
    tuning: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of a trial.

    Attributes:
        accuracy: share of the images to measure on that the last model names rightly.
        epsilon, delta, noise: of the claim; None without privacy.
        engine: that ran the local steps.
        seconds: of the run, calibration included.
    """

    accuracy: float
    epsilon: float | None
    delta: float | None
    noise: float | None
    engine: str
    seconds: float


def run(trial: Trial, workers: int) -> Outcome:
    """Carries a trial out. Its ledger is its own, for the images are public and nothing is spent on anybody."""
    train, measured = _images(trial.tuning)
    with TemporaryDirectory() as folder, patch.dict(os.environ, TACIT_LEDGER=str(Path(folder) / "ledger.sqlite")):
        start = perf_counter()
        done = _federation(trial, train, workers).run(trial.setting.rounds, progress=False)
        seconds = perf_counter() - start
    claim: dict[str, Any] = {}
    if trial.epsilon is not None:
        claim = done.facts["privacy" if trial.setting.unit == "user" else "record_privacy"]
    accuracy = _accuracy(done.model, *measured)
    return Outcome(
        accuracy, claim.get("epsilon"), claim.get("delta"), claim.get("noise_multiplier"), done.facts["engine"],
        round(seconds, 1),
    )  # fmt: skip


def _federation(trial: Trial, train: Images, workers: int) -> tacit.Federation:
    setting, by_user = trial.setting, trial.setting.unit == "user"
    deal = tacit.Shards(setting.clients) if setting.deal == "shards" else tacit.IID(setting.clients)
    population = tacit.Population.partition(*train, deal, seed=trial.seed)
    torch.manual_seed(trial.seed)
    model = tanh_cnn() if setting.model == "cnn" else _perceptron()
    solver = tacit.SGD(setting.lr, setting.batch_size, steps=setting.steps, momentum=setting.momentum)
    algorithm: Any = tacit.FedAvg(solver, setting.server_lr)
    if setting.server_momentum:
        algorithm = tacit.FedAvgM(solver, setting.server_lr, setting.server_momentum)
    return tacit.Federation(
        tacit.Task(model, nn.functional.cross_entropy),
        population,
        algorithm,
        selection=_selection(setting),
        seed=trial.seed,
        workers=workers,
        privacy=_user_level(setting, trial.epsilon) if by_user and trial.epsilon else None,
        record_privacy=_record_level(setting, trial.epsilon) if not by_user and trial.epsilon else None,
    )


def _selection(setting: Setting) -> Any:
    if setting.expected is None:
        return tacit.Everyone()
    return tacit.Separated(setting.expected) if setting.mechanism == "bisr" else tacit.Poisson(setting.expected)


def _user_level(setting: Setting, epsilon: float) -> tacit.UserLevel:
    return tacit.UserLevel(epsilon, setting.clip, setting.quantile, mechanism=setting.mechanism, public_evaluation=True)


def _record_level(setting: Setting, epsilon: float) -> tacit.RecordLevel:
    return tacit.RecordLevel(epsilon, setting.clip, DELTA, public_evaluation=True)


def _perceptron() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 32), nn.ReLU(), nn.Linear(32, 10))


@cache
def _images(tuning: bool) -> tuple[Images, Images]:
    """To train on, and to measure on."""
    files = datasets.locate("mnist")
    train = _part(files["train-images-idx3-ubyte"], files["train-labels-idx1-ubyte"], 60_000)
    if not tuning:
        return train, _part(files["t10k-images-idx3-ubyte"], files["t10k-labels-idx1-ubyte"], 10_000)
    x, y = train
    return (x[:-HELD_OUT], y[:-HELD_OUT]), (x[-HELD_OUT:], y[-HELD_OUT:])


def _part(images: Path, labels: Path, count: int) -> Images:
    x = idx(images, (count, 28, 28))[:, None].astype(np.float32) / np.float32(255)
    return (x - MEAN) / DEVIATION, idx(labels, (count,)).astype(np.int64)


def _accuracy(model: nn.Module, x: NDArray[np.float32], y: NDArray[np.int64]) -> float:
    with torch.no_grad():
        named = [model(part).argmax(1) for part in torch.split(torch.from_numpy(x), 1000)]
    return float((torch.cat(named) == torch.from_numpy(y)).double().mean())

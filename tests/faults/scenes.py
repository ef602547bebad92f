"""Small federations in which something can be made to go wrong."""

from __future__ import annotations

import warnings

import numpy as np
import torch

import tacit

SOLVER = tacit.SGD(lr=0.05, batch_size=4)


def clean(clients=5, seed=0):
    """{id: (x (6, 3), y (6, 1))} float32, ids "a", "b", ..."""
    rng = np.random.default_rng(seed)
    return {
        chr(97 + k): (rng.normal(size=(6, 3)).astype(np.float32), rng.normal(size=(6, 1)).astype(np.float32))
        for k in range(clients)
    }


def model(outputs=1):
    torch.manual_seed(0)
    return torch.nn.Linear(3, outputs)


def federation(data, algorithm=None, loss=torch.nn.functional.mse_loss, net=None, **options):
    options = {"engine": "eager", "workers": 1} | options
    task = tacit.Task(net or model(), loss)
    return tacit.Federation(task, tacit.Population.from_arrays(data), algorithm or tacit.FedAvg(SOLVER), **options)


def weights(run):
    return torch.cat([t.flatten() for t in run.tensors.values()])


def quietly(federation, rounds, **options):
    """Runs without warnings becoming errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tacit.errors.TacitWarning)
        return federation.run(rounds, progress=False, **options)

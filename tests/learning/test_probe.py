"""What a forward pass is seen to do besides giving an output."""

# ruff: noqa: NPY002 - NumPy's global generator is what is looked at
from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import tacit
from tacit.learning.probe import probe

X = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))


class Layered(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls, self.cache, self.seen = nn.Linear(3, 1), 0, None, []


class Counting(Layered):
    def forward(self, x):
        self.calls += 1
        return self.layer(x) * (1 if self.calls % 100 else 2)


class Appending(Layered):
    def forward(self, x):
        self.seen.append(len(x))
        return self.layer(x)


class Remembering(Layered):
    def forward(self, x):
        before, self.cache = self.cache, self.layer(x).detach()
        return self.layer(x) + (0 if before is None else before.mean())


class Caching(Layered):
    def forward(self, x):
        if self.cache is None:
            self.cache = torch.arange(3.0)
        return self.layer(x * self.cache)


class Chancy(Layered):
    def forward(self, x):
        return self.layer(x) * (2 if random.random() < 0.001 else 1)


class NumpyChancy(Layered):
    def forward(self, x):
        return self.layer(x) * (2 if np.random.rand() < 0.001 else 1)


@pytest.mark.parametrize(
    ("model", "effect"),
    [
        (Counting, "changes calls"),
        (Appending, "changes seen"),
        (Remembering, "changes cache"),
        (Chancy, "draws from random"),
        (NumpyChancy, "draws from numpy.random"),
    ],
)
def test_state_and_chance_of_python_are_seen(model, effect):
    effects = probe(nn.Sequential(model()), X).effects
    assert effects is not None
    assert effect.split()[-1] in effects
    assert effect.split()[0] in effects


@pytest.mark.parametrize("model", [Caching(), nn.Linear(3, 1), nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))])
def test_a_cache_made_once_and_torchs_own_chance_are_no_state(model):
    assert probe(model, X).effects is None


def test_generators_and_the_model_are_left_as_they_were():
    model = nn.Sequential(nn.BatchNorm1d(3), Chancy(), NumpyChancy(), nn.Dropout(0.5))
    before = random.getstate(), np.random.get_state()[2], torch.get_rng_state(), model[0].running_mean.clone()
    assert probe(model, X).buffers == {"0.running_mean", "0.running_var", "0.num_batches_tracked"}
    assert random.getstate() == before[0]
    assert np.random.get_state()[2] == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
    assert torch.equal(model[0].running_mean, before[3])


def test_where_too_few_examples_are_there_every_buffer_may_move():
    model = nn.BatchNorm1d(3)
    assert probe(model, X[:1]).buffers == {name for name, _ in model.named_buffers()}


def test_a_model_with_state_runs_eagerly_in_one_worker_and_says_so():
    torch.manual_seed(0)
    clients = {k: (np.ones((4, 3), dtype="f4") * k, np.ones((4, 1), dtype="f4")) for k in range(4)}
    method = tacit.FedAvg(tacit.SGD(lr=0.01, batch_size=2))
    model = Counting()

    def run(workers):
        task = tacit.Task(model, mse_loss)
        with pytest.warns(tacit.errors.TacitWarning, match="changes calls"):
            return tacit.Federation(task, tacit.Population.from_arrays(clients), method, workers=workers).run(rounds=60)

    one, two = run(1), run(2)
    assert one.engine == two.engine == "eager"
    assert "changes calls" in one.facts["engine_declined"]["fused"]
    assert all(torch.equal(one.tensors[n], t) for n, t in two.tensors.items())

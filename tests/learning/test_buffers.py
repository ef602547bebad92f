"""Buffers that travel and buffers that stay, on every engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import tacit
from tacit.learning.buffers import Buffers, travelling

ENGINES = ("eager", "traced", "vmapped")


class Masked(nn.Module):
    """A model with a causal mask of -inf, a table of large whole numbers, a counter, and BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.full((4, 4), -torch.inf).triu(1))
        self.register_buffer("table", torch.tensor([2**53 + 1, 2**24 + 1]))
        self.register_buffer("third", torch.tensor(1.0) / 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.norm(self.layer(x))
        weight = torch.softmax(h[:, None, :] + self.mask, dim=-1)
        return (weight @ h[:, :, None])[..., 0] * self.third


class Reassigning(nn.Module):
    """Keeps a running mean by assigning a new tensor to its buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.layer(x)
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * h.detach().mean(0)
        return h - self.mean


def clients(count: int = 4, n: int = 6) -> tacit.Population:
    rng = np.random.default_rng(0)
    return tacit.Population.from_arrays(
        {k: (rng.normal(size=(n, 4)).astype("f4"), rng.normal(size=(n, 4)).astype("f4")) for k in range(count)}
    )


def federation(model: nn.Module, engine: str = "eager", **options) -> tacit.Federation:
    method = tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=3, epochs=2))
    return tacit.Federation(tacit.Task(model, mse_loss), clients(), method, engine=engine, **options)


@pytest.mark.parametrize("engine", ENGINES)
def test_masks_of_infinity_tables_and_constants_come_back_bit_for_bit(engine):
    torch.manual_seed(0)
    model = Masked()
    run = federation(model, engine).run(rounds=3)
    assert run.history["set_aside"].eq(0).all()
    for name in ("mask", "table", "third"):
        assert torch.equal(run.tensors[name], getattr(model, name)), name
    assert not torch.equal(run.tensors["norm.running_mean"], model.norm.running_mean)


def test_only_floating_buffers_that_training_moves_are_sent():
    task = federation(Masked()).task
    assert task.buffer_layout.names == ("norm.running_mean", "norm.running_var")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_engines_agree_on_a_model_that_assigns_to_its_buffer(engine):
    torch.manual_seed(0)
    model = Reassigning()
    truth, mine = (federation(model, e).run(rounds=2).tensors for e in ("eager", engine))
    assert truth["mean"].abs().sum() > 0
    torch.testing.assert_close(mine, truth)


def test_every_client_of_a_cumulative_batchnorm_begins_with_the_models_own_count():
    """With momentum=None the count of batches steers the mean: a count left by another client would show."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(4, momentum=None), nn.Linear(4, 4))
    population = clients(count=3, n=6)
    run = tacit.Federation(
        tacit.Task(model, mse_loss), population, tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=3, epochs=1)), workers=1
    ).run(rounds=1)
    x = torch.cat([population.examples(np.array([k])).of(0)[0] for k in range(3)])
    torch.testing.assert_close(run.tensors["0.running_mean"], x.mean(0))
    assert run.tensors["0.num_batches_tracked"] == 0


def test_local_buffers_stay_as_the_model_has_them():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4))
    method = tacit.FedAvg(tacit.SGD(lr=0.1))
    run = tacit.Federation(tacit.Task(model, mse_loss, buffers="local"), clients(), method).run(rounds=2)
    assert torch.equal(run.tensors["0.running_mean"], torch.zeros(4))
    assert run.facts["bytes_up_per_client"] == 4 * (4 * 4 + 4 + 8 + 3)


def test_push_undoes_writes_and_assignments_and_pull_reads_both():
    module = Reassigning()
    module.register_buffer("count", torch.tensor(7))
    buffers = Buffers(module, travelling(module, {"mean", "count"}), {"mean", "count"})
    module.mean = torch.ones(4)
    module.count += 1
    out = torch.empty(4)
    buffers.pull(out)
    assert torch.equal(out, torch.ones(4))
    buffers.push(torch.full((4,), 5.0))
    assert torch.equal(module.mean, torch.full((4,), 5.0))
    assert module.count == 7

"""The checks before a run cost nothing that the run would miss. What they find: tests/faults/test_bad_input.py."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

import tacit
from tacit.errors import DataError
from tests.faults.scenes import SOLVER, clean, federation


def test_a_check_changes_neither_model_nor_buffers_nor_generator():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1), torch.nn.Dropout(0.5))
    before = {n: t.clone() for n, t in net.state_dict().items()}
    state = torch.get_rng_state()
    federation(clean(), tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=6)), net=net)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert all(torch.equal(before[n], t) for n, t in net.state_dict().items())


def test_a_lazy_population_is_tried_on_its_first_client_only():
    data, loaded = clean(), []

    def load(client):
        loaded.append(client)
        return data[client]

    population = tacit.Population.from_loader(dict.fromkeys(data, 6), load)
    task = tacit.Task(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss)
    tacit.Federation(task, population, tacit.FedAvg(SOLVER))
    assert set(loaded) == {"a"}


def test_a_first_client_that_cannot_be_read_is_reported_before_the_run():
    def load(client):
        raise DataError(f"the disk of client {client!r} is gone")

    population = tacit.Population.from_loader({"a": 6, "b": 6}, load)
    task = tacit.Task(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss)
    with pytest.raises(DataError, match="gone"):
        tacit.Federation(task, population, tacit.FedAvg(SOLVER))


def test_data_of_another_precision_are_cast_and_integers_are_left():
    data = {k: (x.astype("f8"), y.astype("f8")) for k, (x, y) in clean().items()}
    run = federation(data).run(1, progress=False)
    assert run.tensors["weight"].dtype == torch.float32


def flat(data):
    """The same with targets (n,) instead of (n, 1)."""
    return {k: (x, (y[:, 0] > 0).astype("f4")) for k, (x, y) in data.items()}


class Squeezed(torch.nn.Linear):
    """A model that gives (n,), and a number for one example."""

    def forward(self, x):
        return super().forward(x).squeeze()


ELEMENTWISE = [
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
    F.binary_cross_entropy_with_logits,
    torch.nn.MSELoss(),
    torch.nn.L1Loss(),
    torch.nn.SmoothL1Loss(),
    torch.nn.HuberLoss(),
    torch.nn.BCEWithLogitsLoss(),
    partial(F.huber_loss, delta=0.5),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("loss", ELEMENTWISE, ids=lambda v: getattr(v, "__name__", type(v).__name__))
def test_a_loss_that_would_hold_every_example_against_every_other_is_refused_with_the_remedy(loss):
    with pytest.raises(DataError, match=r"the model gives \(n, 1\) and y is \(n,\)") as caught:
        federation(flat(clean()), loss=loss)
    assert "y of shape (n, 1)" in str(caught.value) and "target.unsqueeze(1)" in str(caught.value)
    assert federation(clean(), loss=loss).task


def test_probabilities_and_targets_of_unlike_shapes_are_refused_too():
    net = torch.nn.Sequential(torch.nn.Linear(3, 1), torch.nn.Sigmoid())
    for loss in (F.binary_cross_entropy, torch.nn.BCELoss()):
        with pytest.raises(DataError, match=r"give y of shape \(n, 1\)"):
            federation(flat(clean()), loss=loss, net=net)


def test_targets_with_an_axis_more_than_the_output_are_refused_with_the_other_remedy():
    with pytest.raises(DataError, match=r"the model gives \(n,\) and y is \(n, 1\).*give y of shape \(n,\)"):
        federation(clean(), net=Squeezed(3, 1))


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_a_first_client_with_one_example_neither_hides_nor_makes_a_mixed_up_loss():
    data = clean()
    single = {**data, "a": tuple(values[:1] for values in data["a"])}
    with pytest.raises(DataError, match="every example against every other"):
        federation(flat(single))
    assert federation(flat(single), net=Squeezed(3, 1)).task


class Broadcasting(torch.nn.MSELoss):
    """A loss of a user's, who wants what torch's own warns of."""


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize(
    "loss",
    [
        lambda output, target: F.mse_loss(output, target.unsqueeze(1)),
        lambda output, target: ((output - target) ** 2).mean(),
        lambda output, target: F.mse_loss(output, target),
        Broadcasting(),
        F.poisson_nll_loss,
    ],
    ids=["right", "own formula", "own function", "subclass", "another loss"],
)
def test_a_loss_of_ones_own_may_broadcast(loss):
    assert federation(flat(clean()), loss=loss).task


@pytest.mark.filterwarnings("ignore:Using a target size")
def test_broadcasting_along_an_axis_of_outputs_is_the_users_choice():
    assert federation(clean(), net=torch.nn.Linear(3, 4)).task
    assert federation(clean(), loss=torch.nn.L1Loss(), net=torch.nn.Linear(3, 4)).task


def test_a_model_that_cannot_be_copied_is_refused_before_the_run():
    net = torch.nn.Linear(3, 1)
    net.kept = net.weight * 2
    with pytest.raises(DataError, match="the model cannot be copied"):
        federation(clean(), net=net)

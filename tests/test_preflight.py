"""The checks before a run cost nothing that the run would miss. What they find: tests/faults/test_bad_input.py."""

from __future__ import annotations

import pytest
import torch

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

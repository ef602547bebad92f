"""Clients whose reports cannot be used: set aside, named, never in the model, their memory not committed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import RoundFailed, TacitWarning
from tests.faults.scenes import SOLVER, clean, federation, quietly, weights


def nan_for_marked(output, target):
    """A loss that is NaN on a batch that holds the mark 99 among its targets."""
    mean = torch.nn.functional.mse_loss(output, target)
    return mean * float("nan") if bool((target == 99.0).any()) else mean


def marked(data, client):
    x, y = data[client]
    return data | {client: (x, np.full_like(y, 99.0))}


def exploding(data, client, factor):
    x, y = data[client]
    return data | {client: (x * np.float32(factor), y)}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_client_with_a_nan_loss_is_set_aside_with_its_reason(workers):
    fed = federation(marked(clean(), "c"), loss=nan_for_marked, workers=workers)
    with pytest.warns(TacitWarning, match="'c'.*training loss is not finite"):
        run = fed.run(2, progress=False)
    assert run.history["set_aside"].tolist() == [1, 1]
    assert run.history["clients"].tolist() == [4, 4]
    assert all("c: its training loss" in reason for reason in run.history["set_aside_reasons"])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_model_is_the_one_without_the_client_that_was_set_aside(workers):
    data = clean()
    without = {k: v for k, v in data.items() if k != "c"}
    one = quietly(federation(marked(data, "c"), loss=nan_for_marked, workers=workers), 3)
    other = quietly(federation(without, loss=nan_for_marked, workers=workers), 3)
    assert torch.equal(weights(one), weights(other))
    assert one.history["examples"].tolist() == [24, 24, 24]


@pytest.mark.parametrize("factor", [1e9, 1e15, 1e30])
@pytest.mark.parametrize("epochs", [1, 5])
def test_a_client_that_explodes_never_reaches_the_model(factor, epochs):
    data = clean()
    without = {k: v for k, v in data.items() if k != "b"}
    algorithm = tacit.FedAvg(tacit.SGD(lr=0.1, epochs=epochs))
    one = quietly(federation(exploding(data, "b", factor), algorithm), 2)
    assert torch.equal(weights(one), weights(quietly(federation(without, algorithm), 2)))
    assert all("b: its update" in r or "b: its training loss" in r for r in one.history["set_aside_reasons"])


def test_large_targets_alone_are_not_an_explosion():
    """A squared error of 1e20 is a large loss, not a diverged client, as long as its step is an ordinary one."""
    data = {k: (x, y + np.float32(1e6)) for k, (x, y) in clean().items()}
    run = federation(data, tacit.FedAvg(tacit.SGD(lr=0.05))).run(3, progress=False)
    assert run.history["set_aside"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("option", [1, 2])
def test_scaffold_commits_no_memory_of_a_client_that_was_set_aside(option):
    """With the same c_k = 0 and N as a client that never reported, the run equals one whose selection leaves it out."""

    class Without:
        def problems(self, clients):
            return []

        def draw(self, clients, seed, round):
            from tacit.selection.cohort import Cohort, Sampling

            return Cohort(np.array([0, 1, 3, 4]), Sampling("arbitrary", 4, 5))

    data = marked(clean(), "c")
    algorithm = tacit.Scaffold(SOLVER, option=option)
    one = quietly(federation(data, algorithm, loss=nan_for_marked), 4)
    other = quietly(federation(data, algorithm, loss=nan_for_marked, selection=Without()), 4)
    assert torch.equal(weights(one), weights(other))


def test_a_client_set_aside_once_goes_on_with_the_memory_it_had():
    """A client that fails in one round only: its c_k of that round is not committed, and it is counted again later."""
    rounds = []

    def failing_in_round_two(output, target):
        mean = torch.nn.functional.mse_loss(output, target)
        return mean * float("nan") if len(rounds) == 2 and bool((target == 99.0).any()) else mean

    class Count(tacit.Callback):
        def on_round_start(self, round):
            rounds.append(round)

    data = marked(clean(), "c")
    fed = federation(data, tacit.Scaffold(SOLVER), loss=failing_in_round_two)
    run = quietly(fed, 4, callbacks=[Count()])
    assert run.history["set_aside"].tolist() == [0, 1, 0, 0]
    assert bool(torch.isfinite(weights(run)).all())


def test_too_few_reports_fail_the_run_visibly():
    data = clean()
    for client in "bcd":
        data = marked(data, client)
    with (
        pytest.warns(TacitWarning),
        pytest.raises(RoundFailed, match=r"round 1: only 2 of 5 .* 3 are needed") as caught,
    ):
        federation(data, loss=nan_for_marked).run(3, progress=False)
    assert all(f"'{client}'" in str(caught.value) for client in "bcd")


def test_the_smallest_share_of_reports_can_be_chosen():
    data = marked(marked(marked(clean(), "b"), "c"), "d")
    run = quietly(federation(data, loss=nan_for_marked, minimum=0.4), 1)
    assert run.history["clients"].tolist() == [2]


def test_a_round_without_any_report_fails_even_when_no_share_is_asked_for():
    data = clean()
    for client in data:
        data = marked(data, client)
    with pytest.raises(RoundFailed, match="only 0 of 5"):
        quietly(federation(data, loss=nan_for_marked, minimum=0.0), 1)


def test_a_failed_round_keeps_the_last_checkpoint(tmp_path):
    """The run up to the failure can be read back: resuming with fewer reports asked for ends it."""
    rounds = []

    def failing_later(output, target):
        mean = torch.nn.functional.mse_loss(output, target)
        return mean * float("nan") if len(rounds) > 2 else mean

    class Count(tacit.Callback):
        def on_round_start(self, round):
            rounds.append(round)

    with pytest.raises(RoundFailed, match="round 3"):
        quietly(
            federation(clean(), loss=failing_later), 4, callbacks=[Count()], checkpoint=tmp_path, checkpoint_every=1
        )
    rounds.clear()
    resumed = federation(clean(), loss=failing_later).run(4, checkpoint=tmp_path, resume=True, progress=False)
    whole = federation(clean(), loss=failing_later).run(4, progress=False)
    assert torch.equal(weights(resumed), weights(whole))


def test_unreadable_clients_are_set_aside_by_name():
    from tacit.errors import DataError

    data = clean()

    def load(client):
        if client == "d" and load.broken:
            raise DataError("the disk of client 'd' is gone")
        return data[client]

    load.broken = False
    task = tacit.Task(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss)
    population = tacit.Population.from_loader(dict.fromkeys(data, 6), load)
    fed = tacit.Federation(task, population, tacit.FedAvg(SOLVER), engine="eager", workers=1)
    load.broken = True
    run = quietly(fed, 2)
    assert run.history["set_aside"].tolist() == [1, 1]
    assert "d" in run.history["set_aside_reasons"][0]
    assert "gone" in run.history["set_aside_reasons"][0]


def test_a_server_step_that_leaves_the_finite_numbers_fails_the_run():
    with pytest.raises(RoundFailed, match="server's step makes the model NaN or Inf"):
        federation(clean(), tacit.FedAvg(SOLVER, server_lr=1e300)).run(2, progress=False)


@pytest.mark.parametrize("engine", ["fused", "eager"])
def test_exploded_clients_that_cancel_each_other_are_set_aside_both(engine):
    """Whether they share a block or not: what is looked at is each report, never their sum."""
    one = torch.ones(4, 1)
    data = dict.fromkeys(range(64), (one, 2 * one)) | {"up": (1e12 * one, 2 * one), "down": (-1e12 * one, 2 * one)}
    model = torch.nn.Linear(1, 1, bias=False)
    task = tacit.Task(model, torch.nn.functional.l1_loss)
    with pytest.warns(tacit.errors.TacitWarning, match="exploded"):
        run = tacit.Federation(
            task, tacit.Population.from_arrays(data), tacit.FedAvg(tacit.SGD(lr=0.1)), engine=engine
        ).run(1, progress=False)
    assert run.history["set_aside"].item() == 2
    assert run.tensors["weight"].item() == pytest.approx(model.weight.item() + 0.1)


def test_buffers_that_explode_alone_set_their_client_aside():
    """Batch normalisation hides the size of inputs from the loss and from the update."""
    torch.manual_seed(0)
    data = {f"c{k}": (torch.randn(12, 4), torch.randint(3, (12,))) for k in range(6)}
    data["c3"] = (data["c3"][0] * 1e15, data["c3"][1])
    task = tacit.Task(
        torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)), torch.nn.functional.cross_entropy
    )
    run = quietly(
        tacit.Federation(task, tacit.Population.from_arrays(data), tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=4))), 2
    )
    assert all(reason.startswith("c3: its buffers") for reason in run.history["set_aside_reasons"])
    assert float(run.tensors["0.running_var"].max()) < 10


@pytest.mark.parametrize("method", [tacit.FedAvg, tacit.FedNova])
def test_whether_a_client_has_exploded_does_not_depend_on_the_method(method):
    """It moved by 3e8, which FedNova divides by its ten steps before it is sent."""
    one = torch.ones(10, 1)
    data = {"c0": (one, 5e8 * one), "c1": (one, one), "c2": (one, one)}
    task = tacit.Task(torch.nn.Linear(1, 1, bias=False), torch.nn.functional.mse_loss)
    federation = tacit.Federation(
        task, tacit.Population.from_arrays(data), method(tacit.SGD(lr=0.05, steps=10)), engine="eager"
    )
    run = quietly(federation, 1)
    assert run.history["set_aside_reasons"][0].startswith("c0: its update exploded (its norm is 3.")

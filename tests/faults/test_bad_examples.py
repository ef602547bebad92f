"""Clients whose examples make the model, the loss or the loader fail: set aside by name; nobody else loses a bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tacit
from tacit.errors import DataError, RoundFailed, TacitError
from tests.faults.scenes import quietly, weights

ENGINES = ["eager", "traced", "fused"]
WORKERS = [1, 2]
pytestmark = pytest.mark.timeout(120)


def labelled(clients=6, classes=3):
    """{id: (x (6, 3), labels (6,))}."""
    rng = np.random.default_rng(1)
    return {
        chr(97 + k): (rng.normal(size=(6, 3)).astype(np.float32), rng.integers(0, classes, 6)) for k in range(clients)
    }


def mislabelled(data, *clients, label=7):
    for client in clients:
        x, y = data[client]
        data = data | {client: (x, np.where(np.arange(len(y)) == 4, label, y))}
    return data


def classifier():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 3))


def lazy(data):
    return tacit.Population.from_loader({c: len(y) for c, (_, y) in data.items()}, lambda client: data[client])


def federation(data, engine="eager", workers=1, loss=F.cross_entropy, algorithm=None, **options):
    algorithm = algorithm or tacit.FedAvg(tacit.SGD(0.1, batch_size=4, epochs=2))
    population = data if isinstance(data, tacit.Population) else lazy(data)
    return tacit.Federation(
        tacit.Task(classifier(), loss), population, algorithm, engine=engine, workers=workers, **options
    )


@pytest.fixture
def blocks(monkeypatch):
    """Sets how many clients go into a block."""
    from tacit.venue import block

    def hold(most):
        def cut(clients, work, report_bytes, budget=None, _=None):
            return block.cut(clients, work, report_bytes, budget, most)

        monkeypatch.setattr("tacit.rounds.gathering.cut", cut)

    return hold


class WithoutThird:
    """Everyone but the client at position 2."""

    def problems(self, clients):
        return []

    def draw(self, clients, seed, round):
        from tacit.selection.cohort import Cohort, Sampling

        return Cohort(np.setdiff1d(np.arange(clients), [2]), Sampling("arbitrary", clients - 1, clients))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_label_outside_the_classes_met_in_training_sets_its_client_aside(engine):
    run = quietly(federation(mislabelled(labelled(), "c"), engine), 2)
    assert run.engine == engine
    assert run.history["set_aside"].tolist() == [1, 1]
    assert run.history["clients"].tolist() == [5, 5]
    reason = run.history["set_aside_reasons"][0]
    expected = (
        "its example 4 has the class label 7" if engine == "fused" else "its training raised IndexError: Target 7 is"
    )
    assert reason.startswith(f"c: {expected}")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", ["fedavg", "scaffold"])
def test_one_worker_and_two_give_the_same_bits(engine, method, blocks):
    blocks(3)
    solver = tacit.SGD(0.1, batch_size=4)
    algorithm = tacit.FedAvg(solver) if method == "fedavg" else tacit.Scaffold(solver, option=1)
    data = mislabelled(labelled(), "c")
    one, two = (quietly(federation(data, engine, workers, algorithm=algorithm), 3) for workers in WORKERS)
    assert one.history["set_aside_reasons"].tolist() == two.history["set_aside_reasons"].tolist()
    assert one.history["set_aside"].tolist() == [1, 1, 1]
    assert torch.equal(weights(one), weights(two))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("method", ["fedavg", "scaffold", "nova"])
def test_the_others_of_its_block_get_the_bits_of_a_run_that_never_drew_the_client(engine, method, blocks):
    solver = tacit.SGD(0.1, batch_size=4)
    algorithm = {"fedavg": tacit.FedAvg, "scaffold": tacit.Scaffold, "nova": tacit.FedNova}[method](solver)
    data = mislabelled(labelled(), "c")
    blocks(6)
    one = quietly(federation(data, engine, algorithm=algorithm), 3)
    other = quietly(federation(data, engine, algorithm=algorithm, selection=WithoutThird()), 3)
    assert one.history["set_aside"].tolist() == [1, 1, 1]
    assert other.history["set_aside"].tolist() == [0, 0, 0]
    assert torch.equal(weights(one), weights(other))


@pytest.mark.parametrize("client", ["a", "f"])
@pytest.mark.parametrize("engine", ["auto", *ENGINES])
def test_the_client_may_be_one_that_engines_are_verified_on(engine, client):
    """The first client, or the largest, with a bad label beyond the two examples that are looked at before a run."""
    data = labelled()
    data["f"] = tuple(np.concatenate([column, column]) for column in data["f"])
    run = quietly(federation(mislabelled(data, client), engine), 1)
    assert run.history["set_aside"].tolist() == [1]
    assert run.history["set_aside_reasons"][0].startswith(f"{client}: ")
    assert run.engine == ("fused" if engine == "auto" else engine)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_loss_of_ones_own_hides_bad_labels_even_in_memory_and_they_are_set_aside(workers):
    data = tacit.Population.from_arrays(mislabelled(labelled(), "b", "e"))
    run = quietly(federation(data, workers=workers, loss=lambda output, target: F.cross_entropy(output, target)), 2)
    assert run.history["set_aside"].tolist() == [2, 2]
    reasons = run.history["set_aside_reasons"][0].split("; ")
    assert [reason.split(":")[0] for reason in reasons] == ["b", "e"]
    assert all("IndexError: Target 7 is out of bounds" in reason for reason in reasons)
    assert all("test_bad_examples.py, line" in reason for reason in reasons)


@pytest.mark.parametrize("engine", ["eager", "traced"])
@pytest.mark.parametrize("workers", WORKERS)
def test_an_index_outside_an_embedding_sets_its_client_aside(engine, workers):
    rng = np.random.default_rng(0)
    data = {k: (rng.integers(0, 10, (6, 2)), rng.integers(0, 3, 6)) for k in range(5)}
    data[3][0][5, 1] = 10
    torch.manual_seed(0)
    task = tacit.Task(nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(8, 3)), F.cross_entropy)
    population = tacit.Population.from_arrays(data)
    solver = tacit.SGD(0.1, batch_size=6)
    run = quietly(tacit.Federation(task, population, tacit.FedAvg(solver), engine=engine, workers=workers), 2)
    assert run.history["set_aside"].tolist() == [1, 1]
    assert run.history["set_aside_reasons"][0].startswith("3: its training raised IndexError: index out of range")


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("clients", [5, 8])
def test_whatever_a_users_loss_raises_for_one_client_sets_it_aside(workers, clients, blocks):
    blocks(clients)

    def picky(output, target):
        if bool((target == 2).any()):
            raise ValueError("no twos\nplease")
        return F.cross_entropy(output, target)

    data = mislabelled(labelled(clients, classes=2), "d", label=2)
    run = quietly(federation(data, workers=workers, loss=picky), 2)
    assert run.history["set_aside"].tolist() == [1, 1]
    assert "d: its training raised ValueError: no twos please (test_bad_examples" in run.history["set_aside_reasons"][1]


def test_a_client_that_cannot_be_loaded_while_its_block_is_trained_again_is_set_aside_too(blocks):
    blocks(6)
    data, reads = mislabelled(labelled(), "c"), []

    def load(client):
        reads.append(client)
        if client == "e" and reads.count("e") > 1:
            raise OSError("the line is dead")
        return data[client]

    population = tacit.Population.from_loader(dict.fromkeys(data, 6), load)
    run = quietly(federation(population), 1)
    assert run.history["set_aside"].tolist() == [2]
    assert "OSError: the line is dead" in run.history["set_aside_reasons"][0]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_round_without_enough_of_them_fails_with_the_causes(engine):
    data = mislabelled(labelled(), "b", "c", "d", "e")
    with pytest.raises(RoundFailed, match=r"only 2 of 6 reports could be counted, 3 are needed.*'b': .* 7"):
        quietly(federation(data, engine), 1)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_mistake_in_the_model_that_meets_every_client_fails_the_first_round_with_its_text(workers):
    class Broken(nn.Linear):
        def forward(self, x):
            if self.training:
                return super().forward(x) + self.missing
            return super().forward(x)

    task = tacit.Task(Broken(3, 3), F.cross_entropy)
    fed = tacit.Federation(
        task, lazy(labelled()), tacit.FedAvg(tacit.SGD(0.1)), engine="eager", workers=workers, minimum=0.0
    )
    with pytest.raises(RoundFailed, match=r"only 0 of 6.*AttributeError: 'Broken' object has no attribute 'missing'"):
        quietly(fed, 1)


def test_an_engine_finds_no_client_to_be_verified_on_and_says_why():
    data = mislabelled(labelled(), *"abcdef")
    with pytest.raises(DataError, match=r"none of the clients 'a', .* can be trained: .*Target 7 is out of bounds"):
        federation(data, "auto").run(1, progress=False)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_and_the_end_of_memory_still_end_the_run(error):
    def fails(output, target):
        if bool((target == 2).any()):
            raise error
        return F.cross_entropy(output, target)

    data = mislabelled(labelled(classes=2), "c", label=2)
    with pytest.raises(error):
        federation(data, loss=fails).run(1, progress=False)


@pytest.mark.parametrize(
    "error", [MemoryError("none left"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_the_end_of_memory_in_a_worker_ends_the_run(error):
    def fails(output, target):
        if bool((target == 2).any()):
            raise error
        return F.cross_entropy(output, target)

    data = mislabelled(labelled(classes=2), "c", label=2)
    with pytest.raises(TacitError, match=str(error)) as caught:
        federation(data, loss=fails, workers=2).run(1, progress=False)
    assert not isinstance(caught.value, RoundFailed)


def test_a_failing_device_ends_the_run_with_the_clients_it_had():
    def fails(output, target):
        if bool((target == 2).any()):
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        return F.cross_entropy(output, target)

    data = mislabelled(labelled(classes=2), "c", label=2)
    with pytest.raises(TacitError, match=r"round 1: the accelerator failed while training clients 'c': CUDA error"):
        federation(data, loss=fails).run(1, progress=False)


def test_a_choice_that_does_not_fit_is_no_clients_fault():
    def refuses(output, target):
        if bool((target == 2).any()):
            raise tacit.UsageError("not like this")
        return F.cross_entropy(output, target)

    with pytest.raises(tacit.UsageError, match="not like this"):
        federation(mislabelled(labelled(classes=2), "c", label=2), loss=refuses).run(1, progress=False)

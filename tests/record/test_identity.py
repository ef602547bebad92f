"""Which runs may go on from a checkpoint: the same ones, and no others; a refusal says in words what differs."""

from __future__ import annotations

import re
from threading import Lock

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import tacit
from tacit.errors import StorageError, UsageError
from tacit.record import checkpoint as checkpoints
from tests.faults.scenes import clean

DIGEST = re.compile(r"[0-9a-f]{12,}")


class Net(nn.Module):
    def __init__(self, hidden=4, slope=0.1, frozen=0.0, table=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.act, self.last = nn.Linear(3, hidden), nn.LeakyReLU(slope), nn.Linear(hidden, 1)
        self.first.bias.requires_grad_(False)
        nn.init.constant_(self.first.bias, frozen)
        self.register_buffer("table", torch.full((2,), table))

    def forward(self, x):
        return self.last(self.act(self.first(x))) + self.table[0]


class Schedule:
    """Any object with `at` is a schedule."""

    def __init__(self, lr, lock=None):
        self.lr, self.lock = lr, lock

    def at(self, round):
        return self.lr / (round + 1)


def own_loss(output, target):
    return F.mse_loss(output, target)


def go(folder, rounds, resume=False, *, net=None, loss=own_loss, data=None, lr=0.1, population=None, **options):
    population = population or tacit.Population.from_arrays(data or clean())
    federation = tacit.Federation(
        tacit.Task(net or Net(), loss, buffers=options.pop("buffers", "average")),
        population,
        tacit.FedAvg(tacit.SGD(lr)),
        engine="eager",
        workers=1,
        **options,
    )
    return federation.run(rounds, checkpoint=folder, resume=resume, progress=False)


def changed(data):
    x, y = data["e"]
    return data | {"e": (x, y + np.float32(1e-3) * (np.arange(len(y)) == 5)[:, None])}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": changed(clean())}, "the data of the clients are others"),
        ({"net": Net(hidden=5)}, r"has no more 'first: Linear\(in_features=3, out_features=4, bias=True\)'"),
        (
            {"net": Net(slope=0.2)},
            r"has no more 'act: LeakyReLU\(negative_slope=0.1, inplace=False\)' and now has 'act: Leaky.*0.2",
        ),
        ({"net": Net(frozen=0.5)}, "values of the model's frozen parameters, or of its buffers that no step moves"),
        ({"net": Net(table=2.0)}, "values of the model's frozen parameters, or of its buffers that no step moves"),
        ({"net": Net().double()}, "dtype was float32, is float64"),
        ({"loss": F.l1_loss}, "the loss is another"),
        ({"loss": lambda output, target: F.mse_loss(output, target)}, "the loss is another"),
        ({"loss": nn.MSELoss()}, "the loss is another"),
        ({"buffers": "local"}, "buffers was average, is local"),
        ({"lr": 0.2}, r"algorithm was FedAvg\(solver=SGD\(lr=0.1.*is FedAvg\(solver=SGD\(lr=0.2"),
    ],
)
def test_another_run_is_refused_with_what_differs_and_no_digest_is_dumped(tmp_path, change, words):
    go(tmp_path, 1)
    with pytest.raises(UsageError, match=rf"the checkpoint belongs to another run: .*{words}") as caught:
        go(tmp_path, 2, resume=True, **change)
    assert not DIGEST.search(str(caught.value))


def test_the_same_run_made_anew_goes_on(tmp_path):
    def loss(output, target):
        return F.smooth_l1_loss(output, target, beta=0.5)

    for rounds in (1, 2):
        made = {"loss": lambda output, target: loss(output, target), "lr": Schedule(0.1)}
        run = go(tmp_path, rounds, resume=rounds > 1, **made)
        assert len(run.history) == rounds


def test_a_schedule_of_ones_own_is_known_by_class_and_fields(tmp_path):
    go(tmp_path, 1, lr=Schedule(0.1))
    with pytest.raises(UsageError, match=r"algorithm was .*Schedule\(lock=None, lr=0.1.*Schedule\(lock=None, lr=0.3"):
        go(tmp_path, 2, resume=True, lr=Schedule(0.3))


def test_what_could_never_be_recognised_is_refused_before_the_first_round(tmp_path):
    unknown = Schedule(0.1, Lock())
    with pytest.raises(UsageError, match=r"must be recognisable.*algorithm: in a FedAvg.*give lock a __repr__"):
        go(tmp_path, 1, lr=unknown)
    assert not list(tmp_path.iterdir())
    assert len(go(None, 1, lr=unknown).rows) == 1


def test_data_that_are_loaded_on_demand_are_known_by_ids_sizes_and_the_first_client(tmp_path):
    def lazy(data):
        return tacit.Population.from_loader({c: len(y) for c, (_, y) in data.items()}, lambda client: data[client])

    go(tmp_path, 1, population=lazy(clean()))
    with pytest.raises(UsageError, match="the data of the clients are others"):
        go(tmp_path, 2, resume=True, population=lazy(clean(seed=1)))
    assert len(go(tmp_path, 2, resume=True, population=lazy(clean())).rows) == 2


def test_no_digest_is_made_without_a_checkpoint(monkeypatch):
    def never(population):
        raise AssertionError("all data were read for a run that nobody can resume")

    monkeypatch.setattr(tacit.Population, "fingerprint", never)
    assert len(go(None, 1).rows) == 1


def test_a_checkpoint_of_the_version_before_is_refused(tmp_path):
    go(tmp_path, 1)
    path = checkpoints.found(tmp_path)[0] / "state.json"
    path.write_text(path.read_text().replace(f'"version": {checkpoints.VERSION}', '"version": 1'))
    with pytest.raises(
        StorageError, match=r"has version 1, and this tacit reads 2: go on with the tacit that wrote it"
    ):
        go(tmp_path, 2, resume=True)


WEIGHT = 1.0


def weighted_loss(output, target):
    return WEIGHT * helper(output, target)


def helper(output, target):
    return F.mse_loss(output, target)


def test_what_a_loss_reads_and_calls_is_part_of_it(tmp_path, monkeypatch):
    go(tmp_path, 1, loss=weighted_loss)
    go(tmp_path, 2, resume=True, loss=weighted_loss)
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "WEIGHT", 100.0)
        with pytest.raises(UsageError, match="the loss is another"):
            go(tmp_path, 3, resume=True, loss=weighted_loss)
    monkeypatch.setitem(globals(), "helper", lambda output, target: F.l1_loss(output, target))
    with pytest.raises(UsageError, match="the loss is another"):
        go(tmp_path, 3, resume=True, loss=weighted_loss)


class Counting(Net):
    """Notes what it does in all ways, and has settings beside."""

    total = 0

    def __init__(self, gate=torch.relu, sizes=(1, 2), scale=1.0):
        super().__init__()
        self.gate, self.sizes, self._scale, self.calls, self._seen = gate, list(sizes), scale, 0, []

    def forward(self, x):
        self.calls += 1
        Counting.total += 1
        self._seen.append(len(x))
        return super().forward(x) * self._scale


class Focal:
    def __init__(self, weights):
        self._weights, self._steps, self.seen = weights, 0, {}

    def __call__(self, output, target):
        self._steps += 1
        self.seen[self._steps] = len(output)
        return F.mse_loss(output, target) * sum(self._weights)


def closing(weights):
    notes = []
    return lambda output, target: notes.append(1) or F.mse_loss(output, target) * sum(weights)


@pytest.mark.filterwarnings("ignore::tacit.errors.TacitWarning")
@pytest.mark.parametrize("kind", [Focal, closing])
def test_a_run_goes_on_whatever_its_model_and_its_loss_have_noted_in_it_and_with_other_settings_does_not(
    tmp_path, kind
):
    net, loss = Counting(), kind([1.0, 2.0])
    go(tmp_path, 1, net=net, loss=loss)
    net(torch.ones(1, 3))
    assert len(go(tmp_path, 2, resume=True, net=net, loss=loss).rows) == 2  # the same objects, after a run
    assert len(go(tmp_path, 3, resume=True, net=Counting(), loss=kind([1.0, 2.0])).rows) == 3  # and as in a new process
    others = [{"gate": torch.tanh}, {"gate": lambda x: x}, {"sizes": (1, 3)}, {"scale": 2.0}]
    for change in [{"net": Counting(**other), "loss": loss} for other in others] + [
        {"net": net, "loss": kind([2.0, 2.0])}
    ]:
        with pytest.raises(UsageError, match=r"the model has no more|the loss is another") as caught:
            go(tmp_path, 4, resume=True, **change)
        assert not DIGEST.search(str(caught.value))


def test_another_forward_of_the_same_class_is_another_model(tmp_path, monkeypatch):
    go(tmp_path, 1)
    monkeypatch.setattr(Net, "forward", lambda self, x: self.last(self.first(x.abs())))
    with pytest.raises(UsageError, match="the code of the model's classes is another"):
        go(tmp_path, 2, resume=True)

"""kill -9 at any moment, then resume: the same model, bit for bit, as a run that nobody disturbed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import tacit
from tacit.record import checkpoint as checkpoints
from tests.faults.scenes import clean, federation, weights

SOLVER = tacit.SGD(lr=0.05, batch_size=2, momentum=0.5)
METHODS = {
    "fedavg": tacit.FedAvg(SOLVER),
    "scaffold": tacit.Scaffold(tacit.SGD(lr=0.05, batch_size=2)),
    "fedadam": tacit.FedAdam(SOLVER, bias_correction=True),
    "fedavgm": tacit.FedAvgM(SOLVER),
    "feddyn": tacit.FedDyn(SOLVER),
}
pytestmark = pytest.mark.timeout(120)


def build(method, **options):
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 1)
    )
    return federation(clean(6), METHODS[method], net=net, selection=tacit.Uniform(4), seed=3, **options)


def uninterrupted(method, rounds):
    return build(method).run(rounds, progress=False)


class KillSelf(tacit.Callback):
    def __init__(self, round):
        self.round = round

    def on_round_start(self, round):
        if round == self.round:
            os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(method, folder, rounds, death, resume, workers):
    build(method, workers=workers).run(
        rounds, checkpoint=folder, checkpoint_every=2, resume=resume, callbacks=[KillSelf(death)], progress=False
    )


def in_a_process(target, *args):
    """A forked child with one thread: torch's thread pool does not survive a fork."""

    def body():
        torch.set_num_threads(1)
        target(*args)

    child = multiprocessing.get_context("fork").Process(target=body)
    child.start()
    return child


@pytest.mark.parametrize("method", METHODS)
def test_a_run_killed_twice_ends_with_the_same_bits(method, tmp_path):
    for death, resume in ((4, False), (6, True)):
        child = in_a_process(train_and_die, method, tmp_path, 8, death, resume, 1)
        child.join(timeout=60)
        assert child.exitcode == -signal.SIGKILL
    resumed = build(method, workers=2).run(8, checkpoint=tmp_path, resume=True, progress=False)
    whole = uninterrupted(method, 8)
    assert torch.equal(weights(resumed), weights(whole))
    assert resumed.history["loss"].tolist() == whole.history["loss"].tolist()


def test_workers_end_with_the_parent_that_was_killed(tmp_path):
    """Nothing keeps computing for a run that is gone."""
    read, write = os.pipe()

    class Tell(tacit.Callback):
        def on_round_end(self, row):
            os.write(write, " ".join(str(p.pid) for p in multiprocessing.active_children()).encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def body():
        build("fedavg", workers=2).run(3, callbacks=[Tell()], progress=False)

    child = in_a_process(body)
    child.join(timeout=60)
    workers = [int(p) for p in os.read(read, 1000).split()]
    assert len(workers) == 2
    deadline = time.monotonic() + 20
    while any(alive(p) for p in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [p for p in workers if alive(p)]


def alive(pid):
    """Whether a process runs (one that ended and was not yet collected does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def train_slowly(method, folder, rounds, resume):
    build(method).run(rounds, checkpoint=folder, checkpoint_every=1, resume=resume, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_kills_at_random_moments_change_no_bit(seed, tmp_path):
    """Also while a checkpoint is being written: one after every round leaves little time in which none is."""
    rng = np.random.default_rng(seed)
    rounds, method, kills = 60, list(METHODS)[seed], 0
    for _ in range(12):
        child = in_a_process(train_slowly, method, tmp_path, rounds, bool(checkpoints.found(tmp_path)))
        child.join(timeout=float(rng.uniform(0.05, 0.6)))
        if not child.is_alive():
            break
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        kills += 1
    assert kills
    resume = bool(checkpoints.found(tmp_path))
    resumed = build(method).run(rounds, checkpoint=tmp_path, resume=resume, progress=False)
    assert torch.equal(weights(resumed), weights(uninterrupted(method, rounds)))


@pytest.mark.parametrize("stop", [2, 4, 5])
def test_where_a_run_was_stopped_changes_nothing_of_early_stopping(tmp_path, stop):
    """Its last round is measured because it is the last; no rule may count that measurement when it goes on."""

    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == stop

    torch.manual_seed(0)
    data = {k: (torch.randn(12, 4), torch.randint(3, (12,))) for k in range(8)}
    test = torch.randn(40, 4), torch.randint(3, (40,))

    def run(**options):
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        federation = tacit.Federation(
            tacit.Task(model, torch.nn.functional.cross_entropy),
            tacit.Population.from_arrays(data),
            tacit.FedAvg(tacit.SGD(lr=0.5, batch_size=4, epochs=3)),
            selection=tacit.Uniform(3),
        )
        rule = tacit.Patience("test_loss", rounds=3, mode="min")
        return federation.run(30, test, evaluate_every=3, until=rule, **options)

    whole = run()
    run(callbacks=[Stop()], checkpoint=tmp_path)
    resumed = run(checkpoint=tmp_path, resume=True)
    assert len(resumed.rows) == len(whole.rows)
    assert resumed.facts["kept_round"] == whole.facts["kept_round"]
    assert all(torch.equal(whole.tensors[name], tensor) for name, tensor in resumed.tensors.items())

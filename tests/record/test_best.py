"""Early stopping that keeps the best model: which one it is, and that a killed run keeps the same."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
import torch

import tacit
from tacit.errors import StorageError, UsageError
from tacit.record import checkpoint as checkpoints
from tests.faults.scenes import SOLVER, clean, federation, weights

NAN, INF = float("nan"), float("inf")


class Script(tacit.Callback):
    """A measure that follows a script: one value for each round."""

    def __init__(self, values, death=None):
        self.values, self.death, self.round = values, death, 1

    def on_round_start(self, round):
        self.round = round
        if round == self.death:
            os.kill(os.getpid(), signal.SIGKILL)

    def __call__(self, model):
        return {"score": self.values[self.round - 1]}


def go(values, rule, rounds=20, algorithm=None, death=None, net=None, **options):
    script = Script(values, death)
    fed = federation(clean(), algorithm or tacit.FedAvgM(SOLVER), net=net)
    return fed.run(rounds, test=script, until=rule, callbacks=[script], progress=False, **options)


def after(round, **options):
    return weights(go([0.0] * round, (), rounds=round, **options))


def watched(**options):
    return tacit.Patience("test_score", **{"rounds": 2, **options})


@pytest.mark.parametrize(
    ("values", "mode", "kept"),
    [
        ([3.0, 1.0, 2.0, 2.0], "min", 2),
        ([3.0, 4.0, 2.0, 4.0], "max", 2),
        ([1.0, 1.0, 1.0], "min", 1),
        ([3.0, NAN, 1.0, -INF, 2.0, 2.0], "min", 3),
        ([NAN, 3.0, INF, NAN, 2.0, 2.0], "max", 2),
    ],
)
def test_a_run_that_patience_ends_has_the_model_of_its_best_round(values, mode, kept):
    run = go(values, watched(mode=mode))
    assert len(run.rows) == len(values)
    assert run.facts["kept_round"] == kept
    assert torch.equal(weights(run), after(kept))
    assert f"in round {kept}" in run.facts["ended"]
    assert torch.equal(torch.cat([p.flatten() for p in run.model.state_dict().values()]), after(kept))


def test_the_best_round_is_the_best_even_where_its_gain_is_too_small_to_wait_for():
    run = go([1.0, 0.99, 0.98], watched(min_delta=0.1))
    assert run.facts["kept_round"] == 3
    assert torch.equal(weights(run), after(3))


def test_the_last_model_can_be_kept_instead():
    run = go([3.0, 1.0, 2.0, 2.0], watched(keep="last"))
    assert run.facts["kept_round"] == 4
    assert torch.equal(weights(run), after(4))


def test_a_run_that_ends_otherwise_has_its_last_model():
    run = go([3.0, 1.0, 2.0], watched(rounds=9), rounds=3)
    assert run.facts["kept_round"] == 3
    assert torch.equal(weights(run), after(3))


def test_the_rule_that_ends_the_run_says_what_is_kept():
    rules = [tacit.Patience("loss", rounds=50), watched(), tacit.Converged(1e-9)]
    assert go([3.0, 1.0, 2.0, 2.0], rules).facts["kept_round"] == 2
    rules = [watched(rounds=9), tacit.Converged(1e9)]
    assert go([3.0], rules).facts["kept_round"] == 1


def test_what_is_never_a_number_keeps_the_last_model():
    run = go([NAN] * 3, watched(), rounds=3)
    assert run.facts["kept_round"] == 3


def test_buffers_are_kept_with_the_parameters():
    def net():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))

    algorithm = tacit.FedAvg(tacit.SGD(0.05))
    run = go([3.0, 1.0, 2.0, 2.0], watched(), algorithm=algorithm, net=net())
    once = go([0.0, 0.0], (), rounds=2, algorithm=algorithm, net=net())
    assert all(torch.equal(run.tensors[name], value) for name, value in once.tensors.items())


def test_what_is_saved_is_the_model_that_is_kept(tmp_path):
    run = go([3.0, 1.0, 2.0, 2.0], watched())
    run.save(tmp_path)
    loaded = tacit.Run.load(tmp_path)
    assert all(torch.equal(loaded.tensors[name], value) for name, value in run.tensors.items())
    assert torch.equal(weights(run), after(2))
    assert loaded.facts["kept_round"] == 2


VALUES = [5.0, 2.0, 3.0, 4.0, 3.0, 3.0]


@pytest.mark.parametrize("death", [3, 5])
def test_a_killed_run_keeps_the_same_best_model(tmp_path, death):
    def body():
        torch.set_num_threads(1)
        go(VALUES, watched(rounds=4), death=death, checkpoint=tmp_path, checkpoint_every=2)

    child = multiprocessing.get_context("fork").Process(target=body)
    child.start()
    child.join(timeout=60)
    assert child.exitcode == -signal.SIGKILL
    resumed = go(VALUES, watched(rounds=4), checkpoint=tmp_path, resume=True)
    assert len(resumed.rows) == 6
    assert resumed.facts["kept_round"] == 2
    assert torch.equal(weights(resumed), after(2))
    again = go(VALUES, watched(rounds=4), checkpoint=tmp_path, resume=True)
    assert torch.equal(weights(again), after(2))
    assert again.rows == resumed.rows


def test_a_run_ended_by_patience_goes_on_from_its_last_state_where_the_rule_is_left_out(tmp_path):
    go(VALUES, watched(), checkpoint=tmp_path)
    assert torch.equal(weights(go([0.0] * 9, (), rounds=9, checkpoint=tmp_path, resume=True)), after(9))


def test_a_rule_that_a_checkpoint_does_not_know_keeps_the_best_of_the_rounds_that_it_sees(tmp_path):
    go([5.0, 1.0, 4.0], (), rounds=3, checkpoint=tmp_path)
    run = go([5.0, 1.0, 4.0, 3.0, 2.0, 3.0], watched(rounds=4), checkpoint=tmp_path, resume=True)
    assert len(run.rows) == 6
    assert run.facts["kept_round"] == 5
    assert torch.equal(weights(run), after(5))


def test_a_checkpoint_with_a_damaged_best_model_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    go(VALUES, watched(), rounds=3, checkpoint=tmp_path)
    path = checkpoints.found(tmp_path)[-1] / "tensors.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"best.min test_score.x": torch.zeros(9)}, path)
    with pytest.raises(StorageError, match=r"damaged in best\.min test_score: go on from an earlier one"):
        go(VALUES, watched(), checkpoint=tmp_path, resume=True)


def test_keep_is_best_or_last():
    with pytest.raises(UsageError, match="keep is 'first': give 'best' or 'last'"):
        tacit.Patience(keep="first")


def test_a_rule_that_came_later_keeps_the_same_round_however_often_the_run_is_resumed(tmp_path):
    """The first rounds had no rule: their models are gone, so only later rounds can be kept."""
    values = [9.0, 1.0, 9.0, 9.0, 9.0, 5.0, 4.0, 6.0, 7.0, 8.0]

    def start(folder):
        go(values, (), rounds=5, checkpoint=folder, checkpoint_every=1)

    def resume(folder, rounds, patience):
        rule = watched(rounds=patience)
        return go(values, rule, rounds=rounds, checkpoint=folder, checkpoint_every=1, resume=True)

    start(tmp_path / "once")
    start(tmp_path / "twice")
    resume(tmp_path / "twice", 6, 8)
    once, twice = (resume(tmp_path / name, 10, 8) for name in ("once", "twice"))
    assert once.facts["kept_round"] == twice.facts["kept_round"] == 7
    assert torch.equal(weights(once), weights(twice))


def test_a_run_inside_no_grad_trains_all_the_same():
    with torch.no_grad(), torch.inference_mode():
        inside = go([1.0], (), rounds=1)
    assert torch.equal(weights(inside), weights(go([1.0], (), rounds=1)))

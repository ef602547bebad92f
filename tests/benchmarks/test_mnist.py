"""The benchmark on MNIST: what it plans, and that a run which was cut off goes on where it was."""

import json
from dataclasses import replace

import pytest

from benchmarks import mnist, mnist_trials
from benchmarks.mnist import Book, trials
from benchmarks.mnist_trials import Outcome


def outcome(accuracy: float) -> Outcome:
    return Outcome(accuracy, 3.0, 1e-5, 0.8, "ghost", 1.0)


@pytest.fixture
def ran(monkeypatch):
    done = []
    monkeypatch.setattr(mnist_trials, "run", lambda trial, workers: done.append(trial) or outcome(0.9))
    return done


@pytest.mark.parametrize("part", [*mnist.SETTINGS, "clips", "tuning"])
def test_every_part_has_trainings_and_none_of_them_twice(part):
    planned = list(trials(part, [1.0, 3.0], seeds=2))
    assert planned and len(set(planned)) == len(planned)


def test_settings_are_chosen_on_images_that_are_not_the_test_set_and_nothing_else_is():
    planned = [t for part in (*mnist.SETTINGS, "clips", "tuning") for t in trials(part, [4.0], seeds=1)]
    assert all(t.tuning == (t.part == "tuning") for t in planned)


def test_what_was_measured_is_not_run_again_and_other_settings_are(tmp_path, ran):
    planned = list(trials("users", [1.0, 4.0], seeds=1))
    Book(tmp_path / "a.json").measure(planned[:2], workers=1)
    Book(tmp_path / "a.json").measure(planned, workers=1)
    assert ran == planned
    other = [replace(planned[0], setting=replace(planned[0].setting, clip=7.0))]
    Book(tmp_path / "a.json").measure(other, workers=1)
    assert ran == planned + other


def test_a_file_of_another_version_is_left_alone(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"version": 0, "trials": []}))
    with pytest.raises(SystemExit, match="move it away"):
        Book(tmp_path / "a.json")


def test_seeds_of_one_setting_stand_together():
    found = [(t, outcome(0.9 + t.seed / 100)) for t in trials("users", [4.0], seeds=3)]
    assert sorted(len(outcomes) for _, outcomes in mnist.together(found)) == [3, 3]

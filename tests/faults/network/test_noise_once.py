"""Noise is drawn once for a round, charged before, and never taken back: whatever kills the coordinator in between."""

from __future__ import annotations

import shutil
import signal

import pytest
import torch

from tacit.network.journal import State
from tacit.privacy.ledger import Ledger
from tacit.record.run import Run
from tests.faults.network.checker import checked
from tests.faults.network.scene import scene

pytestmark = pytest.mark.timeout(120)

PRIVATE = {"name": "UserLevel", "epsilon": 500.0, "clip": 1.0, "delta": 0.01}


def entries(folder):
    with Ledger(folder / "ledger.sqlite") as ledger:
        return [entry for account in ledger.accounts() for entry in account.entries()]


def test_a_sum_that_was_noised_is_published_as_it_is_however_often_the_coordinator_dies(tmp_path):
    """Row 11 (I2): the noise is real, so two draws of it would differ."""
    with scene(tmp_path / "one", rounds=1, privacy=PRIVATE) as story:
        story.crowd()
        story.up(stored=True)
        assert story.coordinator.ended() == -signal.SIGKILL
        sums = list(story.run.rglob("released-*"))
        assert len(sums) == 1
        copied = tmp_path / "copy"
        shutil.copytree(story.run, copied)
        for point in ("publish.before", "publish.after"):
            story.up(crash=point)
            assert story.coordinator.ended() == -signal.SIGKILL
        first = story.up().finished()
        checked(story, first)
        shutil.rmtree(story.run)
        shutil.copytree(copied, story.run)
        (story.folder / "up").unlink()
        again = story.up(linger=0.0).finished()
        assert all(torch.equal(first.tensors[name], again.tensors[name]) for name in first.tensors)
        assert [one.kind for one in entries(story.folder)].count("reserve") == 1


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("train.closed", marks=SLOW),
        pytest.param("survivors.fixed", marks=SLOW),
        "summed",
        "publish.before",
        pytest.param("published", marks=SLOW),
    ],
)
def test_every_published_round_was_charged_first(point, tmp_path):
    """Row 11 (I4): a round that was cut off stays charged, and the one that takes its place is charged again."""
    with scene(tmp_path, rounds=2, privacy=PRIVATE) as story:
        story.crowd()
        story.up(crash=point)
        assert story.coordinator.ended() == -signal.SIGKILL
        run = story.up().finished()
        attempts = checked(story, run)
        told = entries(story.folder)
        for one in attempts:
            if one.state is State.PUBLISHED:
                order = [entry.kind for entry in told if entry.round == one.round and entry.kind != "begin"]
                assert order[0] == "reserve"
                assert order.count("commit") == 1
                assert order.index("commit") == len(order) - 1
        charged = sum(entry.kind == "reserve" for entry in told)
        assert charged == len(run.rows) + (point in ("survivors.fixed", "summed"))
        assert Run.load(story.run).rows[-1]["epsilon"] > 0

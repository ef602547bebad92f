"""kill -9 of the coordinator at every point of a round, and of every write of its journal: nothing is lost."""

from __future__ import annotations

import signal

import pytest
import torch

from tests.faults.network.checker import checked
from tests.faults.network.scene import scene

pytestmark = pytest.mark.timeout(180)

POINTS = ["round.opened", "train.closed", "share.closed", "mask.closed", "survivors.fixed", "confirm.closed"]
LATE = ["unmask.closed", "summed", "published", "unmask.closed:2", "published:2"]
BEFORE = ["fresh.before", "open_round.before", "move.before", "answer.before", "close_step.before"]
BEFORE += ["fix_survivors.before", "publish.before", "note.before", "move.before:3", "move.before:4"]
AFTER = ["settle.after", "fresh.after:7", "open_round.after", "move.after", "answer.after", "close_step.after"]
AFTER += ["fix_survivors.after", "publish.after", "note.after", "move.after:3", "move.after:4", "answer.after:9"]
"""`settle.after` is passed while it starts."""


@pytest.mark.parametrize("algorithm", ["FedAvg", "Scaffold"])
@pytest.mark.parametrize(
    "points", [POINTS, LATE, BEFORE, AFTER], ids=["early", "late", "before writes", "after writes"]
)
def test_a_coordinator_that_is_killed_anywhere_ends_with_the_model_of_the_simulation(points, algorithm, tmp_path):
    """Rows 10 and 12. Under SCAFFOLD participants remember what came of every round, in their own files."""
    with scene(tmp_path, rounds=3 if points is not LATE else 5, algorithm={"name": algorithm}) as story:
        story.crowd()
        for point in points:
            story.up(crash=point)
            assert story.coordinator.ended() == -signal.SIGKILL, f"{point} was never passed: {story.said()}"
        run = story.up().finished()
        attempts = checked(story, run)
        alone = story.simulated()
        assert all(torch.equal(run.tensors[name], alone.tensors[name]) for name in alone.tensors)
        assert [row["loss"] for row in run.rows] == [row["loss"] for row in alone.rows]
        assert all(one.reason for one in attempts if one.state == "abandoned")
        assert all(story.ended(k).startswith("finished") for k in range(4))

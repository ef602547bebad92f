"""kill -9 of a participant at every step of a round, before its answer leaves and before it learns that it came."""

from __future__ import annotations

import signal

import pytest
import torch

from tests.faults.network.checker import checked
from tests.faults.network.scene import scene, until

pytestmark = pytest.mark.timeout(180)
STEPS = "train", "share", "mask", "confirm", "unmask"


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_participant_that_is_killed_at_any_step_and_comes_back_changes_no_bit(when, tmp_path):
    """Rows 1 and 3: all are needed, so a round that lost somebody is tried again; reports are counted once."""
    with scene(tmp_path, rounds=12, algorithm={"name": "Scaffold"}, network={"attempts": 9}) as story:
        story.up()
        story.crowd([1, 2, 3])
        for number, step in enumerate(STEPS):  # the first at once, the others at the second time
            story.parties[0].start(die=(step, when, min(number, 1) + 1))
            assert story.parties[0].ended() == -signal.SIGKILL, story.said()
        story.parties[0].start()
        run = story.finished()
        attempts = checked(story, run)
        assert sum(one.state == "abandoned" for one in attempts) >= 2
        alone = story.simulated()
        assert all(torch.equal(run.tensors[name], alone.tensors[name]) for name in alone.tensors)


@pytest.mark.parametrize(
    "step", [step if step in ("mask", "unmask") else pytest.param(step, marks=pytest.mark.slow) for step in STEPS]
)
def test_a_sum_is_right_without_whom_it_lost_at_any_step(step, tmp_path):
    """Row 19: up to the threshold the sum is of exactly those who survived; the model says who that was."""
    with scene(
        tmp_path, 5, 2, vectors=True, aggregation={"minimum": 3, "dropout": 0.3}, network={"absence": 3.0}
    ) as story:
        story.up()
        story.crowd([1, 2, 3, 4])
        story.parties[0].start(die=(step, "before", 1))
        assert story.parties[0].ended() == -signal.SIGKILL
        run = story.finished()
        attempts = checked(story, run)
        first = next(one for one in attempts if one.state == "published")
        survived = step in ("confirm", "unmask")  # its masked report was in the sum by then
        assert (story.names[0] in first.facts["counted"]) is survived
        assert len(run.rows) == 2


def test_of_fewer_than_the_minimum_nothing_is_revealed_and_the_run_goes_on_when_they_are_back(tmp_path):
    """Row 19: one beyond the threshold."""
    with scene(tmp_path, 4, 2, vectors=True, aggregation={"minimum": 4}, network={"absence": 3.0}) as story:
        story.up()
        story.crowd([1, 2, 3])
        story.parties[0].start(die=("mask", "before", 1))
        assert story.parties[0].ended() == -signal.SIGKILL
        until(lambda: "Tried again" in story.said(), story.said)
        story.parties[0].start()
        run = story.finished()
        attempts = checked(story, run)
        lost = [one for one in attempts if one.state == "abandoned"]
        assert lost
        assert lost[0].survivors is None
        with story.journal() as journal:
            for kind in ("confirm", "unmask"):
                assert journal.answers(lost[0].round, lost[0].attempt, kind) == []

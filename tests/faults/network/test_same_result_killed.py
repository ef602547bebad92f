"""The same plan and seed in simulation, between processes over TLS, and between processes killed: the same bits."""

from __future__ import annotations

import random
import time

import pytest
import torch

from tests.faults.network.checker import checked
from tests.faults.network.scene import scene, until

pytestmark = pytest.mark.timeout(240)
PARTIES = 5
NOISED = {"name": "UserLevel", "noise_multiplier": 0.5, "clip": 1.0, "delta": 0.01, "insecure_seed": 5}
"""Noise of a test key. It has no epsilon to keep to, which a run that is cut off again and again would spend."""
METHODS = {
    "noise": {"privacy": NOISED},
    "noise of their own": {"privacy": NOISED | {"mechanism": "skellam"}, "aggregation": {"protocol": "full"}},
    "memory": {"algorithm": {"name": "Scaffold"}},
    "compressed": {"compression": {"name": "Quantise", "bits": 8}, "rotation": {"name": "Rotate"}},
}


class Killer:
    """kill -9 of both sides at moments drawn from a seed: after so many more answers were sent, whoever sent them.

    Args:
        story: the scene, of which everybody is a process.
        seed: of the moments, and of who is killed.
        coordinators, parties: how many times each side is.
    """

    def __init__(self, story, seed, coordinators, parties):
        self.story, self.draw, self.killed = story, random.Random(seed), []
        self._todo = ["coordinator"] * coordinators + ["party"] * parties
        self.draw.shuffle(self._todo)

    def run(self):
        for what in self._todo:
            seen, more = self.sent(), self.draw.randrange(1, 30)
            until(lambda seen=seen, more=more: self.sent() >= seen + more or self.over, self.story.said)
            time.sleep(self.draw.uniform(0.0, 0.05))
            assert not self.over, f"the run was over before it was disturbed by all of {self._todo}"
            self.kill(what)

    @property
    def over(self):
        return not self.story.coordinator.alive

    def sent(self):
        """How many answers were taken, as participants know."""
        return sum(self.story.log(k).count('"sent"') for k in range(PARTIES))

    def kill(self, what):
        self.killed.append(what)
        if what == "coordinator":
            self.story.coordinator.kill()
            self.story.up()
            return
        party = self.draw.choice(self.story.parties)
        party.kill()
        party.start()


def begun(folder, rounds, sections):
    """Five participants, all of whom are needed, and a coordinator: each a process, with TLS between them."""
    network = {"attempts": 1000, "answer": 20.0, "patience": 30.0, "absence": 20.0}
    return scene(folder, PARTIES, rounds, at="127.0.0.1", **{"network": network} | sections)


def same(story, run, alone):
    """Holds a run against its simulation, and everybody's word against the journal's."""
    attempts = checked(story, run)
    assert set(run.tensors) == set(alone.tensors)
    assert {name for name in alone.tensors if not torch.equal(run.tensors[name], alone.tensors[name])} == set()
    assert [row["loss"] for row in run.rows] == [row["loss"] for row in alone.rows]
    assert [row["clients"] for row in run.rows] == [PARTIES] * len(alone.rows)
    assert all(story.ended(k).startswith("finished") for k in range(PARTIES)), story.said()
    return attempts


def started(story):
    """Starts everybody, after the simulation, which leaves what it compiled to them and which it returns."""
    alone = story.simulated()
    story.up()
    for party in story.parties:
        party.start()
    return alone


def test_five_processes_over_tls_end_with_the_model_of_the_simulation(tmp_path):
    """With secure sums, and noise of a test key; nobody is disturbed, and no round is tried twice."""
    with begun(tmp_path, 2, METHODS["noise"]) as story:
        alone = started(story)
        attempts = same(story, story.finished(), alone)
        assert [(one.round, one.attempt) for one in attempts] == [(0, 0), (1, 0)]


def disturbed(folder, seed, sections, coordinators, parties, rounds):
    with begun(folder, rounds, sections) as story:
        alone = started(story)
        killer = Killer(story, seed, coordinators, parties)
        try:
            killer.run()
            attempts = same(story, story.finished(120), alone)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, after {killer.killed}: {error}") from error
    assert all(one.reason for one in attempts if one.state == "abandoned")
    return attempts


def test_one_kill_of_either_side_changes_no_bit_of_it(tmp_path):
    """Rows 1, 10 and 13."""
    disturbed(tmp_path, 1, METHODS["noise"], 1, 1, 4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
@pytest.mark.parametrize("sections", METHODS.values(), ids=METHODS)
def test_many_kills_of_both_sides_at_random_moments_change_no_bit_of_it(sections, seed, tmp_path):
    """Rows 1, 10 and 13: aborted rounds are tried again with the same cohort."""
    attempts = disturbed(tmp_path, seed, sections, 4, 5, 14)
    assert any(one.state == "abandoned" for one in attempts), "no kill was in the middle of a round"

"""Who breaks the protocol of secure sums is found: a coordinator by participants, a participant by the coordinator."""

from __future__ import annotations

import pytest

from tacit.network.office import Kind
from tests.faults.network import cheats
from tests.faults.network.checker import checked
from tests.faults.network.scene import Actor, scene

pytestmark = [pytest.mark.timeout(200), pytest.mark.slow]
FAST = {"network": {"attempts": 6}}


def answers(story, attempt):
    """Who answered what in an attempt of the first round."""
    with story.journal() as journal:
        return {kind: {one.participant for one in journal.answers(0, attempt, kind)} for kind in Kind}


def by(story, actor):
    """Puts an actor in the place of the coordinator."""
    story.actors.append(actor)
    story.coordinator = actor
    return story


def test_a_coordinator_that_shows_two_rosters_gets_no_answer_that_unmasks(tmp_path):
    """Row 19: it carries on with both; everybody stops at the signatures of the others. The next attempt is honest."""
    sections = FAST | {"aggregation": {"minimum": 5, "dropout": 0.2}}
    with scene(tmp_path, 6, 1, vectors=True, **sections) as story:
        by(story, Actor(cheats.coordinate, story.spec, story.port, "two rosters")).up()
        story.crowd()
        run = story.finished()
        attempts = checked(story, run)
        assert [one.state for one in attempts] == ["abandoned", "published"]
        first = answers(story, 0)
        assert len(first[Kind.MASK]) == len(first[Kind.CONFIRM]) == 6  # so far nobody can know
        assert first[Kind.UNMASK] == set()
        for k in range(6):
            assert "ConsistencyError" in story.log(k)


def test_a_roster_with_other_keys_than_were_sent_is_refused_by_everybody(tmp_path):
    """Row 19: nobody shares its secrets; the next attempt is honest."""
    with scene(tmp_path, 4, 1, vectors=True, **FAST) as story:
        by(story, Actor(cheats.coordinate, story.spec, story.port, "a changed roster")).up()
        story.crowd()
        run = story.finished()
        attempts = checked(story, run)
        assert [one.state for one in attempts] == ["abandoned", "published"]
        assert answers(story, 0)[Kind.SHARE] == set()
        for k in range(4):
            assert "IdentityError" in story.log(k)


def cheating(story, how, times, who=(0,)):
    """Starts a run in which some participants cheat, in so many of their sessions."""
    story.up()
    for k in who:
        story.actors.append(Actor(cheats.join, story.spec, k, how, times).start())
    story.crowd([k for k in range(len(story.names)) if k not in who])


def test_who_shares_something_else_than_its_secret_is_named_and_the_next_attempt_is_right(tmp_path):
    """Row 19: what it shared fits what it committed to for each share, and not the masks of its report."""
    with scene(tmp_path, 4, 2, vectors=True, **FAST) as story:
        cheating(story, "another secret", times=1)
        run = story.finished()
        attempts = checked(story, run)
        assert [one.state for one in attempts] == ["abandoned", "published", "published"]
        assert f"{story.names[0]!r} shared something else than" in attempts[0].reason
        assert "nothing was revealed" in attempts[0].reason


def test_a_run_that_cannot_go_on_for_one_who_cheats_ends_with_its_name_and_without_a_model(tmp_path):
    """Row 19: in every attempt; all are needed."""
    with scene(tmp_path, 4, 1, vectors=True, network={"attempts": 3}) as story:
        cheating(story, "another secret", times=99)
        assert story.coordinator.ended() != 0
        assert f"{story.names[0]!r} shared something else than" in (tmp_path / "refused").read_text()
        assert [one.state for one in checked(story)] == ["abandoned"] * 3


@pytest.mark.parametrize("how", ["a wrong share", "a wrong answer"])
def test_a_share_that_is_not_what_its_owner_committed_to_is_left_out_and_the_sum_is_right(how, tmp_path):
    """Row 19: sealed for a neighbour, or sent to unmask; those of the others are enough."""
    with scene(tmp_path, 4, 2, vectors=True, **FAST) as story:
        cheating(story, how, times=99)
        run = story.finished()
        attempts = checked(story, run)
        assert [one.state for one in attempts] == ["published", "published"]
        assert [row["clients"] for row in run.rows] == [4, 4]


def test_of_too_few_right_shares_nothing_is_unmasked(tmp_path):
    """Row 19: two of four answer wrongly, once; the sum is not guessed, and the next attempt is right."""
    with scene(tmp_path, 4, 1, vectors=True, **FAST) as story:
        cheating(story, "a wrong answer", times=1, who=(0, 1))
        run = story.finished()
        attempts = checked(story, run)
        assert [one.state for one in attempts] == ["abandoned", "published"]
        assert "shares of the secret of" in attempts[0].reason

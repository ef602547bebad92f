"""kill -9 of the coordinator at the writes beside its rounds: who takes part, what the run is, why an answer lacks.

With those of `test_coordinator_killed` these are all points that there are; the first test says so.
"""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tacit.network import journal as journals
from tacit.network import operator_box
from tacit.network.http.link import Link, enrol
from tacit.network.identity.enrolment import Enrolment
from tacit.network.identity.invitation import hash_of
from tacit.network.identity.key import new_key
from tacit.network.journal import Journal, Standing, failpoint
from tacit.network.office import Code, Refused
from tests.faults.network import test_coordinator_killed as rounds
from tests.faults.network.checker import checked
from tests.faults.network.scene import FORK, scene, until

pytestmark = pytest.mark.timeout(120)
WRITES = ["add_token", "enrol", "revoke", "withdraw", "settle", "lost", "remember", "renew"]
LOSSY = {"aggregation": {"minimum": 3, "dropout": 0.3}, "network": {"absence": 3.0, "attempts": 50}}


def test_every_point_of_the_journal_is_one_at_which_these_tests_kill():
    """Rows 10 and 12: a write that is added without its two points being tried is found here."""
    known = {f"{name}.{when}" for name in WRITES for when in ("before", "after")}
    known |= {point.partition(":")[0] for point in [*rounds.BEFORE, *rounds.AFTER]}
    assert {f"{name}.{when}" for name in written() for when in ("before", "after")} == known


def written():
    """The names of all writes, as they stand in the sources."""
    found = set()
    for path in Path(journals.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            named = isinstance(call, ast.Call) and call.args and isinstance(call.args[0], ast.Constant)
            if named and getattr(call.func, "attr", getattr(call.func, "id", "")) in ("Write", "_later", "_now"):
                found.add(call.args[0].value)
    return found


def through(story, point, work):
    """What comes of work that is asked of a coordinator, which dies at a point of it and is started anew."""
    with ThreadPoolExecutor(1) as pool:
        story.up(crash=point)
        asked = pool.submit(work)
        assert story.coordinator.ended() == -signal.SIGKILL, f"{point} was never passed: {story.said()}"
        story.up()
        return asked.result(60)


def killed_again(story):
    """Once more, at no point in particular: what was said before the kill is on disk."""
    story.coordinator.kill()
    return story.up()


def known(story):
    """Who is enrolled, by name."""
    story.coordinator.kill()
    with story.journal() as journal:
        return {one.name: one for one in journal.participants()}


def uses(story, token):
    """How often a token can be used still, by a look at the file."""
    with sqlite3.connect(f"file:{story.run / 'journal.sqlite'}?mode=ro", uri=True) as database:
        digest = bytes.fromhex(hash_of(token))
        return [n for (n,) in database.execute("SELECT uses FROM tacit_tokens WHERE digest = ?", (digest,))]


def code_of(work):
    with pytest.raises(Refused) as refused:
        work()
    return refused.value.code


def comes(story, key, token, name="newcomer", patience=30.0):
    url = story.url(story.names[0])
    return asyncio.run(enrol(name, key, token, url=url, insecure=True, patience=patience))


def box_is_empty(story):
    return not list((story.run / operator_box.FOLDER).glob("*.json"))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_token_is_spent_once_by_an_enrolment_that_is_cut_off_and_asked_for_again(when, tmp_path):
    """Rows 9 and 10: the one who asks again gets what it would have got; nobody else gets anything."""
    with scene(tmp_path) as story:
        story.up()
        token = operator_box.invite(story.run).token
        until(lambda: box_is_empty(story), story.said)
        story.coordinator.kill()
        key, other = new_key(tmp_path / "one"), new_key(tmp_path / "other")
        first = through(story, f"enrol.{when}", lambda: comes(story, key, token))
        assert uses(story, token) == [0]
        for _ in range(2):
            assert comes(story, key, token) == first
            assert code_of(lambda: comes(story, other, token, "second")) is Code.FORBIDDEN
            assert code_of(lambda: comes(story, other, token)) is Code.FORBIDDEN
            killed_again(story)
        assert uses(story, token) == [0]
        found = known(story)
        assert sorted(found) == sorted([*story.names, "newcomer"])
        assert found["newcomer"].key == key.public_key().public_bytes_raw()


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_invitation_works_once_when_the_coordinator_dies_as_it_learns_of_it(when, tmp_path):
    """Row 9: the wish lies in the operator's box until it is done, and is done once."""
    with scene(tmp_path) as story:
        story.up()
        story.coordinator.kill()
        token = through(story, f"add_token.{when}", lambda: operator_box.invite(story.run)).token
        assert box_is_empty(story)
        assert uses(story, token) == [1]
        key = new_key(tmp_path / "one")
        assert comes(story, key, token) == comes(story, key, token)
        assert code_of(lambda: comes(story, new_key(tmp_path / "other"), token, "second")) is Code.FORBIDDEN
        assert uses(story, token) == [0]


def leaves(story, k):
    """A participant withdraws."""
    place = story.folder / "parties" / story.names[k]
    identity = Enrolment.read(place).identity(place)

    async def withdraw():
        async with Link(identity, url=story.url(story.names[k]), insecure=True, patience=30.0) as link:
            return await link.withdraw()

    return asyncio.run(withdraw())


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_who_was_sent_away_stays_away_when_the_coordinator_dies_as_it_writes_that(when, tmp_path):
    """Row 8 (I6): by the operator's word, which is not lost; with the first reason."""
    with scene(tmp_path) as story:
        story.up()
        story.coordinator.kill()
        through(story, f"revoke.{when}", lambda: operator_box.revoke(story.run, story.names[0], "its key was stolen"))
        assert box_is_empty(story)
        for _ in range(2):
            assert code_of(lambda: leaves(story, 0)) is Code.REVOKED
            operator_box.revoke(story.run, story.names[0], "another reason")
            until(lambda: box_is_empty(story), story.said)
            killed_again(story)
        found = known(story)
        assert (found[story.names[0]].state, found[story.names[0]].reason) == (Standing.REVOKED, "its key was stolen")
        assert [one.state for name, one in found.items() if name != story.names[0]] == [Standing.ACTIVE] * 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_who_withdraws_has_left_for_good_when_the_coordinator_dies_as_it_writes_that(when, tmp_path):
    """Row 8 (I6): before the write it is asked again, and answered; after it, it has left, and cannot leave twice."""
    with scene(tmp_path) as story:
        if when == "before":
            assert through(story, "withdraw.before", lambda: leaves(story, 0)).counted == 0
        else:
            assert through(story, "withdraw.after", lambda: code_of(lambda: leaves(story, 0))) is Code.REVOKED
        for _ in range(2):
            assert code_of(lambda: leaves(story, 0)) is Code.REVOKED
            killed_again(story)
        found = known(story)
        assert found[story.names[0]].state is Standing.WITHDRAWN
        assert [one.state for name, one in found.items() if name != story.names[0]] == [Standing.ACTIVE] * 3


def facts(story):
    """What the run is, as far as that is settled, by a look at the file."""
    with sqlite3.connect(f"file:{story.run / 'journal.sqlite'}?mode=ro", uri=True) as database:
        return dict(database.execute("SELECT key, value FROM tacit_facts"))


@pytest.mark.slow
def test_what_a_run_is_stays_as_it_was_settled_wherever_the_coordinator_dies(tmp_path):
    """Row 10: its name, its terms and its roster, each cut off before and after it was written."""
    with scene(tmp_path, rounds=2) as story:
        story.crowd()
        settled = {}
        for number, name in enumerate(["run", "terms", "roster"], 1):
            for when in ("before", "after"):
                story.started(crash=f"settle.{when}:{number}")
                assert story.coordinator.ended() == -signal.SIGKILL, story.said()
                found = facts(story)
                assert (name in found) is (when == "after")
                assert settled.items() <= found.items()
                settled = found
        run = story.up().finished()
        checked(story, run)
        assert facts(story) == settled
        alone = story.simulated()
        assert all(torch.equal(run.tensors[name], alone.tensors[name]) for name in alone.tensors)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_why_an_answer_is_missing_is_written_or_not_and_the_round_is_made_anew(when, tmp_path):
    """Rows 1 and 10: one participant dies, and the coordinator as it writes down that it did."""
    with scene(tmp_path, 5, 3, vectors=True, **LOSSY) as story:
        story.started(crash=f"lost.{when}")
        story.crowd([1, 2, 3, 4])
        story.parties[0].start(die=("mask", "before", 1))
        assert story.coordinator.ended() == -signal.SIGKILL, story.said()
        with story.journal() as journal:
            lost = [one.participant for one in journal.losses(0, 0)]
        assert lost == [story.names[0]] * (when == "after")
        run = story.up().finished()
        attempts = checked(story, run)
        assert attempts[0].state == "abandoned"
        assert "started anew" in attempts[0].reason
        with story.journal() as journal:
            assert [one.participant for one in journal.losses(0, 0)] == lost


def writing(place, point):
    """A coordinator's journal, written until it dies."""
    with Journal.open(place, holder="one life", lease_seconds=600.0) as journal:
        journal.remember("colour", "green")
        os.environ[failpoint.VARIABLE] = point
        failpoint.arm()
        journal.remember("colour", "blue") if point.startswith("remember") else journal.renew()


@pytest.mark.parametrize("point", ["remember.before", "remember.after", "renew.before", "renew.after"])
def test_the_next_holder_finds_a_fact_old_or_new_and_the_lease_free(point, tmp_path):
    """Rows 10 and 22: also where the lease would have held for ten more minutes."""
    place = tmp_path / "journal.sqlite"
    process = FORK.Process(target=writing, args=(place, point))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with Journal.open(place, holder="the next life") as journal:
        assert journal.epoch == 2
        assert journal.recall("colour") == ("blue" if point == "remember.after" else "green")
        journal.renew()
        journal.verify()

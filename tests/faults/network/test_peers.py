"""Participants that lie, repeat themselves, are somebody else or of another version: refused, to nobody's harm."""

from __future__ import annotations

import asyncio
import secrets
from types import SimpleNamespace

import pytest

from tacit.network import operator_box
from tacit.network.http.link import Link, enrol
from tacit.network.identity.enrolment import Enrolment
from tacit.network.identity.key import new_key
from tacit.network.office import CheckIn, Code, Refused
from tacit.network.wire import encode
from tests.faults.network.checker import checked
from tests.faults.network.scene import scene, until
from tests.network.http.serving import Someone, head, sent, written

pytestmark = pytest.mark.timeout(120)
LOSSY = {"aggregation": {"minimum": 3, "dropout": 0.3}, "network": {"absence": 3.0, "attempts": 50}}


def code_of(work):
    """Why something is refused."""
    with pytest.raises(Refused) as refused:
        asyncio.run(work)
    return refused.value.code


@pytest.mark.parametrize("secure", [True, False], ids=["secure", "plain"])
def test_wrong_answers_are_refused_and_the_right_one_is_counted_once(secure, tmp_path):
    """Rows 4 and 6: torn, longer, far too long, NaN, noise; for nobody; twice; twice with other bytes."""
    with scene(tmp_path, 4, 2, vectors=True, secure=secure) as story:
        story.up()
        story.crowd([1, 2, 3])
        story.parties[0].start(mischief=True)
        run = story.finished()
        checked(story, run)
        told = dict.fromkeys((tmp_path / "mischief").read_text().splitlines())
        said = {line.partition(": ")[0]: set() for line in told}
        for line in told:
            said[line.partition(": ")[0]].add(line.partition(": ")[2])
        assert said["the same"] == {"again True"}
        assert said["another"] == {"conflict"}
        assert said["of nobody"] == {"unknown"}
        assert said["huge"] == {"too_large"}
        for what in ("nothing", "torn", "NaN", "longer"):
            assert said[what] <= {"malformed", "too_large"}, said
        assert [row["clients"] for row in run.rows] == [4, 4]


def test_a_report_beyond_the_range_is_left_out_by_its_own_client(tmp_path):
    """Row 23: a poisoned update cannot be hidden in a secure sum; the run goes on without it."""
    with scene(tmp_path, 5, 2, vectors=True, **LOSSY) as story:
        story.up()
        story.crowd([1, 2, 3, 4])
        story.parties[0].start(amount=1e6)
        run = story.finished()
        attempts = checked(story, run)
        assert all(story.names[0] not in one.facts["counted"] for one in attempts if one.state == "published")


def test_a_pool_of_two_versions_of_the_protocol_works_together(tmp_path):
    """Row 7: in the middle of an upgrade; a version that nobody speaks any more is told so."""
    with scene(tmp_path, 4, 2, vectors=True) as story:
        story.up(versions=("2", "1"))
        story.crowd([1, 2, 3])
        story.parties[0].start(versions=("3", "2"))
        place = tmp_path / "parties" / story.names[0]
        identity = Enrolment.read(place).identity(place)

        async def older():
            async with Link(
                identity, url=story.url(story.names[0]), insecure=True, versions=("0",), patience=2.0
            ) as link:
                await link.check_in(CheckIn("0" * 32))

        assert code_of(older()) is Code.UPGRADE
        checked(story, story.finished())


def test_requests_that_were_recorded_or_forged_are_refused_also_after_kill_9(tmp_path):
    """Row 8: nonces survive; a name does not help without its key, nor a signature for another path."""
    with scene(tmp_path, 4, 2, vectors=True) as story:
        story.up()
        place = tmp_path / "parties" / story.names[0]
        identity = Enrolment.read(place).identity(place)
        server = SimpleNamespace(address=("127.0.0.1", story.port))
        body = encode(CheckIn("0" * 32))
        headers = head(identity, "POST", "/v1/check-in", body)
        recorded = written("POST", "/v1/check-in", headers, body)
        elsewhere = written("POST", "/v1/withdraw", headers, body)
        forged = written("POST", "/v1/check-in", head(Someone(story.names[0]), "POST", "/v1/check-in", body), body)
        stranger = written("POST", "/v1/check-in", head(Someone("stranger"), "POST", "/v1/check-in", body), body)
        assert asyncio.run(sent(server, recorded)).status == 200
        for _ in range(2):
            for request in (recorded, elsewhere, forged, stranger):
                assert asyncio.run(sent(server, request)).status == 401
            story.coordinator.kill()
            story.up()
        story.crowd()
        checked(story, story.finished())


def test_a_revoked_participant_stays_out_whatever_happens(tmp_path):
    """Row 8 (I6): sent away in the middle of the run, and still after kill -9 of the coordinator and of itself."""
    with scene(tmp_path, 5, 12, vectors=True, **LOSSY) as story:
        story.up()
        story.crowd([1, 2, 3, 4], seconds=0.25)
        party = story.parties[0].start()
        until(lambda: "counted" in story.log(0), story.said)
        operator_box.revoke(story.run, story.names[0], "its key was stolen")
        until(lambda: story.ended(0).startswith("withdrawn"), story.said)
        assert party.ended() == 0
        story.coordinator.kill()
        story.up()
        (tmp_path / f"{story.names[0]}.ended").unlink()
        party.start()
        until(lambda: story.ended(0).startswith("withdrawn"), story.said)
        run = story.finished()
        last = [one for one in checked(story, run) if one.state == "published"][-1]
        assert story.names[0] not in last.cohort


def test_a_token_takes_in_one_participant_and_cannot_be_guessed(tmp_path):
    """Row 9: reuse is refused, asking again with the same key is not, and guesses are slowed down."""
    with scene(tmp_path, 4, 2, vectors=True) as story:
        story.up()
        token = operator_box.invite(story.run, note="a test").token
        until(lambda: not list((story.run / operator_box.FOLDER).glob("*.json")), story.said)
        url, key, other = story.url(story.names[0]), new_key(tmp_path / "one"), new_key(tmp_path / "other")
        for _ in range(2):
            assert asyncio.run(enrol("newcomer", key, token, url=url, insecure=True)).name == "newcomer"
        assert code_of(enrol("second", other, token, url=url, insecure=True)) is Code.FORBIDDEN

        async def guess():
            while True:
                try:
                    await enrol("guest", other, secrets.token_hex(16), url=url, insecure=True, patience=0.0)
                except Refused as refused:
                    if refused.code is not Code.FORBIDDEN:
                        return refused.code

        async def many():
            return await asyncio.gather(*(guess() for _ in range(8)))

        assert set(asyncio.run(many())) == {Code.TOO_MANY}
        story.crowd()
        checked(story, story.finished())

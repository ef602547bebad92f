"""Approvals: signatures over the terms of one run, made by one participant, for a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import DamagedFile, UsageError
from tacit.network.consent.approvals import Approvals, holds, statement
from tests.network.consent.asked import identity, terms

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)


@pytest.fixture(scope="module")
def asked():
    return terms()


@pytest.fixture
def approvals(tmp_path):
    return Approvals(tmp_path / "approvals.jsonl", identity().key)


def test_the_coordinator_makes_the_signed_bytes_itself():
    assert statement("ward-1", "ab" * 32) == b"tacit approval 1\n" + b"\xab" * 32 + b"\x00\x06ward-1"


def test_an_approval_holds_for_these_terms_this_name_and_this_key_alone(approvals, asked):
    me, other = identity(), identity("ward-2", seed=2)
    wire = approvals.approve(asked, me, until=LATER, now=NOW).wire
    assert len(wire) == 64
    assert holds(me.key, "ward-1", asked.hash, wire)
    assert not holds(me.key, "ward-1", terms(run="cd" * 16).hash, wire)
    assert not holds(me.key, "ward-1", terms(rounds=11).hash, wire)
    assert not holds(me.key, "ward-2", asked.hash, wire)
    assert not holds(other.key, "ward-1", asked.hash, wire)
    assert not holds(me.key, "ward-1", asked.hash, wire[:-1])
    assert not holds(me.key, "ward-1", asked.hash, b"")
    assert not holds(me.key, "ward-1", "no hash", wire)
    assert not holds(b"short", "ward-1", asked.hash, wire)


@given(place=st.integers(0, 511))
def test_no_bit_of_an_approval_can_be_changed(place):
    me, hash = identity(), "ab" * 32
    wire = bytearray(me.sign(statement("ward-1", hash)))
    assert holds(me.key, "ward-1", hash, bytes(wire))
    wire[place // 8] ^= 1 << place % 8
    assert not holds(me.key, "ward-1", hash, bytes(wire))


@given(first=st.text(min_size=1, max_size=20), second=st.text(min_size=1, max_size=20))
def test_two_names_never_sign_the_same_bytes(first, second):
    same = statement(first, "ab" * 32) == statement(second, "ab" * 32)
    assert same == (first == second)


@pytest.mark.parametrize(
    ("name", "hash"), [("", "ab" * 32), ("a", "AB" * 32), ("a", "ab" * 31), ("x" * 70_000, "ab" * 32)]
)
def test_what_names_no_terms_is_refused(name, hash):
    with pytest.raises(UsageError, match="no approval can be of"):
        statement(name, hash)


def test_an_approval_ends_at_the_very_second_that_it_says(approvals, asked):
    decision = approvals.approve(asked, identity(), until=LATER, now=NOW)
    assert decision.in_force(NOW)
    assert decision.in_force(LATER - timedelta(microseconds=1))
    assert not decision.in_force(LATER)
    assert not decision.in_force(LATER + timedelta(days=1))
    assert decision.in_force(LATER.astimezone(timezone(timedelta(hours=9))) - timedelta(seconds=1))


def test_an_approval_must_end_after_it_begins(approvals, asked):
    with pytest.raises(UsageError, match="give a later time"):
        approvals.approve(asked, identity(), until=NOW, now=NOW)
    assert approvals.all() == []


def test_decisions_survive_and_are_found_by_the_terms(approvals, asked, tmp_path):
    other = terms(rounds=11)
    made = approvals.approve(asked, identity(), until=LATER, now=NOW)
    approvals.approve(other, identity(), until=LATER, now=NOW)
    again = Approvals(tmp_path / "approvals.jsonl", identity().key)
    assert again.find(asked.hash) == made
    assert again.in_force(asked.hash, LATER - timedelta(seconds=1)) == made
    assert again.in_force(asked.hash, LATER) is None
    assert again.in_force("ef" * 32, NOW) is None
    assert again.find("ef" * 32) is None


def test_a_refusal_ends_an_approval_and_a_later_approval_a_refusal(approvals, asked):
    approvals.approve(asked, identity(), until=LATER, now=NOW)
    refused = approvals.refuse(asked, identity(), why="not decided", now=NOW)
    assert approvals.find(asked.hash) == refused
    assert approvals.in_force(asked.hash, NOW) is None
    assert not refused.in_force(NOW)
    assert (refused.wire, refused.why) == (b"", "not decided")
    approvals.approve(asked, identity(), until=LATER, now=NOW)
    assert approvals.find(asked.hash).in_force(NOW)
    assert len(approvals.all()) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"until": "2099-01-01T00:00:00+00:00"},
        {"decision": "approved"},
        {"terms": "00" * 32},
        {"name": "ward-2"},
        {"signature": "00" * 64},
        {"signature": "no hexadecimal"},
        {"more": "x"},
        {"why": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_lines_that_this_participant_did_not_sign_are_refused(approvals, asked, change):
    approvals.approve(asked, identity(), until=LATER, now=NOW)
    approvals.refuse(asked, identity(), now=NOW)
    first, second = approvals.path.read_bytes().splitlines()
    values = json.loads(second) | change
    text = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    approvals.path.write_bytes(first + b"\n" + text + b"\n")
    with pytest.raises(DamagedFile, match=r"line 2 of .* is not as this participant signed it"):
        approvals.find(asked.hash)


def test_decisions_of_another_key_are_refused(approvals, asked, tmp_path):
    approvals.approve(asked, identity(), until=LATER, now=NOW)
    with pytest.raises(DamagedFile, match="line 1"):
        Approvals(tmp_path / "approvals.jsonl", identity(seed=2).key).all()
    with pytest.raises(UsageError, match="another key"):
        approvals.refuse(asked, identity("ward-2", seed=2), now=NOW)


def test_a_decision_that_was_never_finished_was_never_made(approvals, asked):
    approvals.approve(asked, identity(), until=LATER, now=NOW)
    whole = approvals.path.read_bytes()
    approvals.path.write_bytes(whole[:-10])
    assert approvals.find(asked.hash) is None
    made = approvals.approve(asked, identity(), until=LATER, now=NOW)
    assert approvals.all() == [made]

"""A client among servers and peers that lie: the boxes, the vector and the steps that it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.aggregation.secure.messages import (
    Unmask,
)
from tacit.errors import (
    InsufficientSurvivors,
    MalformedMessage,
    OutOfRange,
    ShareVerifyError,
    StaleMessage,
    TacitError,
    UnmaskPolicyError,
    UsageError,
)
from tests.aggregation.secure.play import (
    Play,
    assert_refused,
    flipped,
    forgotten,
    inboxes,
)

# Shares: the inbox


def test_boxes_that_were_swapped_or_flipped_are_complaints_and_the_session_goes_on():
    play = Play(7).advertise().share()
    first, second = (inboxes(play)[name] for name in play.names[:2])
    boxes = list(first.boxes)
    boxes[3] = second.boxes[3]  # for somebody else
    boxes[4] = (4, flipped(boxes[4][1], 20), boxes[4][2])
    play.inboxes["c000"] = replace(first, boxes=tuple(boxes)).encode(7)
    play.mask(without=["c004"]).confirm().unmask()
    complaints = [str(error) for error in play[0].complaints]
    assert len(complaints) == 2
    assert "'c003'" in complaints[0]
    assert "'c004'" in complaints[1]
    assert [owner for owner, _ in Unmask.decode(play.answers["c000"]).shares] == [0, 1, 2, 5, 6]
    assert play.total().tolist() == play.plain().tolist()
    assert not any(play[i].complaints for i in range(1, 7))


@pytest.mark.parametrize("wrong", [(0,), (1,), (0, 1)], ids=["seed", "key", "both"])
def test_a_box_of_other_shares_than_its_owner_committed_to_is_a_complaint_and_is_not_held(wrong):
    play = Play(7).advertise().share()
    inbox = inboxes(play)["c000"]
    owner, box, proofs = inbox.boxes[3]
    changed = tuple(flipped(proof, 5) if kind in wrong else proof for kind, proof in enumerate(proofs))
    boxes = (*inbox.boxes[:3], (owner, box, changed), *inbox.boxes[4:])
    play.inboxes["c000"] = replace(inbox, boxes=boxes).encode(7)
    play.mask().confirm().unmask()
    (complaint,) = play[0].complaints
    assert isinstance(complaint, ShareVerifyError)
    assert "'c003' sealed other shares" in str(complaint)
    assert [owner for owner, _ in Unmask.decode(play.answers["c000"]).shares] == [0, 1, 2, 4, 5, 6]
    assert play.server.blamed == []
    assert play.total().tolist() == play.plain().tolist()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        (lambda i: replace(i, session=b"o" * 32), StaleMessage, "another session"),
        (lambda i: replace(i, sharing=(1, 2, 3, 4), boxes=i.boxes[1:]), UnmaskPolicyError, "not among those"),
        (lambda i: replace(i, sharing=(0, 1), boxes=i.boxes[:2]), InsufficientSurvivors, "2 clients were left, 3"),
        (lambda i: replace(i, sharing=(0, 1, 2), boxes=i.boxes[:3]), InsufficientSurvivors, "3 neighbours of 'c000'"),
        (lambda i: replace(i, boxes=i.boxes[1:]), MalformedMessage, "not of the neighbours"),
        (lambda i: replace(i, boxes=(*i.boxes, i.boxes[-1])), MalformedMessage, "not of the neighbours"),
        (lambda i: replace(i, boxes=i.boxes[::-1]), MalformedMessage, "not of the neighbours"),
        (lambda i: replace(i, sharing=(0, 1, 2, 3)), MalformedMessage, "not of the neighbours"),
        (lambda i: replace(i, boxes=(*i.boxes[:-1], (9, *i.boxes[-1][1:]))), MalformedMessage, "not of the neighbours"),
    ],
    ids=["replayed", "without it", "too few", "few near", "missing", "twice", "order", "of a non-sharer", "stranger"],
)
def test_an_inbox_that_is_not_as_it_must_be_is_refused(change, error, match):
    play = Play(5).advertise().share()
    inbox = change(inboxes(play)["c000"]).encode(5)
    assert_refused(play[0], error, play[0].mask, inbox, play.vectors["c000"], match=match)


def test_the_inbox_of_another_client_is_of_no_use():
    play = Play(5).advertise().share()
    play[0].mask(play.inboxes["c001"], play.vectors["c000"])
    assert len(play[0].complaints) == 5
    assert not play[0]._held


# The vector


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(7, np.int32),
        np.zeros(9, np.int32),
        np.zeros((8, 1), np.int32),
        np.zeros(8, np.float32),
        np.full(8, np.nan),
        np.zeros(8, bool),
        np.full(8, 2**31, np.int64),
        np.full(8, -(2**31) - 1, np.int64),
        np.full(8, 2**32 - 1, np.uint32),
        np.array([0] * 8, dtype=object),
        [0.0] * 8,
        [0, 1, 2, 3, 4, 5, 6, 2**31],
        0,
    ],
    ids=[
        *("short", "long", "matrix", "float", "nan", "truth", "large", "small", "unsigned", "object"),
        *("list of floats", "list", "number"),
    ],
)
def test_a_vector_that_does_not_fit_is_refused_and_never_cut(vector):
    play = Play(5).advertise().share()
    assert_refused(play[0], OutOfRange, play[0].mask, play.inboxes["c000"], vector)


def test_a_vector_of_64_bits_may_use_them_all_and_not_one_more():
    play = Play(4, bits=64).advertise().share()
    assert_refused(play[0], OutOfRange, play[0].mask, play.inboxes["c000"], np.full(8, 2**63, np.uint64))
    play[1].mask(play.inboxes["c001"], np.array([-(2**63), 2**63 - 1] * 4))


def test_the_vector_of_the_caller_is_not_changed():
    play = Play(4).advertise().share()
    before = play.vectors["c000"].copy()
    play.mask()
    assert (play.vectors["c000"] == before).all()


# Steps


def test_a_client_answers_each_step_once_and_in_order():
    play = Play(4).advertise()
    with pytest.raises(StaleMessage, match="is asked to mask, and is at share"):
        play[0].mask(b"", np.zeros(8, np.int32))
    with pytest.raises(StaleMessage):
        play[0].advertise()
    play.share()
    with pytest.raises(StaleMessage):
        play[0].share(play.roster)
    play.mask()
    with pytest.raises(StaleMessage):
        play[0].mask(play.inboxes["c000"], play.vectors["c000"])
    with pytest.raises(StaleMessage):
        play[0].unmask(play.survivors)
    assert play.confirm().unmask().total().tolist() == play.plain().tolist()


def test_a_session_without_identities_has_nothing_to_confirm():
    play = Play(4, signed=False).advertise().share().mask()
    with pytest.raises(UsageError, match="unmask at once"):
        play[0].confirm(play.survivors)
    assert forgotten(play[0])


@pytest.mark.parametrize("after", ["advertise", "share", "mask", "confirm", "unmask"])
def test_an_aborted_client_has_forgotten_everything(after):
    play = Play(4)
    for step in ("advertise", "share", "mask", "confirm", "unmask"):
        getattr(play, step)()
        if step == after:
            break
    play[0].abort()
    assert forgotten(play[0])
    assert not (play[0]._answer or play[0]._asked)
    with pytest.raises(StaleMessage):
        play[0].unmask(getattr(play, "asked", {}).get("c000", b""))


def test_secrets_are_forgotten_as_soon_as_they_are_not_needed():
    play = Play(4).advertise().share().mask()
    assert not (play[0]._seal_secret or play[0]._mask_secret or play[0]._seed or play[0]._agreed)
    assert play[0]._held
    play.confirm().unmask()
    assert forgotten(play[0])


@settings(max_examples=60)
@given(st.sampled_from(["share", "mask", "confirm", "unmask"]), st.data())
def test_whatever_bytes_come_a_client_answers_or_refuses_and_breaks_no_other_way(step, data):
    play = Play(3)
    said = {"share": "roster", "mask": "inboxes", "confirm": "survivors", "unmask": "asked"}[step]
    for before in ("advertise", "share", "mask", "confirm"):
        if before == step:
            break
        getattr(play, before)()
    good = getattr(play, said)
    good = bytearray(good["c000"] if isinstance(good, dict) else good)
    for at, byte in data.draw(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=3)):
        good[at % len(good)] = byte
    arguments = [play.vectors["c000"]] if step == "mask" else []
    try:
        getattr(play[0], step)(bytes(good), *arguments)
    except TacitError:
        assert forgotten(play[0])

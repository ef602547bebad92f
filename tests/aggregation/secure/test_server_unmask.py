"""A server rebuilds secrets from the shares of clients that lie: the sum is right, or there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.aggregation.secure import keys, shamir
from tacit.aggregation.secure.messages import Masked, Shares, Unmask
from tacit.errors import (
    DuplicateConflict,
    InsufficientSurvivors,
    MalformedMessage,
    ShareVerifyError,
    StaleMessage,
    TacitError,
)
from tests.aggregation.secure.play import Play, flipped


def answered(play, name, change):
    """The answer of a client with its shares changed."""
    found = Unmask.decode(play.clients[name].unmask(play.asked[name]))
    return replace(found, shares=tuple(change(list(found.shares)))).encode()


def test_a_share_that_was_changed_is_left_out_and_its_sender_blamed():
    play = Play(7).advertise().share().mask(without=["c006"]).confirm()
    bad = answered(play, "c000", lambda shares: [(o, flipped(s, 30) if o in (2, 6) else s) for o, s in shares])
    play.unmask(without=["c000"])
    play.server.take_unmask("c000", bad)
    assert play.total().tolist() == play.plain().tolist()
    assert set(play.server.blamed) == {"c000"}


def test_the_other_share_of_a_client_is_of_no_use_in_its_place():
    """A peer that sends a share of the key of a survivor, to reveal it: the server does not even keep it."""
    play = Play(7).advertise().share().mask()
    of_key = play[0]._held[3][1]
    play.confirm()
    bad = answered(play, "c000", lambda shares: [(o, of_key if o == 3 else s) for o, s in shares])
    play.unmask(without=["c000"])
    play.server.take_unmask("c000", bad)
    assert play.server.blamed == ["c000"]
    assert of_key not in play.server._collected[3].values()
    assert play.total().tolist() == play.plain().tolist()


@pytest.mark.parametrize("count", [2, 3], ids=["as many as may be bad", "one more"])
def test_the_session_goes_on_while_there_are_as_many_good_shares_as_the_threshold(count):
    play = Play(7).advertise().share().mask().confirm()
    liars = play.names[:count]
    bad = {n: answered(play, n, lambda shares: [(o, bytes(33) if o == 5 else s) for o, s in shares]) for n in liars}
    play.unmask(without=liars)
    for name, data in bad.items():
        play.server.take_unmask(name, data)
    assert play.server.blamed == liars
    if count == 2:
        assert play.total().tolist() == play.plain().tolist()
    else:
        with pytest.raises(InsufficientSurvivors, match="4 shares of the secret of 'c005' were left, 5 are needed"):
            play.total()
        assert play.server._sum.size == 0


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda shares: [*shares, shares[-1]], MalformedMessage),
        (lambda shares: shares[::-1], MalformedMessage),
        (lambda shares: [*shares, (9, bytes(33))], MalformedMessage),
    ],
    ids=["of one owner twice", "out of order", "of a stranger"],
)
def test_an_answer_that_is_not_as_it_must_be_is_refused(change, error):
    play = Play(5).advertise().share().mask().confirm()
    bad = answered(play, "c000", change)
    play.unmask(without=["c000"])
    with pytest.raises(error):
        play.server.take_unmask("c000", bad)
    assert play.total().tolist() == play.plain().tolist()
    assert play.server.answering == (1, 2, 3, 4)


def test_an_answer_for_other_survivors_is_refused():
    play = Play(5).advertise().share().mask().confirm().unmask(without=["c000"])
    found = Unmask.decode(play[0].unmask(play.asked["c000"]))
    with pytest.raises(StaleMessage, match="other survivors"):
        play.server.take_unmask("c000", replace(found, survivors=b"o" * 32).encode())


def test_an_owner_that_commits_to_another_seed_is_named():
    play = Play(5).advertise()
    found = Shares.decode(play[2].share(play.roster))
    other = keys.commitment(play.server.members.session, 2, b"x" * 32)
    play.server.take_shares("c002", replace(found, commitment=other).encode())
    wrong = play.clients.pop("c002")
    del play.adverts["c002"]
    play.share()
    play.clients["c002"] = wrong
    play.mask().confirm().unmask()
    with pytest.raises(ShareVerifyError, match="'c002' shared something else than the seed") as caught:
        play.total()
    assert "nothing was revealed" in str(caught.value)
    assert play.server._sum.size == 0


def test_an_owner_that_shares_another_key_is_named_when_it_is_lost():
    play = Play(6).advertise()
    right, play[2]._mask_secret = play[2]._mask_secret, b"x" * 32
    play.share()
    play[2]._mask_secret = right
    play.mask(without=["c002"]).confirm().unmask()
    with pytest.raises(ShareVerifyError, match="'c002' shared something else than the key of its masks"):
        play.total()


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "in the sum"])
def test_an_owner_whose_shares_are_no_numbers_of_the_field_is_named(lost, monkeypatch):
    """Its holders hold what it committed to: that it cannot be combined is its own doing, and not theirs."""
    play = Play(6).advertise()
    with monkeypatch.context() as changed:
        changed.setattr(shamir, "split", lambda secret, t, points, draw: [b"\xff" * 33 for _ in points])
        data = play[2].share(play.roster)
    play.server.take_shares("c002", data)
    wrong = play.clients.pop("c002")
    del play.adverts["c002"]
    play.share()
    play.clients["c002"] = wrong
    play.mask(without=["c002"] if lost else []).confirm().unmask()
    with pytest.raises(ShareVerifyError, match="'c002' shared something else"):
        play.total()
    assert play.server.blamed == []


@pytest.mark.parametrize("count", [2, 3, 6], ids=["as many as may be", "one more", "all others"])
def test_an_owner_that_seals_other_shares_than_it_commits_to_is_named_and_its_holders_are_not_blamed(
    count, monkeypatch
):
    """They see it as they open its boxes, and keep nothing: the sum is lost only where t good shares are not left."""
    play = Play(7).advertise()
    with monkeypatch.context() as changed:
        right = keys.share_commitment
        changed.setattr(
            keys,
            "share_commitment",
            lambda session, owner, holder, kind, share: (
                bytes(16) if holder < count else right(session, owner, holder, kind, share)
            ),
        )
        play.server.take_shares("c006", play[6].share(play.roster))
    wrong = play.clients.pop("c006")
    del play.adverts["c006"]
    play.share()
    play.clients["c006"] = wrong
    play.mask().confirm().unmask()
    for index, client in enumerate(play.clients.values()):
        assert [type(error) for error in client.complaints] == [ShareVerifyError] * (index < count)
        assert all("'c006' sealed other shares" in str(error) for error in client.complaints)
    assert play.server.blamed == []
    if 7 - count >= play.server.members.degree.threshold:
        assert play.total().tolist() == play.plain().tolist()
    else:
        with pytest.raises(InsufficientSurvivors, match=f"{7 - count} shares of the secret of 'c006' were left"):
            play.total()


def test_on_a_sparse_graph_a_share_of_somebody_who_is_no_neighbour_is_refused():
    play = Play(102, signed=False, corrupt=0.05, dropout=0.05).advertise().share().mask().confirm()
    stranger = next(j for j in range(102) if j not in play.server.members.holders(0))
    bad = answered(play, "c000", lambda shares: sorted([*shares, (stranger, bytes(33))]))
    with pytest.raises(MalformedMessage, match="not its neighbours"):
        play.server.take_unmask("c000", bad)
    assert play.unmask(without=["c000"]).total().tolist() == play.plain().tolist()


# Whatever comes


@settings(max_examples=80)
@given(
    take=st.sampled_from(["advertise", "shares", "masked", "confirm", "unmask"]),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_whatever_bytes_a_client_sends_the_sum_is_that_of_the_vectors_or_there_is_none(take, edits):
    """A client sends changed bytes before the right ones. If they are taken they count, and the right ones do not."""
    play, sent = Play(5), {}
    honest = getattr(play.server, f"take_{take}")

    def twice(name, data):
        if name != "c004":
            return honest(name, data)
        changed = bytearray(data)
        for at, byte in edits:
            changed[at % len(changed)] = byte
        sent["right"] = data
        try:
            honest(name, bytes(changed))
        except TacitError:
            return honest(name, data)
        sent["taken"] = bytes(changed)
        if changed != data:
            with pytest.raises(DuplicateConflict):
                honest(name, data)
        return None

    setattr(play.server, f"take_{take}", twice)
    play.advertise().share().mask().confirm().unmask()
    if take in ("advertise", "confirm"):  # what is signed cannot be changed
        assert sent.get("taken", sent["right"]) == sent["right"]
    expected = play.plain()
    if "taken" in sent and take == "masked":  # the client's own words, changed by the client
        taken, right = (Masked.decode(sent[which], 8, 32).words for which in ("taken", "right"))
        expected = (expected.astype(np.uint32) + taken - right).view(np.int32)
    try:
        assert play.total().tolist() == expected.tolist()
    except (ShareVerifyError, InsufficientSurvivors):
        assert take == "shares"  # the owner's own commitments and boxes, spoiled by the owner

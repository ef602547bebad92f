"""A server among clients that lie, are late, or say things twice: it keeps the session going, and says who it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tacit.aggregation.secure import keys
from tacit.aggregation.secure.identity import Authority, Certificate
from tacit.aggregation.secure.messages import Advertise, Confirm, Masked, Shares, Unmask, statement
from tacit.aggregation.secure.server import Phase, Server
from tacit.errors import (
    ConsistencyError,
    DuplicateConflict,
    IdentityError,
    InsufficientSurvivors,
    MalformedMessage,
    StaleMessage,
)
from tests.aggregation.secure.play import LOW_ORDER, Play, flipped, stream

FORGER = Authority(stream(b"forger"))


# Keys


def signed(play, message):
    return replace(message, signature=play.identities[message.name].sign(message.signed)).encode()


def other_advert(play, name="c001", **changes):
    """What a client that signs it itself sends instead of its own keys."""
    return signed(play, replace(Advertise.decode(play.clients[name].advertise()), **changes))


ADVERTS = {
    "the keys of another": (lambda p: p[0].advertise(), IdentityError, "'c001' sends the keys of 'c000'"),
    "settings of another session": (lambda p: other_advert(p, config=b"o" * 32), StaleMessage, "another session"),
    "a sealing key of low order": (lambda p: other_advert(p, seal_key=LOW_ORDER), IdentityError, "low order"),
    "a masking key of low order": (lambda p: other_advert(p, mask_key=LOW_ORDER), IdentityError, "low order"),
    "a key of low order, written otherwise": (
        lambda p: other_advert(p, mask_key=bytes.fromhex("ed" + "ff" * 30 + "7f")),
        IdentityError,
        "low order",
    ),
    "one key for two purposes": (
        lambda p: other_advert(p, mask_key=b"k" * 32, seal_key=b"k" * 32),
        IdentityError,
        "for two purposes",
    ),
    "another's key": (
        lambda p: other_advert(p, mask_key=p.server._advertised["c002"].mask_key),
        IdentityError,
        "have the same key",
    ),
    "keys that it did not sign": (
        lambda p: replace(Advertise.decode(p[1].advertise()), mask_key=b"k" * 32).encode(),
        IdentityError,
        "not signed",
    ),
    "no identity": (
        lambda p: replace(Advertise.decode(p[1].advertise()), identity=b"", certificate=None, signature=b"").encode(),
        IdentityError,
        "no identity",
    ),
    "an identity of an unknown authority": (
        lambda p: other_advert(p, certificate=FORGER.certify("c001", p.identities["c001"].key)),
        IdentityError,
        "not accepted",
    ),
    "a forged certificate": (
        lambda p: other_advert(p, certificate=Certificate(p.authority.key, bytes(64))),
        IdentityError,
        "forged",
    ),
    "nothing of the kind": (lambda p: b"hello", MalformedMessage, "kind 2"),
}


@pytest.mark.parametrize(("sent", "error", "match"), ADVERTS.values(), ids=ADVERTS)
def test_a_client_is_not_in_the_session_that_sends(sent, error, match):
    play = Play(5)
    for name in play.names[2:]:
        play.server.take_advertise(name, play.clients[name].advertise())
    with pytest.raises(error, match=match):
        play.server.take_advertise("c001", sent(play))
    play.roster = play.server.close_advertise()
    assert play.server.members.names == ("c002", "c003", "c004")


def test_somebody_who_was_refused_may_send_the_right_keys_later():
    play = Play(3)
    right = play[1].advertise()
    with pytest.raises(IdentityError):
        play.server.take_advertise("c001", flipped(right, -1))
    play.server.take_advertise("c001", right)
    with pytest.raises(DuplicateConflict, match="a second message to advertise"):
        play.server.take_advertise("c001", flipped(right, -1))


def test_an_identity_in_a_session_without_is_refused():
    play, other = Play(4, signed=False), Play(4)
    stranger = replace(Advertise.decode(other[1].advertise()), config=play.config.digest)
    with pytest.raises(IdentityError, match="a session without"):
        play.server.take_advertise("c001", stranger.encode())


def test_a_session_takes_no_more_clients_than_it_may():
    play = Play(4)
    server = Server(play.config, (play.authority.key,), most=3)
    for name in play.names[:3]:
        server.take_advertise(name, play.clients[name].advertise())
    with pytest.raises(IdentityError, match="is full: 3"):
        server.take_advertise("c003", play[3].advertise())


def test_two_clients_are_no_session():
    play = Play(2)
    with pytest.raises(InsufficientSurvivors, match="2 clients were left, 3 are needed"):
        play.advertise()
    assert play.server.phase == Phase.OVER
    with pytest.raises(StaleMessage, match="not in the roster"):
        play.server.take_shares("c000", b"")
    with pytest.raises(StaleMessage):
        _ = play.server.members


# Shares


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda s: replace(s, session=b"o" * 32), StaleMessage),
        (lambda s: replace(s, boxes=s.boxes[1:]), MalformedMessage),
        (lambda s: replace(s, boxes=s.boxes[::-1]), MalformedMessage),
        (lambda s: replace(s, boxes=(*s.boxes[:-1], s.boxes[0])), MalformedMessage),
        (lambda s: replace(s, boxes=(*s.boxes, replace(s.boxes[0], holder=9))), MalformedMessage),
    ],
    ids=["of another session", "for too few", "out of order", "for one twice", "for a stranger"],
)
def test_shares_are_refused_and_their_owner_is_left_out(change, error):
    play = Play(5).advertise()
    play.shares = {name: play.clients[name].share(play.roster) for name in play.names}
    for name in play.names[1:]:
        play.server.take_shares(name, play.shares[name])
    with pytest.raises(error):
        play.server.take_shares("c000", change(Shares.decode(play.shares["c000"])).encode())
    play.inboxes = play.server.close_shares()
    assert play.server.sharing == (1, 2, 3, 4)
    assert play.mask().confirm().unmask().total().tolist() == play.plain().tolist()


def test_a_stranger_is_not_heard():
    play = Play(4).advertise()
    for take in (play.server.take_shares, play.server.take_masked, play.server.take_confirm, play.server.take_unmask):
        with pytest.raises(StaleMessage, match="'eve' is not in the roster"):
            take("eve", b"")


# Vectors


def test_a_vector_of_somebody_without_shares_is_refused():
    play = Play(6).advertise().share(without=["c000"])
    data = Masked(play.server.members.session, np.zeros(8, np.uint32)).encode()
    with pytest.raises(StaleMessage, match="'c000' shared no secrets"):
        play.server.take_masked("c000", data)
    assert play.mask().confirm().unmask().total().tolist() == play.plain().tolist()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (lambda s: Masked(s, np.zeros(7, np.uint32)).encode(), MalformedMessage),
        (lambda s: Masked(s, np.zeros(8, np.uint64)).encode(), MalformedMessage),
        (lambda s: Masked(b"o" * 32, np.zeros(8, np.uint32)).encode(), StaleMessage),
        (lambda s: b"", MalformedMessage),
    ],
    ids=["short", "wide", "of another session", "nothing"],
)
def test_a_vector_that_is_refused_is_not_in_the_sum(data, error):
    play = Play(5).advertise().share()
    with pytest.raises(error):
        play.server.take_masked("c000", data(play.server.members.session))
    assert play.mask(without=["c000"]).confirm().unmask().total().tolist() == play.plain().tolist()
    assert play.server.survivors == (1, 2, 3, 4)


def test_the_same_vector_twice_is_added_once_and_another_is_a_conflict():
    play = Play(4).advertise().share()
    sent = play[0].mask(play.inboxes["c000"], play.vectors["c000"])
    play.server.take_masked("c000", sent)
    play.server.take_masked("c000", memoryview(sent))
    with pytest.raises(DuplicateConflict, match="'c000' sends a second message to mask"):
        play.server.take_masked("c000", flipped(sent, -1))
    del play.inboxes["c000"]
    play.mask()
    play.uploads["c000"] = sent
    assert play.confirm().unmask().total().tolist() == play.plain().tolist()


@pytest.mark.parametrize("after", ["mask", "unmask", "total"])
def test_a_vector_that_comes_late_is_told_so_and_stays_masked(after):
    """The key of whoever is lost is rebuilt; what still hides it is its self mask, of which nobody gave a share."""
    play = Play(5).advertise().share()
    late = play[4].mask(play.inboxes["c004"], play.vectors["c004"])
    del play.inboxes["c004"]
    play.mask()
    if after != "mask":
        play.confirm().unmask()
    if after == "total":
        assert play.total().tolist() == play.plain().tolist()
    with pytest.raises(StaleMessage, match="'c004' to mask is late"):
        play.server.take_masked("c004", late)
    if after == "unmask":
        session = play.server.members.session
        box = Shares.decode(play.shares["c004"]).boxes
        for holder in range(4):
            share = dict(Unmask.decode(play.answers[play.names[holder]]).shares)[4]
            assert keys.share_commitment(session, 4, holder, 0, share) != box[holder].commitments[0]
        assert play.total().tolist() == play.plain().tolist()


def test_replayed_messages_of_an_earlier_session_are_refused():
    earlier, play = Play(4).advertise().share().mask().confirm().unmask(), Play(4, label=b"later").advertise()
    with pytest.raises(StaleMessage, match="another session"):
        play.server.take_shares("c000", earlier.shares["c000"])
    play.share()
    with pytest.raises(StaleMessage, match="another session"):
        play.server.take_masked("c000", earlier.uploads["c000"])
    play.mask()
    with pytest.raises(StaleMessage, match="another session"):
        play.server.take_confirm("c000", earlier.confirms["c000"])
    play.confirm()
    with pytest.raises(StaleMessage, match="another session"):
        play.server.take_unmask("c000", earlier.answers["c000"])
    assert play.unmask().total().tolist() == play.plain().tolist()


# Confirmations


def test_a_word_for_other_survivors_is_refused_and_its_client_counts_as_lost():
    play = Play(5).advertise().share().mask()
    session = play.server.members.session
    said = statement(session, tuple(range(5)), (0, 1, 2, 3), 5)
    data = Confirm(session, play.identities["c000"].sign(said)).encode()
    with pytest.raises(ConsistencyError, match="'c000' did not sign the survivors"):
        play.server.take_confirm("c000", data)
    with pytest.raises(ConsistencyError):
        play.server.take_confirm("c000", play[1].confirm(play.survivors))
    assert play.confirm(without=["c000"]).unmask().total().tolist() == play.plain().tolist()
    assert play.server.answering == (1, 2, 3, 4)


def test_whoever_is_not_in_the_sum_neither_confirms_nor_unmasks():
    play = Play(6).advertise().share().mask(without=["c005"])
    session = play.server.members.session
    said = statement(session, play.server.sharing, play.server.survivors, 6)
    with pytest.raises(StaleMessage, match="'c005' is not in the sum"):
        play.server.take_confirm("c005", Confirm(session, play.identities["c005"].sign(said)).encode())
    play.confirm().unmask()
    with pytest.raises(StaleMessage, match="'c005' is not in the sum"):
        play.server.take_unmask("c005", play.answers["c000"])

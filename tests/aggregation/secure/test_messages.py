"""Every message has one way to be written: what is read back writes the same bytes, and all else is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tacit.aggregation.secure import messages
from tacit.aggregation.secure.config import Config
from tacit.aggregation.secure.identity import Certificate
from tacit.aggregation.secure.messages import (
    Advertise,
    Confirm,
    Confirmed,
    Inbox,
    Masked,
    Roster,
    Sealed,
    Shares,
    Survivors,
    Unmask,
    digest_of,
    statement,
)
from tacit.aggregation.secure.shamir import SHARE
from tacit.aggregation.secure.wire import MAGIC, Writer
from tacit.errors import MalformedMessage, PolicyError
from tests.aggregation.secure.play import CONFIG

CLIENTS, LENGTH = 13, 4


def exactly(size):
    return st.binary(min_size=size, max_size=size)


digest, index = exactly(32), st.integers(0, 2**32 - 1)
members = st.sets(st.integers(0, CLIENTS - 1)).map(lambda s: tuple(sorted(s)))
name = st.text(min_size=1, max_size=16).filter(lambda text: len(text.encode()) <= messages.NAME)
signed = st.tuples(digest, st.builds(Certificate, digest, exactly(64)), exactly(64))


def listed(each):
    return st.lists(each, max_size=3).map(tuple)


MESSAGES = {
    "advertise": st.builds(
        lambda *own, known: Advertise(*own, *known), digest, name, digest, digest, digest, known=signed | st.just(())
    ),
    "roster": st.builds(Roster, listed(st.binary(max_size=40))),
    "shares": st.builds(
        Shares,
        digest,
        digest,
        listed(st.builds(Sealed, index, exactly(messages.SEALED), st.tuples(exactly(16), exactly(16)))),
    ),
    "inbox": st.builds(
        Inbox, digest, members, listed(st.tuples(index, exactly(messages.SEALED), st.tuples(exactly(16), exactly(16))))
    ),
    "masked": st.builds(
        Masked, digest, exactly(4 * LENGTH).map(lambda data: np.frombuffer(data, dtype="<u4", count=LENGTH))
    ),
    "survivors": st.builds(Survivors, digest, members),
    "confirm": st.builds(Confirm, digest, exactly(64)),
    "confirmed": st.builds(Confirmed, digest, listed(st.tuples(index, exactly(64)))),
    "unmask": st.builds(Unmask, digest, digest, listed(st.tuples(index, exactly(SHARE)))),
    "config": st.just(CONFIG),
}
READ = {
    "advertise": Advertise.decode,
    "roster": Roster.decode,
    "shares": Shares.decode,
    "inbox": lambda data: Inbox.decode(data, CLIENTS),
    "masked": lambda data: Masked.decode(data, LENGTH, 32),
    "survivors": lambda data: Survivors.decode(data, CLIENTS),
    "confirm": Confirm.decode,
    "confirmed": Confirmed.decode,
    "unmask": Unmask.decode,
    "config": Config.decode,
}
KINDS = {"config": 1, "advertise": 2, "roster": 3, "shares": 4, "inbox": 5, "masked": 6, "survivors": 7}
KINDS |= {"confirm": 8, "confirmed": 9, "unmask": 10}


def written(message):
    return message.encode(CLIENTS) if isinstance(message, Inbox | Survivors) else message.encode()


@pytest.mark.parametrize("kind", READ)
@settings(max_examples=30)
@given(data=st.data())
def test_a_message_is_read_back(kind, data):
    message = data.draw(MESSAGES[kind])
    coded = written(message)
    assert coded[:5] == MAGIC + bytes([KINDS[kind]])
    found = READ[kind](coded)
    assert written(found) == coded
    if kind != "masked":
        assert found == message
    else:
        assert found.words.tolist() == message.words.tolist()


@pytest.mark.parametrize("kind", READ)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    data=st.data(),
    edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    cut=st.none() | st.integers(0, 400),
    more=st.binary(max_size=8),
)
def test_changed_bytes_are_refused_or_mean_exactly_what_they_say(kind, data, edits, cut, more):
    coded = bytearray(written(data.draw(MESSAGES[kind])))
    for at, byte in edits:
        coded[at % len(coded)] = byte
    changed = bytes(coded[:cut]) + more
    try:
        found = READ[kind](changed)
    except MalformedMessage:
        return
    assert written(found) == changed


@pytest.mark.parametrize("kind", READ)
@settings(max_examples=60)
@given(rest=st.binary(max_size=300), bare=st.booleans())
def test_random_bytes_are_refused_or_mean_exactly_what_they_say(kind, rest, bare):
    data = rest if bare else Writer(KINDS[kind]).done() + rest
    try:
        found = READ[kind](data)
    except MalformedMessage:
        return
    assert written(found) == data


@pytest.mark.parametrize("kind", READ)
@settings(max_examples=10)
@given(data=st.data())
def test_no_beginning_of_a_message_is_a_message(kind, data):
    coded = written(data.draw(MESSAGES[kind]))
    for cut in range(len(coded)):
        with pytest.raises(MalformedMessage):
            READ[kind](coded[:cut])


@pytest.mark.parametrize(("kind", "before"), [("roster", 0), ("shares", 64), ("inbox", 34), ("confirmed", 32)])
def test_a_list_that_claims_more_than_there_is_reserves_no_memory(kind, before):
    data = Writer(KINDS[kind]).fixed(bytes(before)).number(2**32 - 1).fixed(bytes(200)).done()
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage, match="claims 4294967295"):
            READ[kind](data)
        assert tracemalloc.get_traced_memory()[1] < 2**16
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("most", [0, 2, 3])
def test_a_roster_of_more_than_the_reader_accepts_is_refused(most):
    data = Roster((b"a", b"b", b"c")).encode()
    if most == 3:
        assert Roster.decode(data, most).entries == (b"a", b"b", b"c")
    else:
        with pytest.raises(PolicyError, match=f"has 3 clients: at most {most} are accepted"):
            Roster.decode(data, most)


def test_words_are_little_endian_and_are_not_copied():
    data = Masked(bytes(32), np.array([1, 2**32 - 2], dtype=">u4")).encode()
    assert data[37:] == bytes.fromhex("01000000feffffff")
    words = Masked.decode(data, 2, 32).words
    assert words.tolist() == [1, 2**32 - 2]
    assert np.shares_memory(words, np.frombuffer(data, np.uint8))
    assert not words.flags.writeable


@pytest.mark.parametrize(("length", "bits"), [(3, 32), (5, 32), (4, 64), (1, 64)])
def test_a_vector_of_another_size_is_refused(length, bits):
    data = Masked(bytes(32), np.zeros(4, dtype=np.uint32)).encode()
    with pytest.raises(MalformedMessage, match=f"{length} words of {bits} bits"):
        Masked.decode(data, length, bits)


@pytest.mark.parametrize("text", ["", "n" * 65, "ü" * 33])
def test_a_name_has_1_to_64_bytes(text):
    with pytest.raises(MalformedMessage, match="1 to 64"):
        Advertise.decode(Advertise(bytes(32), text, bytes(32), bytes(32), bytes(32)).encode())


@pytest.mark.parametrize("flag", [2, 3, 255])
def test_a_flag_is_0_or_1(flag):
    data = Advertise(bytes(32), "anna", bytes(32), bytes(32), bytes(32)).encode()
    assert Advertise.decode(data).certificate is None
    with pytest.raises(MalformedMessage, match="neither 0 nor 1"):
        Advertise.decode(data[:-1] + bytes([flag]))


def test_what_is_signed_is_all_but_the_signature():
    known = bytes(32), Certificate(bytes(32), bytes(64))
    one = Advertise(bytes(32), "anna", b"s" * 32, b"m" * 32, bytes(32), *known, b"1" * 64)
    other = Advertise(bytes(32), "anna", b"s" * 32, b"m" * 32, bytes(32), *known, b"2" * 64)
    assert one.signed == other.signed == one.encode()[:-64]


def test_a_statement_says_who_shared_who_survived_and_in_which_session():
    cases = {
        statement(session, sharing, survivors, CLIENTS)
        for session in (b"1" * 32, b"2" * 32)
        for sharing in ((0, 1, 2), (0, 1, 2, 3))
        for survivors in ((0, 1), (1, 2))
    }
    assert len(cases) == 8
    assert digest_of((0, 1), CLIENTS) != digest_of((0, 2), CLIENTS)


def test_an_answer_holds_one_share_for_an_owner_and_does_not_say_which():
    """The type: (owner, share). That an owner is there once is for the server to see; see test_server.py."""
    answer = Unmask(bytes(32), bytes(32), ((1, b"x" * SHARE),))
    assert answer.encode()[-4 - SHARE :] == b"\0\0\0\1" + b"x" * SHARE
    assert set(answer.__dataclass_fields__) == {"session", "survivors", "shares"}

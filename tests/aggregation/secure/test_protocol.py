"""Whole sessions: the sum of those who are left, bit for bit, or none at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tacit.aggregation.secure.client import Step
from tacit.aggregation.secure.config import Policy
from tacit.aggregation.secure.rehearsal import NEVER, Rehearsal, identities
from tacit.aggregation.secure.server import Phase
from tacit.errors import DuplicateConflict, InsufficientSurvivors, StaleMessage, TacitError, UsageError
from tests.aggregation.secure.play import CONFIG, MODEL, Play, forgotten, stream

STEPS = [Step.ADVERTISE, Step.SHARE, Step.MASK, Step.CONFIRM, Step.UNMASK]


@cache
def people(count):
    names = tuple(f"c{i:03}" for i in range(count))
    return names, *identities(names, stream(b"people"))


def rehearsal(count, lost, seed=b"", **changes):
    names, authority, known = people(count)
    config = replace(CONFIG, **changes)
    policy = Policy(
        minimum=3, corrupt=0.0, authorities=(authority,), insecure_unsigned=True, insecure_honest_server=True
    )
    identity = known if config.signed else {}
    return Rehearsal(config, names, MODEL, lost, identity, policy, stream(b"draw" + seed), workers=1)


def played(session, vectors):
    uploaded = [name for name in session.begin() if session.upload(name, vectors[name])]
    return uploaded, session.finish()


def plain(vectors, names, bits):
    """Python's whole numbers, wrapped at the end."""
    half = 2 ** (bits - 1)
    columns = zip(*(vectors[name].tolist() for name in names), strict=True)
    return [(sum(column) + half) % 2**bits - half for column in columns]


def words(bits):
    top = 2 ** (bits - 1)
    return st.sampled_from([-top, -top + 1, -1, 0, 1, top - 1]) | st.integers(-top, top - 1)


@st.composite
def cases(draw):
    count, bits, length = draw(st.integers(3, 14)), draw(st.sampled_from([32, 64])), draw(st.integers(1, 9))
    names = people(count)[0]
    some = st.dictionaries(st.sampled_from(names), st.sampled_from(STEPS), max_size=draw(st.integers(0, count // 2)))
    vector = st.lists(words(bits), min_size=length, max_size=length).map(lambda v: np.array(v, dtype=f"i{bits // 8}"))
    return {
        "count": count,
        "lost": draw(some),
        "vectors": {name: draw(vector) for name in names},
        "bits": bits,
        "length": length,
        "minimum": draw(st.integers(3, max(3, count - 2))),
        "corrupt": draw(st.sampled_from([0.0, 0.1, 0.2])),
        "dropout": draw(st.sampled_from([0.0, 0.1, 0.3, 0.5])),
        "signed": draw(st.booleans()),
        "semi_malicious": draw(st.booleans()),
    }


@settings(max_examples=60)
@given(case=cases(), seed=st.binary(max_size=4))
def test_the_total_is_the_plain_sum_of_the_survivors_or_there_is_none(case, seed):
    """In a complete graph everybody holds a share of everything: what counts is how many are left at each step."""
    count, lost, vectors = case.pop("count"), case.pop("lost"), case.pop("vectors")
    session = rehearsal(count, lost, seed, **case)
    left = [[n for n in vectors if lost.get(n, NEVER) > step] for step in STEPS]
    if not case["signed"]:
        del left[Step.CONFIRM]
    need = case["minimum"]
    if len(left[0]) >= need:
        try:
            need = max(need, session.config.degree(len(left[0])).threshold)
        except UsageError:
            assume(False)
    if min(len(some) for some in left) >= need:
        uploaded, total = played(session, vectors)
        assert uploaded == left[2]
        assert total.tolist() == plain(vectors, uploaded, case["bits"])
        assert all(forgotten(session.clients[name]) for name in left[-1])
    else:
        with pytest.raises(InsufficientSurvivors):
            played(session, vectors)
        assert session.server.phase == Phase.OVER


@pytest.mark.parametrize(
    ("changes", "seed"),
    [({"corrupt": 0.05, "dropout": 0.05, "signed": False}, 1), ({"semi_malicious": False, "signed": False}, 2)],
    ids=["any questions", "honest server"],
)
def test_on_a_sparse_graph_the_total_is_the_plain_sum_of_the_survivors(changes, seed):
    rng = np.random.default_rng(seed)
    names = people(120)[0]
    gone = rng.choice(120, 5, replace=False)
    lost = {names[i]: step for i, step in zip(gone, STEPS, strict=True)}
    session = rehearsal(120, lost, length=5, **changes)
    vectors = {n: rng.integers(-(2**31), 2**31, 5).astype(np.int32) for n in names}
    uploaded, total = played(session, vectors)
    degree = session.server.members.degree
    assert degree.neighbours < 30
    assert len(uploaded) == 117
    assert total.tolist() == plain(vectors, uploaded, 32)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
@pytest.mark.parametrize("count", [5, 9])
def test_as_many_as_the_threshold_allows_may_be_lost_at_any_step_and_no_more(step, count):
    names = people(count)[0]
    vectors = {n: np.full(8, 2**31 - 1 - i, dtype=np.int32) for i, n in enumerate(names)}
    need = CONFIG.degree(count).threshold
    if step == Step.ADVERTISE:  # those who never came are no part of the session: the minimum counts
        need = count - 2
    changes = {"minimum": need}
    most = dict.fromkeys(names[: count - need], step)
    uploaded, total = played(rehearsal(count, most, **changes), vectors)
    assert total.tolist() == plain(vectors, uploaded, 32)

    changes = {"minimum": 3 if step != Step.ADVERTISE else need}
    session = rehearsal(count, dict.fromkeys(names[: count - need + 1], step), **changes)
    with pytest.raises(InsufficientSurvivors) as caught:
        played(session, vectors)
    assert caught.value.have < caught.value.need
    assert "Nothing was revealed" in str(caught.value)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name.lower())
def test_after_too_many_losses_the_server_holds_no_sum_and_answers_nothing(step):
    names = people(5)[0]
    vectors = {n: np.ones(8, dtype=np.int32) for n in names}
    session = rehearsal(5, dict.fromkeys(names[:3], step))
    with pytest.raises(InsufficientSurvivors):
        played(session, vectors)
    server = session.server
    assert server.phase == Phase.OVER
    assert server._sum.size == 0
    assert not server._collected
    for close in ("advertise", "shares", "masked", "confirm"):
        with pytest.raises(StaleMessage):
            getattr(server, f"close_{close}")()
    with pytest.raises(StaleMessage):
        server.close()
    for take in ("advertise", "shares", "masked", "confirm", "unmask"):
        with pytest.raises((StaleMessage, DuplicateConflict)):
            getattr(server, f"take_{take}")(names[4], b"anything")
    with pytest.raises(StaleMessage):
        server.take_masked("somebody", b"anything")


def test_too_few_shares_at_the_end_leave_no_sum_behind():
    """As many as the minimum answer, and fewer than the threshold."""
    play = Play(9, minimum=3).advertise().share().mask().confirm()
    play.unmask(without=play.names[:4])
    with pytest.raises(InsufficientSurvivors, match="shares of the secret of 'c000'") as caught:
        play.total()
    assert (caught.value.have, caught.value.need) == (5, 7)
    assert play.server._sum.size == 0
    assert not play.server._collected
    with pytest.raises(StaleMessage):
        play.total()


def test_a_settings_degree_that_does_not_exist_is_said_before_anybody_shares():
    play = Play(5, corrupt=0.4, dropout=0.5)
    with pytest.raises(UsageError):
        play.advertise()


def test_losing_one_at_every_step_at_once_leaves_the_sum_of_those_who_uploaded():
    names = people(14)[0]
    lost = dict(zip(names, STEPS, strict=False))
    vectors = {n: np.arange(8, dtype=np.int64) * (-1) ** i * 2**40 for i, n in enumerate(names)}
    uploaded, total = played(rehearsal(14, lost, bits=64, minimum=9), vectors)
    assert uploaded == list(names[3:])
    assert total.tolist() == plain(vectors, uploaded, 64)


def test_the_order_of_messages_does_not_matter():
    totals = []
    for order in (1, -1):
        play = Play(5)
        adverts = {n: c.advertise() for n, c in play.clients.items()}
        for name in play.names[::order]:
            play.server.take_advertise(name, adverts[name])
        play.adverts, play.roster = adverts, play.server.close_advertise()
        play.share()
        uploads = {n: play.clients[n].mask(play.inboxes[n], play.vectors[n]) for n in play.names[::order]}
        for name, data in uploads.items():
            play.server.take_masked(name, data)
        play.uploads, play.survivors = uploads, play.server.close_masked()
        totals.append(play.confirm().unmask().total().tolist())
    assert totals[0] == totals[1] == play.plain().tolist()


def test_every_message_may_come_twice():
    play = Play(5).advertise().share().mask().confirm().unmask()
    kinds = {
        "advertise": play.adverts,
        "shares": play.shares,
        "masked": play.uploads,
        "confirm": play.confirms,
        "unmask": play.answers,
    }
    for kind, sent in kinds.items():
        for name, data in sent.items():
            getattr(play.server, f"take_{kind}")(name, data)
    assert play.total().tolist() == play.plain().tolist()


def test_sizes_of_messages_do_not_depend_on_the_vectors():
    def sizes(value):
        session = rehearsal(5, {people(5)[0][0]: Step.MASK}, seed=str(value).encode())
        played(session, {n: np.full(8, value, dtype=np.int32) for n in people(5)[0]})
        return session.up, session.down

    assert sizes(0) == sizes(2**31 - 1) == sizes(-(2**31))
    up = sizes(0)[0]
    assert up == Counter(
        advertise=5 * (5 + 32 + 2 + 4 + 96 + 1 + 128 + 64),
        shares=5 * (5 + 64 + 4 + 5 * (4 + 82 + 32)),
        masked=4 * (5 + 32 + 4 * 8),
        confirm=4 * (5 + 32 + 64),
        unmask=4 * (5 + 64 + 4 + 5 * (4 + 33)),
    )


def test_no_upload_holds_the_words_of_its_vector():
    secret = np.frombuffer(b"my diagnosis is c50.9, and I have 17 cases.."[:32], dtype="<i4")
    play = Play(5, length=8)
    play.vectors = dict.fromkeys(play.names, secret)
    play.advertise().share().mask().confirm().unmask()
    everything = b"".join(
        data
        for sent in (play.adverts, play.shares, play.uploads, play.confirms, play.answers)
        for data in sent.values()
    )
    for at in range(0, 32, 4):
        assert secret.tobytes()[at : at + 4] not in everything
    assert play.total().tolist() == (5 * secret).tolist()


def test_one_unknown_mask_makes_every_word_uniform():
    """What a server and n - 2 peers see of a client: its vector under the mask of the one edge they do not know.

    Chi-square over the 256 values of each of a word's four bytes, 2^16 words; a right mask fails one of the four with
    probability 4 x 10^-6. The draw is fixed, so it never fails by chance; a mask with an unused value or bit would.
    """
    from scipy.stats import chi2

    from tacit.aggregation.secure import keys, prg
    from tacit.aggregation.secure.messages import Masked

    size = 2**16
    play = Play(4, length=size, label=b"uniform")
    play.vectors = dict.fromkeys(play.names, np.full(size, -7, dtype=np.int32))
    play.advertise().share()
    seed, session = play[0]._seed, play.server.members.session
    secrets = {i: play[i]._mask_secret for i in range(4)}
    play.mask()
    left = Masked.decode(play.uploads[play.names[0]], size, 32).words.copy()
    for j in (1, 2):
        private = keys.X25519PrivateKey.from_private_bytes(secrets[j])
        shared = keys.agreed(private, keys.public_of(secrets[0]), "c000")
        prg.remove_streams(left, [keys.mask_key(shared, session, 0, j)], [1], 1)
    prg.remove_streams(left, [keys.self_key(seed, session)], [1], 1)
    for byte in left.view(np.uint8).reshape(size, 4).T:
        seen = np.bincount(byte, minlength=256)
        statistic = ((seen - size / 256) ** 2 / (size / 256)).sum()
        assert chi2.isf(1 - 1e-6, 255) < statistic < chi2.isf(1e-6, 255)
    private = keys.X25519PrivateKey.from_private_bytes(secrets[3])
    shared = keys.agreed(private, keys.public_of(secrets[0]), "c000")
    prg.remove_streams(left, [keys.mask_key(shared, session, 0, 3)], [1], 1)
    assert (left.view("<i4") == -7).all()


def test_two_sessions_of_the_same_clients_share_no_bytes_of_secrets():
    """A new attempt has new keys: what was learned of one says nothing of another."""
    one, other = Play(4, label=b"1", attempt=0), Play(4, label=b"2", attempt=1)
    for play in (one, other):
        play.advertise().share().mask()
    for name in one.names:
        assert one.uploads[name][37:] != other.uploads[name][37:]
        mine, again = one.server._advertised[name], other.server._advertised[name]
        assert not {mine.seal_key, mine.mask_key} & {again.seal_key, again.mask_key}


def test_every_refusal_is_an_error_of_this_package():
    with pytest.raises(TacitError):
        rehearsal(5, {}, minimum=2)

"""A client is asked to unmask: for whom it does, and on whose word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tacit.aggregation.secure import client, keys
from tacit.aggregation.secure.identity import verified
from tacit.aggregation.secure.messages import (
    Confirmed,
    Inbox,
    Roster,
    Shares,
    Survivors,
    Unmask,
    digest_of,
    statement,
)
from tacit.errors import (
    ConsistencyError,
    InsufficientSurvivors,
    StaleMessage,
    UnmaskPolicyError,
    UsageError,
)
from tests.aggregation.secure.play import (
    NO_BOX,
    Play,
    assert_refused,
    delivered,
    forgotten,
    inboxes,
    survivors,
)

ASKED = {
    "a set without the client": ((1, 2, 3, 4, 5), UnmaskPolicyError, "not among those"),
    "a set below the minimum": ((0, 1, 2), InsufficientSurvivors, "3 clients were left, 4 are needed"),
    "too few of its neighbours": ((0, 1, 2, 3), InsufficientSurvivors, "neighbours of 'c000'"),
    "nobody": ((), UnmaskPolicyError, "not among those"),
    "somebody who never shared": ((0, 1, 2, 3, 4, 6), UnmaskPolicyError, "never shared"),
}


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize(("members", "error", "match"), ASKED.values(), ids=ASKED)
def test_a_client_does_not_unmask_for(members, error, match, signed):
    play = Play(7, minimum=4, signed=signed).advertise().share(without=["c006"]).mask()
    call = play[0].confirm if signed else play[0].unmask
    assert_refused(play[0], error, call, survivors(play, *members), match=match)


def test_survivors_of_another_session_are_refused():
    play, other = Play(5).advertise().share().mask(), Play(5, label=b"other").advertise().share().mask()
    assert_refused(play[0], StaleMessage, play[0].confirm, other.survivors, match="another session")


def test_a_second_set_of_survivors_ends_the_session_and_the_first_is_not_answered_either():
    play = Play(7).advertise().share().mask()
    first = play[0].confirm(play.survivors)
    assert play[0].confirm(play.survivors) == first
    assert_refused(play[0], UnmaskPolicyError, play[0].confirm, survivors(play, 0, 1, 2, 3, 4), match="a second set")
    with pytest.raises(StaleMessage):
        play[0].confirm(play.survivors)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_the_one_answer_is_given_again_and_no_other(signed):
    play = Play(7, signed=signed).advertise().share().mask().confirm()
    asked = play.asked["c000"]
    answer = play[0].unmask(asked)
    assert play[0].unmask(asked) == answer
    assert forgotten(play[0])
    other = Confirmed(play.server.members.session, ()).encode() if signed else survivors(play, 0, 1, 2, 3, 4)
    assert_refused(play[0], UnmaskPolicyError, play[0].unmask, other, match="a second request")


def test_asked_for_both_shares_of_a_client_nobody_gives_them():
    """The classical attack: first among the survivors, then among the lost."""
    play = Play(7, signed=False).advertise().share().mask()
    everybody, without = survivors(play, *range(7)), survivors(play, *(i for i in range(7) if i != 3))
    for index in (0, 1, 2, 4, 5, 6):
        answer = Unmask.decode(play[index].unmask(everybody))
        owners = [owner for owner, _ in answer.shares]
        assert owners == sorted(set(owners))
        with pytest.raises(UnmaskPolicyError):
            play[index].unmask(without)


def test_which_share_is_given_follows_from_the_survivors_alone():
    """Of survivors that of the self mask, of the lost that of the key: as their owners committed to them."""
    play = Play(7).advertise().share().mask(without=["c005"]).confirm().unmask()
    session = play.server.members.session
    for index, name in enumerate(play.names):
        if name not in play.answers:
            continue
        for owner, share in Unmask.decode(play.answers[name]).shares:
            box = Shares.decode(play.shares[play.names[owner]]).boxes[index]
            kind = 1 if owner == 5 else 0
            assert keys.share_commitment(session, owner, index, kind, share) == box.commitments[kind]
            assert keys.share_commitment(session, owner, index, 1 - kind, share) != box.commitments[1 - kind]


# Consistency


def confirmed(play, signatures):
    return Confirmed(play.server.members.session, tuple(signatures)).encode()


def signatures(play, said, members):
    return [(i, play.identities[play.names[i]].sign(said)) for i in members]


def said(play, members, sharing=None, session=None):
    clients = len(play.names)
    everybody = tuple(range(clients))
    return statement(session or play.server.members.session, sharing or everybody, members, clients)


def test_as_many_confirmations_as_the_threshold_are_enough_and_one_less_is_not():
    need = Play(7).config.degree(7).threshold
    for count in (need, need - 1):
        play = Play(7).advertise().share().mask()
        play[0].confirm(play.survivors)
        data = confirmed(play, signatures(play, said(play, tuple(range(7))), range(count)))
        if count == need:
            assert Unmask.decode(play[0].unmask(data)).survivors == digest_of(tuple(range(7)), 7)
        else:
            assert_refused(
                play[0], ConsistencyError, play[0].unmask, data, match=f"{count} neighbours .* {need} are needed"
            )


WORDS = {
    "of other survivors": lambda p: signatures(p, said(p, (0, 1, 2, 3, 4)), range(7)),
    "of others who shared": lambda p: signatures(p, said(p, tuple(range(7)), tuple(range(6))), range(7)),
    "of another session": lambda p: signatures(p, said(p, tuple(range(7)), session=b"o" * 32), range(7)),
    "of one client many times": lambda p: signatures(p, said(p, tuple(range(7))), [1]) * 7,
    "under the names of others": lambda p: [(i, p.identities["c001"].sign(said(p, tuple(range(7))))) for i in range(7)],
    "of nobody in the roster": lambda p: [(i + 7, s) for i, s in signatures(p, said(p, tuple(range(7))), range(7))],
    "that are none": lambda p: [(i, bytes(64)) for i in range(7)],
    "that are not there": lambda p: [],
}


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_a_client_does_not_unmask_on_signatures(words):
    play = Play(7).advertise().share().mask()
    play[0].confirm(play.survivors)
    assert_refused(
        play[0], ConsistencyError, play[0].unmask, confirmed(play, words(play)), match="Nothing was unmasked"
    )


def test_each_neighbour_is_heard_once_however_often_a_server_repeats_it(monkeypatch):
    play = Play(7).advertise().share().mask()
    play[0].confirm(play.survivors)
    right = signatures(play, said(play, tuple(range(7))), range(7))
    asked = []

    def counted(*arguments):
        asked.append(arguments)
        return verified(*arguments)

    monkeypatch.setattr(client, "verified", counted)
    assert Unmask.decode(play[0].unmask(confirmed(play, right * 50))).shares
    assert len(asked) == 7
    play[1].confirm(play.survivors)
    false_first = confirmed(play, [(i, bytes(64)) for i in range(3)] + right)
    assert_refused(play[1], ConsistencyError, play[1].unmask, false_first, match="^4 neighbours .* 5 are needed")


def test_confirmations_of_an_earlier_session_are_refused():
    earlier = Play(5).advertise().share().mask().confirm()
    play = Play(5, label=b"later").advertise().share().mask()
    play[0].confirm(play.survivors)
    assert_refused(play[0], StaleMessage, play[0].unmask, earlier.asked["c000"], match="another session")


@pytest.mark.parametrize("told", ["survivors", "sharing"])
def test_a_server_that_tells_some_of_one_thing_and_others_of_another_learns_nothing(told):
    """Of seven clients the last is lost, four are told one thing and two another: no side has five that agree."""
    play = Play(7).advertise().share()
    everybody, fewer = tuple(range(7)), tuple(range(6))
    if told == "sharing":
        for name in play.names[4:6]:
            inbox = inboxes(play)[name]
            play.inboxes[name] = replace(inbox, sharing=fewer, boxes=inbox.boxes[:6]).encode(7)
    play.mask()
    sets = {i: fewer if (told == "survivors" and 4 <= i < 6) or told == "sharing" else everybody for i in range(6)}
    words = {i: play[i].confirm(survivors(play, *sets[i])) for i in sets}
    both = [(i, data[-64:]) for i, data in words.items()]
    for index in sets:
        assert_refused(play[index], ConsistencyError, play[index].unmask, confirmed(play, both))


def test_clients_of_an_earlier_session_whose_keys_are_known_do_not_count_for_the_minimum():
    """Two were lost in a session; the server, which rebuilt their keys, plays them in another of the same settings.

    Five are as many as the threshold; but the clients demand six. No share of the two comes, and no signature.
    """
    earlier = Play(7, minimum=6)
    play = Play(7, minimum=6, label=b"again")
    old = {name: earlier.clients[name].advertise() for name in play.names[5:]}
    entries = [play.clients[name].advertise() for name in play.names[:5]] + list(old.values())
    roster = Roster(tuple(entries)).encode()
    shares = [Shares.decode(play[i].share(roster)) for i in range(5)]
    session, everybody = shares[0].session, tuple(range(7))
    for i in range(5):
        boxes = [(j, *delivered(shares[j], i)) for j in range(5)] + [(5, *NO_BOX), (6, *NO_BOX)]
        play[i].mask(Inbox(session, everybody, tuple(boxes)).encode(7), play.vectors[play.names[i]])
    told = Survivors(session, everybody).encode(7)
    words = Confirmed(session, tuple((i, play[i].confirm(told)[-64:]) for i in range(5))).encode()
    for i in range(5):
        assert_refused(play[i], ConsistencyError, play[i].unmask, words, match="5 neighbours .* 6 are needed")


@pytest.mark.parametrize("near", [True, False], ids=["neighbours", "strangers"])
def test_on_a_sparse_graph_the_words_of_neighbours_count_and_those_of_others_do_not(near):
    """The boxes are none, which costs shares and nothing else."""
    play = Play(102, corrupt=0.05, dropout=0.05).advertise()
    client, everybody = play[0], tuple(range(102))
    session = Shares.decode(client.share(play.roster)).session
    holders, need = play.server.members.holders(0), play.server.members.degree.threshold
    assert need < len(holders) < 30
    boxes = tuple((j, *NO_BOX) for j in holders)
    client.mask(Inbox(session, everybody, boxes).encode(102), play.vectors["c000"])
    client.confirm(Survivors(session, everybody).encode(102))
    who = holders[:need] if near else [j for j in everybody if j not in holders]
    words = confirmed(play, signatures(play, said(play, everybody), who))
    if near:
        assert Unmask.decode(client.unmask(words)).shares == ()
    else:
        assert_refused(client, ConsistencyError, client.unmask, words, match="^0 neighbours")


def test_settings_for_which_there_is_no_graph_end_the_session():
    play = Play(5, corrupt=0.4, dropout=0.5)
    roster = Roster(tuple(client.advertise() for client in play.clients.values())).encode()
    assert_refused(play[0], UsageError, play[0].share, roster)

"""A client reads who takes part: the keys, identities and models that it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.aggregation.secure import keys, prg
from tacit.aggregation.secure.config import Policy
from tacit.aggregation.secure.identity import Authority, Certificate
from tacit.aggregation.secure.messages import (
    Advertise,
    Inbox,
    Masked,
    Roster,
    Shares,
    Survivors,
    Unmask,
)
from tacit.errors import (
    IdentityError,
    PolicyError,
    StaleMessage,
    TacitError,
)
from tests.aggregation.secure.play import (
    LOW_ORDER,
    MODEL,
    NO_BOX,
    Play,
    assert_refused,
    delivered,
    forgotten,
    stream,
)

FORGER = Authority(stream(b"forger"))


def rostered(play, change):
    """The roster after `change`, a function of the list of its messages that gives another, in order."""
    entries = change([Advertise.decode(entry) for entry in Roster.decode(play.roster).entries])
    return Roster(tuple(one.encode() for one in entries)).encode()


def resigned(play, at=1, **changes):
    """A change of one client's keys that this client has signed itself: it is the attacker."""

    def change(entries):
        found = replace(entries[at], **changes)
        return [
            *entries[:at],
            replace(found, signature=play.identities[found.name].sign(found.signed)),
            *entries[at + 1 :],
        ]

    return change


def swapped(at=1, **changes):
    """A change that the server makes to one client's keys, and cannot sign."""
    return lambda entries: [*entries[:at], replace(entries[at], **changes), *entries[at + 1 :]]


def invented(authority, name="c001"):
    """A client of the server's own in place of another, certified by `authority`."""

    def change(entries):
        who = authority.identity(name, stream(b"invented"))
        found = replace(entries[1], name=name, identity=who.key, certificate=who.certificate)
        return [entries[0], replace(found, signature=who.sign(found.signed)), *entries[2:]]

    return change


def forged(play):
    """A certificate under the name of the accepted authority that it never gave."""

    def change(entries):
        who = FORGER.identity("c001", stream(b"invented"))
        found = replace(
            entries[1], identity=who.key, certificate=Certificate(play.authority.key, who.certificate.signature)
        )
        return [entries[0], replace(found, signature=who.sign(found.signed)), *entries[2:]]

    return change


ROSTERS = {
    "a key that the server exchanged": (lambda p: swapped(mask_key=b"k" * 32), IdentityError, "'c001' are not signed"),
    "a sealing key that it exchanged": (lambda p: swapped(seal_key=b"k" * 32), IdentityError, "'c001' are not signed"),
    "a model that it exchanged": (lambda p: swapped(model=b"o" * 32), IdentityError, "'c001' are not signed"),
    "a client's own key altered": (lambda p: swapped(0, mask_key=b"k" * 32), IdentityError, "with the keys that it"),
    "the client left out": (lambda p: lambda entries: entries[1:], IdentityError, "'c000' is not in the roster"),
    "a client without identity": (
        lambda p: swapped(identity=b"", certificate=None, signature=b""),
        IdentityError,
        "'c001' has no identity",
    ),
    "somebody of an unknown authority": (lambda p: invented(FORGER), IdentityError, "authority that is not accepted"),
    "a forged certificate": (forged, IdentityError, "'c001' is forged"),
    "another's certificate": (
        lambda p: swapped(certificate=p.identities["c002"].certificate),
        IdentityError,
        "'c001' is forged",
    ),
    "the same client twice": (
        lambda p: lambda entries: [entries[0], entries[1], entries[1], *entries[2:]],
        IdentityError,
        "names are unique",
    ),
    "clients out of order": (lambda p: lambda entries: entries[::-1], IdentityError, "and in order"),
    "one key of two clients": (
        lambda p: resigned(p, mask_key=Advertise.decode(p.adverts["c002"]).mask_key),
        IdentityError,
        "'c002' and 'c001' have the same key",
    ),
    "another's sealing key as masking key": (
        lambda p: resigned(p, mask_key=Advertise.decode(p.adverts["c000"]).seal_key),
        IdentityError,
        "have the same key",
    ),
    "one key for two purposes": (
        lambda p: resigned(p, mask_key=Advertise.decode(p.adverts["c001"]).seal_key),
        IdentityError,
        "uses one key for two purposes",
    ),
    "a sealing key of low order": (lambda p: resigned(p, seal_key=LOW_ORDER), IdentityError, "of 'c001' is of low"),
    "another model": (lambda p: resigned(p, model=b"o" * 32), PolicyError, "'c001' started from another model"),
    "settings of another session": (
        lambda p: resigned(p, config=b"o" * 32),
        StaleMessage,
        "'c001' signed the settings",
    ),
    "fewer than the minimum": (lambda p: lambda entries: entries[:2], PolicyError, "has 2 clients: sums are of 3 or"),
}


@pytest.mark.parametrize(("change", "error", "match"), ROSTERS.values(), ids=ROSTERS)
def test_a_client_refuses_a_roster_with(change, error, match):
    play = Play(5).advertise()
    assert_refused(play[0], error, play[0].share, rostered(play, change(play)), match=match)


def test_a_roster_beyond_what_the_client_reads_is_refused():
    play = Play(5, policy=Policy(minimum=3, authorities=(Play().authority.key,), most=4)).advertise()
    assert_refused(play[0], PolicyError, play[0].share, play.roster, match="5 clients: at most 4 are accepted")


def test_a_server_with_an_authority_of_its_own_cannot_surround_a_client():
    """Everybody else is invented: certified, signed, and by nobody whom the client trusts."""
    play = Play(5).advertise()
    others = [FORGER.identity(name, stream(name.encode())) for name in play.names[1:]]
    entries = [play.adverts["c000"]]
    for who in others:
        message = Advertise(
            play.config.digest, who.name, who.key[::-1], who.sign(b"")[:32], MODEL, who.key, who.certificate
        )
        entries.append(replace(message, signature=who.sign(message.signed)).encode())
    roster = Roster(tuple(entries)).encode()
    assert_refused(play[0], IdentityError, play[0].share, roster, match="authority that is not accepted")


def test_a_masking_key_of_low_order_is_found_before_anything_is_uploaded():
    play = Play(5).advertise()
    roster = rostered(play, resigned(play, mask_key=LOW_ORDER))
    client = play[0]
    shared = client.share(roster)
    session = Shares.decode(shared).session
    others = [play[i].share(roster) for i in range(2, 5)]
    found = [(0, *delivered(Shares.decode(shared), 0)), (1, *NO_BOX)]
    found += [(i + 2, *delivered(Shares.decode(data), 0)) for i, data in enumerate(others)]
    inbox = Inbox(session, (0, 1, 2, 3, 4), tuple(found)).encode(5)
    assert_refused(client, IdentityError, client.mask, inbox, np.zeros(8, np.int32), match="low order")


def test_keys_of_an_earlier_attempt_are_refused():
    earlier, play = Play(5, attempt=0).advertise(), Play(5, attempt=1, label=b"again").advertise()
    entries = list(Roster.decode(play.roster).entries)
    entries[1] = earlier.adverts["c001"]
    roster = Roster(tuple(entries)).encode()
    assert_refused(play[0], StaleMessage, play[0].share, roster, match="'c001' signed the settings of another session")


def test_an_identity_in_a_session_without_is_refused():
    play, other = Play(4, signed=False).advertise(), Play(4).advertise()
    entries = list(Roster.decode(play.roster).entries)
    stranger = replace(Advertise.decode(other.adverts["c001"]), config=play.config.digest)
    entries[1] = stranger.encode()
    assert_refused(play[0], IdentityError, play[0].share, Roster(tuple(entries)).encode(), match="a session without")


@settings(max_examples=40)
@given(at=st.integers(0), bit=st.integers(0, 7))
def test_a_roster_with_any_bit_changed_is_refused(at, bit):
    play = Play(3).advertise()
    changed = bytearray(play.roster)
    changed[at % len(changed)] ^= 1 << bit
    with pytest.raises(TacitError):
        play[0].share(bytes(changed))
    assert forgotten(play[0])


# Models


def test_clients_of_different_models_are_summed_only_by_those_who_agree_to_it():
    models = {"c000": b"o" * 32}
    play = Play(5, models=models).advertise()
    assert_refused(play[0], PolicyError, play[0].share, play.roster, match="started from another model")
    policy = replace(play.policy, same_model=False)
    play = Play(5, models=models, policy=policy).advertise().share().mask().confirm().unmask()
    assert play.total().tolist() == play.plain().tolist()


def test_a_server_that_lies_to_each_about_the_others_model_gets_garbage():
    """Without identities it can. But the models are part of the session: no box opens, and no mask cancels."""
    models = {name: name.encode() * 8 for name in Play(4).names}
    policy = Policy(minimum=3, corrupt=0.0, insecure_unsigned=True)
    play = Play(4, models=models, policy=policy, signed=False).advertise()
    told = {}
    for name in play.names:
        roster = rostered(play, lambda entries, name=name: [replace(e, model=models[name]) for e in entries])
        told[name] = Shares.decode(play.clients[name].share(roster))
    assert len({shares.session for shares in told.values()}) == 4
    total, own = np.zeros(8, np.uint32), []
    for index, (name, shares) in enumerate(told.items()):
        own.append(keys.self_key(play[index]._seed, shares.session))
        boxes = tuple((j, *delivered(told[other], index)) for j, other in enumerate(play.names))
        inbox = Inbox(shares.session, (0, 1, 2, 3), boxes).encode(4)
        total += Masked.decode(play[index].mask(inbox, play.vectors[name]), 8, 32).words
        assert [str(error).split("'")[1] for error in play[index].complaints] == [n for n in play.names if n != name]
        answer = play[index].unmask(Survivors(shares.session, (0, 1, 2, 3)).encode(4))
        assert [owner for owner, _ in Unmask.decode(answer).shares] == [index]
    prg.remove_streams(total, own, [1] * 4, 1)  # even of a server that knew every self mask
    assert not (total.view("<i4") == play.plain(play.names)).any()

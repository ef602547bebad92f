"""Tokens and participants."""

from collections.abc import Callable
from hashlib import sha256

import pytest

from tacit.errors import UsageError
from tacit.network.journal import Journal, Standing
from tacit.network.office import Code, Refused

from .conftest import Clock

TOKEN, OTHER = sha256(b"token").digest(), sha256(b"other").digest()
A, B = b"a" * 32, b"b" * 32
LATER = 2_000_000_000


def refused(code: Code, what: Callable[[], object]) -> None:
    with pytest.raises(Refused) as caught:
        what()
    assert caught.value.code is code


def test_a_token_takes_in_as_many_participants_as_it_has_uses(journal: Journal) -> None:
    journal.add_token(TOKEN, uses=2, expires_ms=LATER)
    assert journal.enrol(TOKEN, "one", A).result().position == 0
    assert journal.enrol(TOKEN, "two", B).result().position == 1
    refused(Code.FORBIDDEN, lambda: journal.enrol(TOKEN, "three", b"c" * 32).result())
    assert [(one.name, one.key, one.state) for one in journal.participants()] == [
        ("one", A, Standing.ACTIVE),
        ("two", B, Standing.ACTIVE),
    ]


def test_asking_again_gives_the_same_record_and_spends_nothing(journal: Journal) -> None:
    journal.add_token(TOKEN, uses=2, expires_ms=LATER)
    first = journal.enrol(TOKEN, "one", A).result()
    assert journal.enrol(TOKEN, "one", A).result() == first
    journal.enrol(TOKEN, "two", B).result()
    assert journal.enrol(TOKEN, "one", A).result() == first  # though the token is spent by now


def test_many_who_come_at_once_with_one_token_are_one(journal: Journal) -> None:
    journal.add_token(TOKEN, expires_ms=LATER)
    asked = [journal.enrol(TOKEN, f"name {number}", bytes([number]) * 32) for number in range(50)]
    assert sum(one.exception() is None for one in asked) == 1
    assert len(journal.participants()) == 1


def test_wrong_spent_and_expired_tokens_are_refused(journal: Journal, clock: Clock) -> None:
    refused(Code.FORBIDDEN, lambda: journal.enrol(TOKEN, "one", A).result())
    journal.add_token(TOKEN, expires_ms=int(clock.now * 1000) + 10)
    clock.now += 1
    refused(Code.FORBIDDEN, lambda: journal.enrol(TOKEN, "one", A).result())
    assert journal.participants() == []


def test_a_name_or_a_key_that_is_taken_is_refused_and_the_token_not_spent(journal: Journal) -> None:
    journal.add_token(TOKEN, expires_ms=LATER)
    journal.add_token(OTHER, expires_ms=LATER)
    journal.enrol(TOKEN, "one", A).result()
    refused(Code.FORBIDDEN, lambda: journal.enrol(OTHER, "one", B).result())
    refused(Code.FORBIDDEN, lambda: journal.enrol(OTHER, "two", A).result())
    assert journal.enrol(OTHER, "two", B).result().position == 1


@pytest.mark.parametrize("name", ["", "a\0b", "a\nb", "\ud800", "x" * 201])
def test_what_is_no_name_is_refused(journal: Journal, name: str) -> None:
    journal.add_token(TOKEN, expires_ms=LATER)
    refused(Code.MALFORMED, lambda: journal.enrol(TOKEN, name, A).result())


def test_who_was_revoked_or_has_withdrawn_stays_so_after_a_restart(opened: Callable[[], Journal]) -> None:
    journal = opened()
    journal.add_token(TOKEN, uses=3, expires_ms=LATER)
    journal.enrol(TOKEN, "one", A).result()
    journal.enrol(TOKEN, "two", B).result()
    journal.revoke("one", "its key was stolen")
    assert journal.withdraw("two").result().state is Standing.WITHDRAWN
    journal = opened()
    assert [one.state for one in journal.participants()] == [Standing.REVOKED, Standing.WITHDRAWN]
    refused(Code.REVOKED, lambda: journal.enrol(TOKEN, "one", A).result())
    refused(Code.FORBIDDEN, lambda: journal.enrol(TOKEN, "new name", A).result())
    assert journal.withdraw("one").result().state is Standing.REVOKED
    assert journal.participants()[0].reason == "its key was stolen"


def test_nobody_of_an_unknown_name_can_be_revoked(journal: Journal) -> None:
    refused(Code.UNKNOWN, lambda: journal.revoke("nobody", "?"))


def test_a_token_is_added_once_and_must_be_one(journal: Journal) -> None:
    journal.add_token(TOKEN, expires_ms=LATER)
    for digest, uses in ((TOKEN, 1), (b"short", 1), (OTHER, 0)):
        with pytest.raises(UsageError):
            journal.add_token(digest, uses=uses, expires_ms=LATER)

"""Invitations: one line that pins whom it leads to, and whose secret no message repeats."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.network.identity import Invitation, hash_of, new_token

GOOD = Invitation("https://fl.example:8443", new_token(), bytes(range(32)), b"certificate")


@pytest.mark.parametrize("ca", [None, b"certificate", bytes(700)])
@pytest.mark.parametrize("url", ["https://fl.example:8443", "http://127.0.0.1:80", "https://[::1]:8443"])
def test_an_invitation_is_read_back_from_its_line(url: str, ca: bytes | None) -> None:
    made = Invitation(url, new_token(), bytes(range(32)), ca)
    assert Invitation.read(f"  {made.text}\n") == made
    assert "\n" not in made.text


def test_tokens_are_never_the_same_and_only_their_hash_is_kept() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 43 for token in tokens)
    assert hash_of("abc") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tacit+", ""),
        ("https", "ftp"),
        (":8443", ""),
        (":8443", ":99999"),
        ("/#", "#"),
        ("/#", "/path#"),
        ("/#", "/?q#"),
        ("fl.example", "eve@fl.example"),
        ("token=", "token=A"),
        ("token=", "t="),
        ("authority=", "authority=AAAA"),
        ("&ca=", "&cb="),
        ("&ca=", "&token="),
        ("&ca=", "&ca==="),
        ("&ca=", "&ca=é"),
    ],
)
def test_a_line_that_was_changed_is_refused_without_repeating_the_token(old: str, new: str) -> None:
    text = GOOD.text.replace(old, new, 1)
    assert text != GOOD.text
    with pytest.raises(UsageError, match="no invitation") as refused:
        Invitation.read(text)
    assert GOOD.token[:10] not in str(refused.value)


def test_a_token_is_not_in_what_is_printed_for_programmers() -> None:
    assert GOOD.token not in repr(GOOD)


@given(st.text(max_size=200) | st.text(max_size=100).map(lambda text: GOOD.text + text))
def test_any_text_is_an_invitation_or_is_refused(text: str) -> None:
    try:
        found = Invitation.read(text)
    except UsageError:
        return
    assert found.text == text.strip()

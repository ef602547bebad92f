"""Identities: whose key it is, in an authority's word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.secure.identity import Authority, Certificate, verified
from tests.aggregation.secure.play import flipped, stream

AUTHORITY = Authority(stream(b"authority"))
ANNA = AUTHORITY.identity("anna", stream(b"anna"))

RFC8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        "387b2eaeb4302aeeb00d291612bb0c00",
    ),
]


@pytest.mark.parametrize(("secret", "key", "message", "signature"), RFC8032)
def test_signatures_are_those_of_rfc_8032(secret, key, message, signature):
    who = AUTHORITY.identity("somebody", lambda size: bytes.fromhex(secret))
    assert who.key.hex() == key
    assert who.sign(bytes.fromhex(message)).hex() == signature
    assert verified(who.key, bytes.fromhex(signature), bytes.fromhex(message))


@given(st.binary(max_size=64), st.integers(0, 63))
def test_a_signature_holds_for_its_message_and_key_alone(message, at):
    signature = ANNA.sign(message)
    assert verified(ANNA.key, signature, message)
    assert not verified(ANNA.key, flipped(signature, at), message)
    assert not verified(ANNA.key, signature, message + b"\0")
    assert not verified(AUTHORITY.key, signature, message)


@pytest.mark.parametrize(
    ("key", "signature"), [(b"", bytes(64)), (bytes(31), bytes(64)), (bytes(32), b""), (b"\xff" * 32, bytes(64))]
)
def test_what_is_no_key_or_no_signature_verifies_nothing(key, signature):
    assert not verified(key, signature, b"message")


def test_a_certificate_holds_for_its_name_and_key_alone():
    other = AUTHORITY.identity("berta", stream(b"berta"))
    assert ANNA.certificate.holds("anna", ANNA.key)
    assert not ANNA.certificate.holds("berta", ANNA.key)
    assert not ANNA.certificate.holds("anna", other.key)
    assert not other.certificate.holds("anna", ANNA.key)


def test_a_certificate_under_the_name_of_another_authority_does_not_hold():
    forger = Authority(stream(b"forger"))
    forged = Certificate(AUTHORITY.key, forger.certify("anna", ANNA.key).signature)
    assert forger.certify("anna", ANNA.key).holds("anna", ANNA.key)
    assert not forged.holds("anna", ANNA.key)


@given(st.text(min_size=1, max_size=8), st.text(min_size=1, max_size=8))
def test_no_two_names_share_a_certificate(one, other):
    assert AUTHORITY.certify(one, ANNA.key).holds(other, ANNA.key) == (one == other)


def test_a_private_key_is_not_shown():
    assert "_private" not in repr(ANNA)
    assert stream(b"anna")(32).hex() not in repr(ANNA)

"""A request that was seen before is refused from memory, and what can pass no more is forgotten."""

from dataclasses import replace

from tacit.network.http.gate import Nonces
from tacit.network.http.signing import Signed

NOW = 1_700_000_000_000
REQUEST = Signed("1", "clinic", NOW, bytes(16), bytes(32), bytes(64))


def test_a_request_is_new_once():
    nonces = Nonces(300.0)
    assert nonces.use(REQUEST, NOW)
    assert not nonces.use(REQUEST, NOW + 299_000)


def test_another_participant_or_nonce_is_another_request():
    nonces = Nonces(300.0)
    assert nonces.use(REQUEST, NOW)
    assert nonces.use(replace(REQUEST, participant="silo"), NOW)
    assert nonces.use(replace(REQUEST, nonce=bytes(15) + b"1"), NOW)


def test_what_was_signed_too_long_ago_to_pass_is_forgotten():
    nonces = Nonces(300.0)
    for minute in range(100):
        at = NOW + 60_000 * minute
        assert nonces.use(replace(REQUEST, time=at), at)
        assert nonces.use(replace(REQUEST, time=at, nonce=bytes(15) + b"1"), at)
    assert len(nonces._seen) <= 300 // 60 + 2

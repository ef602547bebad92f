"""The keys of a session: X25519 pairs (RFC 7748), and what is derived from them (HKDF-SHA256, RFC 5869)."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tacit.aggregation.secure import prg
from tacit.aggregation.secure.messages import COMMITMENT
from tacit.aggregation.secure.shamir import SHARE
from tacit.errors import IdentityError, ShareDecryptError

SECRET = 32
"""Bytes of a private key, and of the seed of a self mask."""
NONCE = bytes(12)
"""A sealing key is used once: for one session, one owner and one holder."""

PRINT = 16
"""Bytes of the key of a fingerprint."""
SLICE = 2**30
"""Bytes that are authenticated at a time."""


def session_of(config: bytes, roster: bytes) -> bytes:
    """The identity of a session: of its settings (their digest), and of its roster (all its bytes)."""
    return hashlib.sha256(b"tacit/secagg/1/session" + config + hashlib.sha256(roster).digest()).digest()


def ring_seed(session: bytes) -> bytes:
    """The seed of the graph: every client's keys are in it.

    Who sends its keys last, and knows all others, may try 2^r of them for a graph that suits: that costs r bits of
    sigma.
    """
    return hashlib.sha256(b"tacit/secagg/1/ring" + session).digest()


def public_of(secret: bytes) -> bytes:
    """The public key of a private one."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def agreed(secret: X25519PrivateKey, public: bytes, whose: str) -> bytes:
    """What two clients share and nobody else knows, 32 bytes.

    Raises:
        IdentityError: the public key is one with which everybody would share the same.
    """
    try:
        return secret.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise IdentityError(f"a key of {whose!r} is of low order: whoever knows it would know the masks") from error


def require_order(public: bytes, whose: str) -> None:
    """Refuses a public key with which everybody would share the same.

    Raises:
        IdentityError: it is one.
    """
    agreed(_ANY, public, whose)


def mask_key(shared: bytes, session: bytes, one: int, other: int) -> bytes:
    """The key of the mask between two clients, by roster indices."""
    low, high = min(one, other), max(one, other)
    return _derived(shared, session, b"mask" + low.to_bytes(4, "big") + high.to_bytes(4, "big"), prg.KEY)


def self_key(seed: bytes, session: bytes) -> bytes:
    """The key of a client's self mask."""
    return _derived(seed, session, b"self", prg.KEY)


def seal(shared: bytes, session: bytes, owner: int, holder: int, shares: bytes) -> bytes:
    """An owner's shares, readable by their holder alone (AES-128-GCM)."""
    return _box(shared, session, owner, holder).encrypt(NONCE, shares, _label(session, owner, holder))


def opened(shared: bytes, session: bytes, owner: int, holder: int, box: bytes, whose: str) -> tuple[bytes, bytes]:
    """The shares in a sealed box: of the self mask, and of the masking key.

    Raises:
        ShareDecryptError: it was changed, or is for somebody else, or of another session.
    """
    try:
        found = _box(shared, session, owner, holder).decrypt(NONCE, box, _label(session, owner, holder))
    except InvalidTag:
        raise ShareDecryptError(f"the sealed shares of {whose!r} do not open: they were changed on their way") from None
    return found[:SHARE], found[SHARE:]


def commitment(session: bytes, owner: int, seed: bytes) -> bytes:
    """What an owner commits to as the seed of its self mask."""
    return hashlib.sha256(b"tacit/secagg/1/seed" + session + owner.to_bytes(4, "big") + seed).digest()


def share_commitment(session: bytes, owner: int, holder: int, kind: int, share: bytes) -> bytes:
    """What an owner commits to as a share: kind 0 of the self mask, 1 of the masking key."""
    place = owner.to_bytes(4, "big") + holder.to_bytes(4, "big") + bytes([kind])
    return hashlib.sha256(b"tacit/secagg/1/share" + session + place + share).digest()[:COMMITMENT]


def fingerprint(key: bytes, data: bytes | memoryview) -> bytes:
    """What tells a message from others for whoever alone knows the key: GMAC, many times as fast as a hash, 16 bytes.

    Its nonce is always the same: fingerprints must not leave their owner.
    """
    tag, whole = Cipher(algorithms.AES(key), modes.GCM(NONCE)).encryptor(), memoryview(data)
    for at in range(0, len(whole), SLICE):
        tag.authenticate_additional_data(whole[at : at + SLICE])
    tag.finalize()
    return tag.tag


def _box(shared: bytes, session: bytes, owner: int, holder: int) -> AESGCM:
    place = owner.to_bytes(4, "big") + holder.to_bytes(4, "big")
    return AESGCM(_derived(shared, session, b"seal" + place, 16))


def _label(session: bytes, owner: int, holder: int) -> bytes:
    return session + owner.to_bytes(4, "big") + holder.to_bytes(4, "big")


def _derived(secret: bytes, session: bytes, purpose: bytes, size: int) -> bytes:
    return HKDF(hashes.SHA256(), size, salt=session, info=b"tacit/secagg/1/" + purpose).derive(secret)


_ANY = X25519PrivateKey.from_private_bytes(bytes(range(SECRET)))

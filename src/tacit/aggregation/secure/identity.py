"""Identities: a long-lived signing key of each participant, and an authority's word for whose it is.

Secure aggregation hides a client among the others; a server that may invent those others hides nothing. So every client
signs its keys (Ed25519, RFC 8032), and an authority that is not the server certifies whose signature that is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tacit.aggregation.secure.wire import Writer

KEY, SIGNATURE = 32, 64
"""Bytes of a key, and of a signature."""
CERTIFICATE = 0
"""The kind of message that an authority signs."""


@dataclass(frozen=True)
class Certificate:
    """An authority's word that a signing key belongs to a name.

    Attributes:
        authority: its public key, 32 bytes.
        signature: over name and key, 64 bytes.
    """

    authority: bytes
    signature: bytes

    def holds(self, name: str, key: bytes) -> bool:
        """Whether the authority signed that `key` is that of `name`."""
        return verified(self.authority, self.signature, _certified(name, key))


@dataclass(frozen=True)
class Identity:
    """A participant's signing key, with its certificate.

    Attributes:
        name: whose it is.
        key: its public part, 32 bytes.
        certificate: of an authority.
    """

    name: str
    key: bytes
    certificate: Certificate
    _private: Ed25519PrivateKey = field(repr=False, compare=False)

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        return self._private.sign(message)


class Authority:
    """Who certifies participants. Where it is also the server, it can invent them.

    Args:
        draw: n random bytes.
    """

    def __init__(self, draw: Callable[[int], bytes]) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(draw(KEY))
        self.key = self._private.public_key().public_bytes_raw()

    def certify(self, name: str, key: bytes) -> Certificate:
        """The certificate of a participant whose public key is `key`."""
        return Certificate(self.key, self._private.sign(_certified(name, key)))

    def identity(self, name: str, draw: Callable[[int], bytes]) -> Identity:
        """A new identity, for tests and simulations: elsewhere a private key is made where it stays."""
        private = Ed25519PrivateKey.from_private_bytes(draw(KEY))
        key = private.public_key().public_bytes_raw()
        return Identity(name, key, self.certify(name, key), private)


def verified(key: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is that of the owner of `key` under `message`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _certified(name: str, key: bytes) -> bytes:
    return Writer(CERTIFICATE).text(name).fixed(key).done()

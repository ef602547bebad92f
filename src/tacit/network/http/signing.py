"""Every request is signed: over who asks what of whom, when, and the digest of its body.

The text that is signed is eight lines, each ended by a line feed (docs/protocol.md has it byte for byte):

    tacit-request
    version of the protocol, as in Tacit-Version
    method
    path with query, as in the request line
    SHA-256 of the body, 64 hexadecimal digits
    ms since 1970, decimal digits
    nonce, 32 hexadecimal digits
    participant, as in Tacit-Participant

The digest is signed and not the body, so that a coordinator knows who sends before it takes a byte of what is sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote, unquote

from tacit.aggregation.secure.identity import verified
from tacit.aggregation.secure.messages import is_name
from tacit.network.office import Code, Refused
from tacit.network.wire.checks import DIGITS

VERSION = "Tacit-Version"
PARTICIPANT = "Tacit-Participant"
TIME = "Tacit-Time"
NONCE = "Tacit-Nonce"
DIGEST = "Tacit-Digest"
SIGNATURE = "Tacit-Signature"
HEADERS = (VERSION, PARTICIPANT, TIME, NONCE, DIGEST, SIGNATURE)
CONTEXT = "tacit-request"
NONCE_BYTES = 16
KEEPS = "-._~"
"""Characters of a name, beside letters and digits of ASCII, that are not written as %XX."""


class Signer(Protocol):
    """Who signs: an `aggregation.secure.identity.Identity` does."""

    @property
    def name(self) -> str:
        """Whose requests they are."""
        ...

    def sign(self, message: bytes) -> bytes:
        """The signature of a message, 64 bytes."""
        ...


@dataclass(frozen=True)
class Signed:
    """What the headers of a request say about it; nothing of it is verified yet.

    Attributes:
        version: of the protocol.
        participant: who asks.
        time: ms since 1970.
        nonce: 16 bytes that are used once.
        digest: SHA-256 of the body, 32 bytes.
        signature: 64 bytes.
    """

    version: str
    participant: str
    time: int
    nonce: bytes
    digest: bytes
    signature: bytes

    @classmethod
    def read(cls, headers: Mapping[str, str]) -> Signed:
        """What these headers say.

        Raises:
            Refused: UNSIGNED, a part is missing or is not written as it must be.
        """
        missing = [name for name in HEADERS if name not in headers]
        if missing:
            raise Refused(Code.UNSIGNED, f"the request has no {', '.join(missing)}", "sign every request")
        name = unquote(headers[PARTICIPANT], errors="replace")
        if not is_name(name) or written(name) != headers[PARTICIPANT]:
            raise _unsigned(PARTICIPANT)
        time = headers[TIME]
        if not (1 <= len(time) <= 16 and time.isascii() and time.isdigit()) or str(int(time)) != time:
            raise _unsigned(TIME)
        return cls(
            headers[VERSION],
            name,
            int(time),
            _bytes(headers, NONCE, NONCE_BYTES),
            _bytes(headers, DIGEST, 32),
            _bytes(headers, SIGNATURE, 64),
        )

    def text(self, method: str, target: str) -> bytes:
        """What is signed, for a request of this method to this path with query."""
        time, nonce, name = str(self.time), self.nonce.hex(), written(self.participant)
        return text(self.version, method, target, self.digest.hex(), time, nonce, name)

    def verify(self, key: bytes, method: str, target: str) -> None:
        """Checks the signature.

        Raises:
            Refused: UNSIGNED, it is not that of the owner of `key` under this request.
        """
        if not verified(key, self.signature, self.text(method, target)):
            raise Refused(
                Code.UNSIGNED,
                f"the signature of {self.participant!r} does not fit this request",
                "it may have been changed on its way, or signed by another key: enrol again if the key was replaced",
            )

    def check_time(self, now: float, window: float) -> None:
        """Checks that it was signed about now. Both in seconds.

        Raises:
            Refused: SKEWED.
        """
        off = self.time / 1000 - now
        if abs(off) > window:
            side = "ahead of" if off > 0 else "behind"
            raise Refused(
                Code.SKEWED,
                f"the request was signed {abs(off):.0f} s {side} the coordinator's clock: {window:.0f} s are allowed",
                "set the clock",
            )


def text(version: str, method: str, target: str, digest: str, time: str, nonce: str, participant: str) -> bytes:
    """The text that is signed."""
    return "".join(f"{line}\n" for line in (CONTEXT, version, method, target, digest, time, nonce, participant)).encode(
        "ascii", "backslashreplace"
    )


def signed(
    signer: Signer, *, version: str, method: str, target: str, digest: bytes, time: int, nonce: bytes
) -> dict[str, str]:
    """The headers of a request.

    Args:
        target: path with query, as it will stand in the request line.
        digest: SHA-256 of the body, 32 bytes.
        time: ms since 1970.
        nonce: 16 random bytes.
    """
    name = written(signer.name)
    message = text(version, method, target, digest.hex(), str(time), nonce.hex(), name)
    values = (version, name, str(time), nonce.hex(), digest.hex(), signer.sign(message).hex())
    return dict(zip(HEADERS, values, strict=True))


def written(name: str) -> str:
    """A participant's name as a header has it: UTF-8, everything but letters, digits and -._~ as %XX."""
    return quote(name, safe=KEEPS)


def _bytes(headers: Mapping[str, str], name: str, size: int) -> bytes:
    value = headers[name]
    if len(value) != 2 * size or not set(value) <= DIGITS:
        raise _unsigned(name)
    return bytes.fromhex(value)


def _unsigned(name: str) -> Refused:
    return Refused(Code.UNSIGNED, f"{name} is not written as it must be", "sign as docs/protocol.md says")

"""The messages between silos and server, and the bytes of each.

Once in a run: `Joined` from every silo, the roster of all to everybody, and from the first silo in it a `Box` with the
secret key for each other one, which the server carries and cannot open. In every round: `Report` from every silo,
`Question` to one of them, `Answer` from it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.aggregation.secure.identity import KEY, SIGNATURE, Certificate
from tacit.aggregation.secure.wire import Reader, Writer, bits_of, members_of
from tacit.errors import MalformedMessage

JOINED, ROSTER, BOX, REPORT, QUESTION, ANSWER = range(33, 39)
DIGEST = 32
NAME = 64
"""Longest name of a silo, in bytes."""


@dataclass(frozen=True)
class Joined:
    """A silo's key for this run, under its identity.

    Attributes:
        settings: digest of what the run agreed on.
        name: of the silo.
        key: X25519 public key, 32 bytes.
        identity: Ed25519 public key, 32 bytes.
        certificate: of the identity.
        signature: under the identity, of everything else here.
    """

    settings: bytes
    name: str
    key: bytes
    identity: bytes
    certificate: Certificate
    signature: bytes = bytes(SIGNATURE)

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        return replace(self, signature=bytes(SIGNATURE)).encode()

    def encode(self) -> bytes:
        """Its bytes."""
        writer = Writer(JOINED).fixed(self.settings).text(self.name).fixed(self.key).fixed(self.identity)
        writer.fixed(self.certificate.authority).fixed(self.certificate.signature)
        return writer.fixed(self.signature).done()

    @classmethod
    def decode(cls, data: bytes) -> Joined:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, JOINED)
        settings, name = r.fixed(DIGEST), r.text()
        if not name or len(name.encode()) > NAME:
            raise MalformedMessage(f"a silo's name has {len(name.encode())} bytes: 1 to {NAME} are allowed")
        found = cls(settings, name, r.fixed(KEY), r.fixed(KEY), Certificate(r.fixed(KEY), r.fixed(SIGNATURE)))
        found = replace(found, signature=r.fixed(SIGNATURE))
        r.end()
        return found


def roster_of(entries: list[bytes]) -> bytes:
    """The roster of these `Joined`."""
    writer = Writer(ROSTER).number(len(entries))
    for entry in entries:
        writer.number(len(entry), 2).fixed(entry)
    return writer.done()


def entries_of(roster: bytes, most: int) -> list[bytes]:
    """The `Joined` of a roster.

    Raises:
        MalformedMessage: it is none, or longer than `most`.
    """
    r = Reader(roster, ROSTER)
    count = r.count(2)
    if count > most:
        raise MalformedMessage(f"the roster has {count} silos: {most} at most are read")
    found = [r.fixed(r.number(2)) for _ in range(count)]
    r.end()
    return found


@dataclass(frozen=True)
class Box:
    """The secret key, sealed by the silo that made it for one other.

    Attributes:
        session: of the settings and the roster, 32 bytes.
        sealed: AES-GCM under what the two silos share.
    """

    session: bytes
    sealed: bytes

    def encode(self) -> bytes:
        """Its bytes."""
        return Writer(BOX).fixed(self.session).number(len(self.sealed)).fixed(self.sealed).done()

    @classmethod
    def decode(cls, data: bytes) -> Box:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, BOX)
        found = cls(r.fixed(DIGEST), r.fixed(r.number()))
        r.end()
        return found


@dataclass(frozen=True)
class Report:
    """A silo's encrypted vector.

    Attributes:
        session: see `Box`.
        round: from 0.
        ciphertexts: of the vector.
        signature: of the silo, of everything else here.
    """

    session: bytes
    round: int
    ciphertexts: tuple[bytes, ...]
    signature: bytes = bytes(SIGNATURE)

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        return replace(self, signature=bytes(SIGNATURE)).encode()

    def encode(self) -> bytes:
        """Its bytes."""
        writer = _begun(REPORT, self.session, self.round).fixed(self.signature)
        return _written(writer, self.ciphertexts).done()

    @classmethod
    def decode(cls, data: bytes, count: int, largest: int) -> Report:
        """The message in these bytes, with `count` ciphertexts of at most `largest` bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, REPORT)
        session, round, signature = r.fixed(DIGEST), r.number(8), r.fixed(SIGNATURE)
        found = cls(session, round, _read(r, count, largest), signature)
        r.end()
        return found


@dataclass(frozen=True)
class Question:
    """The encrypted sum, for one silo to decrypt.

    Attributes:
        session, round: see `Report`.
        members: roster indices of the silos that are in it, by what the server says.
        silos: in the roster.
        ciphertexts: of the sum.
    """

    session: bytes
    round: int
    members: tuple[int, ...]
    silos: int
    ciphertexts: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Its bytes."""
        writer = _begun(QUESTION, self.session, self.round).fixed(bits_of(self.members, self.silos))
        return _written(writer, self.ciphertexts).done()

    @classmethod
    def decode(cls, data: bytes, silos: int, count: int, largest: int) -> Question:
        """The message in these bytes; see `Report.decode`.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, QUESTION)
        session, round = r.fixed(DIGEST), r.number(8)
        members = members_of(r.fixed((silos + 7) // 8), silos)
        found = cls(session, round, members, silos, _read(r, count, largest))
        r.end()
        return found


@dataclass(frozen=True)
class Answer:
    """The decrypted sum.

    Attributes:
        session, round: see `Report`.
        words: (m,) signed, 32 or 64 bits each.
        signature: of the silo, of everything else here.
    """

    session: bytes
    round: int
    words: NDArray[Any]
    signature: bytes = bytes(SIGNATURE)

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        return replace(self, signature=bytes(SIGNATURE)).encode()

    def encode(self) -> bytes:
        """Its bytes; words are little-endian."""
        return _begun(ANSWER, self.session, self.round).fixed(self.signature).fixed(self.words.tobytes()).done()

    @classmethod
    def decode(cls, data: bytes, length: int, bits: int) -> Answer:
        """The message in these bytes, with `length` words.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, ANSWER)
        session, round, signature = r.fixed(DIGEST), r.number(8), r.fixed(SIGNATURE)
        words = np.frombuffer(r.view(length * bits // 8), dtype=f"<i{bits // 8}")
        r.end()
        return cls(session, round, words, signature)


def _begun(kind: int, session: bytes, round: int) -> Writer:
    return Writer(kind).fixed(session).number(round, 8)


def _written(writer: Writer, ciphertexts: tuple[bytes, ...]) -> Writer:
    for one in ciphertexts:
        writer.number(len(one)).fixed(one)
    return writer


def _read(r: Reader, count: int, largest: int) -> tuple[bytes, ...]:
    """So many ciphertexts as the settings say: what the message claims is not asked."""
    found = []
    for _ in range(count):
        size = r.number()
        if size > largest:
            raise MalformedMessage(f"a ciphertext of {size} bytes: {largest} at most are read")
        found.append(r.fixed(size))
    return tuple(found)

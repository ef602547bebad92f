"""The messages of a session, and the bytes of each.

Each names its session. None can carry both kinds of share of one client: an answer to the last step holds one share for
each owner, and which one it is follows from the survivors alone. What is not here does not travel: no number of
examples, no metric, nothing beside the masked vector.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.aggregation.secure.config import DIGEST
from tacit.aggregation.secure.identity import KEY, SIGNATURE, Certificate
from tacit.aggregation.secure.shamir import SHARE
from tacit.aggregation.secure.wire import Reader, Writer, bits_of, members_of
from tacit.errors import MalformedMessage, PolicyError

ADVERTISE, ROSTER, SHARES, INBOX, MASKED, SURVIVORS, CONFIRM, CONFIRMED, UNMASK = range(2, 11)
NAME = 64
"""Longest name of a client, in bytes."""
TAG = 16
SEALED = 2 * SHARE + TAG
"""Bytes of two sealed shares."""
COMMITMENT = 16
"""Bytes of what an owner commits to for each share: nobody can find another share that fits."""

Words = NDArray[Any]


@dataclass(frozen=True)
class Advertise:
    """A client's keys for one session.

    Attributes:
        config: digest of the session's settings.
        name: of the client.
        seal_key, mask_key: X25519 public keys, 32 bytes.
        model: digest of the model it started from.
        identity: its Ed25519 public key; empty in sessions without identities, like the next two.
        certificate: of its identity.
        signature: under its identity, of everything else here.
    """

    config: bytes
    name: str
    seal_key: bytes
    mask_key: bytes
    model: bytes
    identity: bytes = b""
    certificate: Certificate | None = None
    signature: bytes = b""

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All public keys in it."""
        return (self.seal_key, self.mask_key, self.identity) if self.identity else (self.seal_key, self.mask_key)

    @property
    def signed(self) -> bytes:
        """What the signature is of."""
        return replace(self, signature=b"").encode()

    def encode(self) -> bytes:
        """Its bytes."""
        writer = Writer(ADVERTISE).fixed(self.config).text(self.name)
        writer.fixed(self.seal_key).fixed(self.mask_key).fixed(self.model).number(self.certificate is not None, 1)
        if self.certificate is not None:
            writer.fixed(self.identity).fixed(self.certificate.authority).fixed(self.certificate.signature)
            writer.fixed(self.signature)
        return writer.done()

    @classmethod
    def decode(cls, data: bytes) -> Advertise:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, ADVERTISE)
        config, name = r.fixed(DIGEST), r.text()
        if not name or len(name.encode()) > NAME:
            raise MalformedMessage(f"a client's name has {len(name.encode())} bytes: 1 to {NAME} are allowed")
        read = r.fixed(2 * KEY + DIGEST + 1)  # at once: a roster has many of these
        keys, flag = (read[:KEY], read[KEY : 2 * KEY], read[2 * KEY : -1]), read[-1]
        if flag > 1:
            raise MalformedMessage("a flag of the message is neither 0 nor 1")
        known: tuple[Any, ...] = ()
        if flag:
            known = r.fixed(KEY), Certificate(r.fixed(KEY), r.fixed(SIGNATURE)), r.fixed(SIGNATURE)
        r.end()
        return cls(config, name, *keys, *known)


@dataclass(frozen=True)
class Roster:
    """Who takes part: every client's keys, in the order of their names.

    Attributes:
        entries: the bytes of the clients' `Advertise`, as they sent them.
    """

    entries: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Its bytes."""
        writer = Writer(ROSTER).number(len(self.entries))
        for entry in self.entries:
            writer.number(len(entry), 2).fixed(entry)
        return writer.done()

    @classmethod
    def decode(cls, data: bytes, most: int = 2**32) -> Roster:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
            PolicyError: it names more than `most` clients.
        """
        r = Reader(data, ROSTER)
        count = r.count(2)
        if count > most:
            raise PolicyError(f"the roster has {count} clients: at most {most} are accepted")
        entries = tuple(r.fixed(r.number(2)) for _ in range(count))
        r.end()
        return cls(entries)


@dataclass(frozen=True)
class Sealed:
    """What the owner of two secrets sends for one holder.

    Attributes:
        holder: roster index.
        box: both shares, sealed for the holder.
        commitments: to the share of the self mask, and to that of the masking key.
    """

    holder: int
    box: bytes
    commitments: tuple[bytes, bytes]


@dataclass(frozen=True)
class Shares:
    """A client's secrets, shared among its neighbours and itself.

    Attributes:
        session: its identity, 32 bytes.
        commitment: to the seed of the self mask, 32 bytes.
        boxes: by holder, ascending.
    """

    session: bytes
    commitment: bytes
    boxes: tuple[Sealed, ...]

    def encode(self) -> bytes:
        """Its bytes."""
        writer = Writer(SHARES).fixed(self.session).fixed(self.commitment).number(len(self.boxes))
        for one in self.boxes:
            writer.number(one.holder).fixed(one.box).fixed(one.commitments[0]).fixed(one.commitments[1])
        return writer.done()

    @classmethod
    def decode(cls, data: bytes) -> Shares:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, SHARES)
        session, commitment = r.fixed(DIGEST), r.fixed(DIGEST)
        count = r.count(4 + SEALED + 2 * COMMITMENT)
        boxes = tuple(
            Sealed(r.number(), r.fixed(SEALED), (r.fixed(COMMITMENT), r.fixed(COMMITMENT))) for _ in range(count)
        )
        r.end()
        return cls(session, commitment, boxes)


@dataclass(frozen=True)
class Inbox:
    """What others sealed for one client.

    Attributes:
        session: its identity.
        sharing: roster indices of all who shared their secrets (U2).
        boxes: (owner, sealed shares, what the owner committed to), by owner.
    """

    session: bytes
    sharing: tuple[int, ...]
    boxes: tuple[tuple[int, bytes, tuple[bytes, bytes]], ...]

    def encode(self, clients: int) -> bytes:
        """Its bytes, in a roster of so many clients."""
        writer = Writer(INBOX).fixed(self.session).fixed(bits_of(self.sharing, clients)).number(len(self.boxes))
        for owner, box, proofs in self.boxes:
            writer.number(owner).fixed(box).fixed(proofs[0]).fixed(proofs[1])
        return writer.done()

    @classmethod
    def decode(cls, data: bytes, clients: int) -> Inbox:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, INBOX)
        session, sharing = r.fixed(DIGEST), members_of(r.fixed((clients + 7) // 8), clients)
        count = r.count(4 + SEALED + 2 * COMMITMENT)
        boxes = tuple((r.number(), r.fixed(SEALED), (r.fixed(COMMITMENT), r.fixed(COMMITMENT))) for _ in range(count))
        r.end()
        return cls(session, sharing, boxes)


@dataclass(frozen=True)
class Masked:
    """A client's vector under its masks, and nothing else.

    Attributes:
        session: its identity.
        words: (m,) uint32 or uint64.
    """

    session: bytes
    words: Words

    def encode(self) -> bytes:
        """Its bytes: words are little-endian, as processors have them."""
        words = np.ascontiguousarray(self.words, dtype=self.words.dtype.newbyteorder("<"))
        return b"".join((Writer(MASKED).fixed(self.session).done(), words.view(np.uint8).data))

    @classmethod
    def decode(cls, data: bytes | memoryview, length: int, bits: int) -> Masked:
        """The message in these bytes; its words lie in their memory, and cannot be written.

        Raises:
            MalformedMessage: there is none, or it has not `length` words of `bits`.
        """
        r = Reader(data, MASKED)
        session = r.fixed(DIGEST)
        if r.left * 8 != length * bits:
            raise MalformedMessage(f"a masked vector has {r.left} bytes: {length} words of {bits} bits are asked for")
        return cls(session, np.frombuffer(r.view(r.left), dtype=f"<u{bits // 8}"))


@dataclass(frozen=True)
class Survivors:
    """Whose vectors are in the sum.

    Attributes:
        session: its identity.
        members: roster indices (U3), ascending.
    """

    session: bytes
    members: tuple[int, ...]

    def encode(self, clients: int) -> bytes:
        """Its bytes, in a roster of so many clients."""
        return Writer(SURVIVORS).fixed(self.session).fixed(bits_of(self.members, clients)).done()

    @classmethod
    def decode(cls, data: bytes, clients: int) -> Survivors:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, SURVIVORS)
        found = cls(r.fixed(DIGEST), members_of(r.fixed((clients + 7) // 8), clients))
        r.end()
        return found


@dataclass(frozen=True)
class Confirm:
    """A client's word for whom it was told of.

    Attributes:
        session: its identity.
        signature: of `statement`.
    """

    session: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Its bytes."""
        return Writer(CONFIRM).fixed(self.session).fixed(self.signature).done()

    @classmethod
    def decode(cls, data: bytes) -> Confirm:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, CONFIRM)
        found = cls(r.fixed(DIGEST), r.fixed(SIGNATURE))
        r.end()
        return found


@dataclass(frozen=True)
class Confirmed:
    """What the neighbours of a client were told, in their own words.

    Attributes:
        session: its identity.
        signatures: (roster index, signature), by index.
    """

    session: bytes
    signatures: tuple[tuple[int, bytes], ...]

    def encode(self) -> bytes:
        """Its bytes."""
        writer = Writer(CONFIRMED).fixed(self.session).number(len(self.signatures))
        for index, signature in self.signatures:
            writer.number(index).fixed(signature)
        return writer.done()

    @classmethod
    def decode(cls, data: bytes) -> Confirmed:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, CONFIRMED)
        session = r.fixed(DIGEST)
        signatures = tuple((r.number(), r.fixed(SIGNATURE)) for _ in range(r.count(4 + SIGNATURE)))
        r.end()
        return cls(session, signatures)


@dataclass(frozen=True)
class Unmask:
    """A client's one answer: of each owner one share. Of survivors it is one of the self mask, of others of the key.

    Attributes:
        session: its identity.
        survivors: digest of the survivors that it answers for.
        shares: (owner, share), by owner.
    """

    session: bytes
    survivors: bytes
    shares: tuple[tuple[int, bytes], ...]

    def encode(self) -> bytes:
        """Its bytes."""
        writer = Writer(UNMASK).fixed(self.session).fixed(self.survivors).number(len(self.shares))
        for owner, share in self.shares:
            writer.number(owner).fixed(share)
        return writer.done()

    @classmethod
    def decode(cls, data: bytes) -> Unmask:
        """The message in these bytes.

        Raises:
            MalformedMessage: there is none.
        """
        r = Reader(data, UNMASK)
        session, survivors = r.fixed(DIGEST), r.fixed(DIGEST)
        shares = tuple((r.number(), r.fixed(SHARE)) for _ in range(r.count(4 + SHARE)))
        r.end()
        return cls(session, survivors, shares)


def is_name(name: str) -> bool:
    """Whether a client may be called so."""
    try:
        return 1 <= len(name.encode()) <= NAME
    except UnicodeEncodeError:
        return False


def statement(session: bytes, sharing: tuple[int, ...], survivors: tuple[int, ...], clients: int) -> bytes:
    """What clients sign before they unmask: who shared secrets, and who is in the sum."""
    told = hashlib.sha256(bits_of(sharing, clients)).digest() + digest_of(survivors, clients)
    return b"tacit/secagg/1/confirm" + session + told


def digest_of(survivors: tuple[int, ...], clients: int) -> bytes:
    """The digest of a set of survivors."""
    return hashlib.sha256(bits_of(survivors, clients)).digest()

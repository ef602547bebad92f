"""Bytes of the protocol's messages: one way to write each, and nothing else is read.

Numbers are big-endian, texts and lists carry their length in front. A reader takes what the bytes hold and not what
they claim: a length is believed only where so many bytes follow, and what is left over at the end is an error.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from tacit.errors import MalformedMessage

MAGIC = b"TSA1"
"""Of every message: the protocol and its version."""


class Writer:
    """Collects the bytes of one message.

    Args:
        kind: of message.
    """

    def __init__(self, kind: int) -> None:
        self._parts = [MAGIC, bytes([kind])]

    def fixed(self, data: bytes) -> Writer:
        """Bytes whose number the reader knows."""
        self._parts.append(data)
        return self

    def number(self, value: int, size: int = 4) -> Writer:
        """A whole number in `size` bytes."""
        return self.fixed(value.to_bytes(size, "big"))

    def real(self, value: float) -> Writer:
        """A number in double precision."""
        return self.fixed(struct.pack(">d", value))

    def text(self, value: str) -> Writer:
        """At most 65535 bytes of UTF-8."""
        data = value.encode()
        return self.number(len(data), 2).fixed(data)

    def done(self) -> bytes:
        """The message."""
        return b"".join(self._parts)


class Reader:
    """Takes a message apart.

    Args:
        data: all of it.
        kind: what it must be.

    Raises:
        MalformedMessage: by every method, where the bytes do not hold what is asked for.
    """

    def __init__(self, data: bytes | memoryview, kind: int) -> None:
        if not isinstance(data, bytes | memoryview):
            raise MalformedMessage(f"a message is {type(data).__name__}: give bytes")
        self._data, self._at = memoryview(data).cast("B"), 0
        if self.fixed(4) != MAGIC or self.number(1) != kind:
            raise MalformedMessage(f"these {len(self._data)} bytes are no message of kind {kind} of this protocol")

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self._data) - self._at

    def view(self, size: int) -> memoryview:
        """The next bytes, without a copy."""
        begin, end = self._at, self._at + size
        if end > len(self._data):
            raise MalformedMessage(f"the message ends early: {size} bytes are missing of which {self.left} are there")
        self._at = end
        return self._data[begin:end]

    def fixed(self, size: int) -> bytes:
        """The next bytes."""
        return self.view(size).tobytes()

    def number(self, size: int = 4) -> int:
        """A whole number in `size` bytes."""
        return int.from_bytes(self.view(size), "big")

    def count(self, each: int) -> int:
        """How many things of at least `each` bytes follow."""
        found = self.number()
        if found * each > self.left:
            raise MalformedMessage(f"the message claims {found} entries, and has room for {self.left // each}")
        return found

    def real(self) -> float:
        """A number in double precision; not a NaN, which has many ways to be written."""
        found = float(struct.unpack(">d", self.view(8))[0])
        if found != found:
            raise MalformedMessage("a number in the message is not a number")
        return found

    def text(self) -> str:
        """A text."""
        try:
            return self.fixed(self.number(2)).decode()
        except UnicodeDecodeError as error:
            raise MalformedMessage("a text in the message is not UTF-8") from error

    def end(self) -> None:
        """Nothing may follow."""
        if self.left:
            raise MalformedMessage(f"{self.left} bytes follow the end of the message")


def bits_of(members: Sequence[int], size: int) -> bytes:
    """A set of numbers below `size`, as bits: number i is bit `i % 8`, the lowest first, of byte `i // 8`."""
    packed = bytearray((size + 7) // 8)
    for member in members:
        packed[member // 8] |= 1 << member % 8
    return bytes(packed)


def members_of(packed: bytes, size: int) -> tuple[int, ...]:
    """The numbers of a set that `bits_of` wrote.

    Raises:
        MalformedMessage: it has another length, or holds numbers from `size` on.
    """
    if len(packed) != (size + 7) // 8:
        raise MalformedMessage(f"a set of clients has {len(packed)} bytes: {(size + 7) // 8} hold {size} clients")
    found = tuple(8 * at + bit for at, byte in enumerate(packed) if byte for bit in range(8) if byte >> bit & 1)
    if found and found[-1] >= size:
        raise MalformedMessage(f"a set of clients holds number {found[-1]}: there are {size} clients")
    return found

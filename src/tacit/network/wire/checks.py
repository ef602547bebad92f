"""What every part of a message must be before it is believed."""

from __future__ import annotations

from tacit.aggregation.secure.messages import is_name
from tacit.network.office import Code, Refused

TEXT = 4096
"""Most bytes of a text for people."""
WORD = 256
"""Most bytes of a token, a version or the name of an engine."""
DIGITS = frozenset("0123456789abcdef")


def malformed(problem: str) -> Refused:
    """The refusal of bytes that are no message."""
    return Refused(Code.MALFORMED, problem, "write messages as docs/protocol.md has them")


def digits(value: str, count: int, what: str, *, empty: bool = False) -> str:
    """A text of so many lower-case hexadecimal digits; or an empty one, where that may be."""
    if not (empty and not value) and (len(value) != count or not set(value) <= DIGITS):
        raise malformed(f"{what} is not {count} hexadecimal digits")
    return value


def fixed(value: bytes, size: int, what: str, *, empty: bool = False) -> bytes:
    """So many bytes; or none, where that may be."""
    if len(value) != size and not (empty and not value):
        raise malformed(f"{what} has {len(value)} bytes: {size} are due")
    return value


def text(value: str, what: str, most: int = TEXT) -> str:
    """A text of at most so many bytes."""
    size = len(value.encode())
    if size > most:
        raise malformed(f"{what} has {size:,} bytes: {most:,} at most")
    return value


def name(value: str) -> str:
    """What a participant may be called: 1 to 64 bytes, none of them a control character."""
    if not is_name(value) or not value.isprintable():
        raise malformed("a participant's name has 1 to 64 bytes of printable text")
    return value


def most(value: int, limit: int, what: str) -> int:
    """A number up to a limit."""
    if value > limit:
        raise malformed(f"{what} is {value:,}: {limit:,} at most")
    return value


def said(value: str, limit: int = TEXT) -> str:
    """Our own sentence, cut where a reader would refuse it."""
    data = value.encode("utf-8", "replace")
    return value if len(data) <= limit and value.isascii() else data[:limit].decode("utf-8", "ignore")


def milliseconds(seconds: float, longest: int) -> int:
    """A duration as whole milliseconds, from 0 to `longest`."""
    return max(0, min(longest, round(1000 * seconds))) if seconds == seconds else 0

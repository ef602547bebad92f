"""Indices in few bits: an ascending list of k different places below d, in a number of bytes that k and d decide.

[Elias74] doi:10.1145/321812.321820, [Fano71]: the lowest `l = floor(log2(d / k))` bits of every place are written as
they are; of the rest, h, a one is set at place `h + i` of a row of bits, i counting the places. That takes about
`2 + log2(d / k)` bits each, within half a bit or so of what any code needs on average.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacit.aggregation.compression import bits
from tacit.errors import MalformedMessage

Int = NDArray[np.int64]


def size(k: int, d: int) -> int:
    """Bytes that k places below d take."""
    return bits.size(k, _low(k, d)) + bits.size(_row(k, d), 1)


def dump(places: Int, d: int) -> bytes:
    """The bytes of k places, ascending."""
    k = len(places)
    low = _low(k, d)
    row = np.zeros(_row(k, d), np.int64)
    row[(places >> low) + np.arange(k)] = 1
    return bits.dump(places & ((1 << low) - 1), low) + bits.dump(row, 1)


def load(data: bytes, k: int, d: int) -> Int:
    """The places of which these are the bytes.

    Raises:
        MalformedMessage: they are of no k places, ascending and below d.
    """
    low = _low(k, d)
    middle = bits.size(k, low)
    ones = np.flatnonzero(bits.load(data[middle:], _row(k, d), 1))
    if len(ones) != k:
        raise MalformedMessage(f"{len(ones)} indices in a report that is to have {k}")
    places = ((ones - np.arange(k)) << low) | bits.load(data[:middle], k, low)
    if (np.diff(places) <= 0).any() or places[-1] >= d:
        raise MalformedMessage(f"the indices of a report are not ascending, or not below {d}")
    return places


def _low(k: int, d: int) -> int:
    return (d // k).bit_length() - 1


def _row(k: int, d: int) -> int:
    return k + ((d - 1) >> _low(k, d))

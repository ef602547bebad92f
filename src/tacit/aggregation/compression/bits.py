"""Bits: small whole numbers of b bits each, one after another, the lowest bit first."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]


def size(count: int, b: int) -> int:
    """Bytes that `count` numbers of b bits take."""
    return -(-count * b // 8)


def dump(numbers: Int, b: int) -> bytes:
    """The bytes of numbers from 0 to below `2^b`."""
    spread = (numbers[:, None] >> np.arange(b) & 1).astype(np.uint8)
    return np.packbits(spread.reshape(-1), bitorder="little").tobytes()


def load(data: bytes, count: int, b: int) -> Int:
    """The `count` numbers of which these are the bytes."""
    spread = np.unpackbits(np.frombuffer(data, np.uint8), count=count * b, bitorder="little").reshape(count, b)
    return spread.astype(np.int64) @ (np.int64(1) << np.arange(b, dtype=np.int64))

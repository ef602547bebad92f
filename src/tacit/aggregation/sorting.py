"""Order statistics of every column of a matrix, compiled: a sorting network compares whole stretches of columns.

[Knuth98] The Art of Computer Programming 3, 5.2.2, Algorithm M (Batcher's merge exchange). Which numbers are compared
does not depend on them, so that a step is a minimum and a maximum of many columns at once.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tacit.jit import Int, Real, jit, jit_cached

CHUNK = 128
"""Columns sorted at a time: with a hundred rows, they stay in the second-level cache."""


@lru_cache(maxsize=8)
def network(rows: int, first: int, last: int) -> Int:
    """(c, 2) pairs of rows to be put in order, one pair after another, so that rows `first` to `last - 1` are sorted.

    All of Batcher's pairs on which these rows depend.
    """
    needed, kept = set(range(first, last)), list[tuple[int, int]]()
    for pair in reversed(_batcher(rows)):
        if not needed.isdisjoint(pair):
            needed.update(pair)
            kept.append(pair)
    return np.array(kept[::-1], dtype=np.int64).reshape(-1, 2)


def _batcher(rows: int) -> list[tuple[int, int]]:
    top = 1 << max((rows - 1).bit_length() - 1, 0)
    pairs, p = list[tuple[int, int]](), top
    while p > 0:
        q, r, d = top, 0, p
        while d > 0:
            pairs += [(i, i + d) for i in range(rows - d) if i & p == r]
            q, r, d = q // 2, p, q - p
        p //= 2
    return pairs


def mean_of_sorted(rows: NDArray[np.float64], first: int, last: int) -> NDArray[np.float64]:
    """The mean of the `first`-th to the `last - 1`-th smallest number of every column, counted from 0.

    Args:
        rows: (G, m), finite, every row contiguous.
        first, last: `0 <= first < last <= G`.

    Returns:
        (m,).
    """
    into = np.empty(rows.shape[1])
    _compiled(np.ascontiguousarray(rows), network(len(rows), first, last), first, last, into)
    return into


@jit
def _exchange(low: Real, high: Real) -> None:
    for j in range(low.size):
        a, b = low[j], high[j]
        low[j] = a if a < b else b
        high[j] = b if a < b else a


@jit
def _add(row: Real, part: Real) -> None:
    for j in range(part.size):
        part[j] += row[j]


def _means(rows: Real, pairs: Int, first: int, last: int, into: Real) -> None:
    scratch = np.empty((rows.shape[0], CHUNK))
    for begin in range(0, into.size, CHUNK):
        part = into[begin : begin + CHUNK]
        for k in range(rows.shape[0]):
            scratch[k, : part.size] = rows[k, begin : begin + part.size]
        for c in range(pairs.shape[0]):
            _exchange(scratch[pairs[c, 0], : part.size], scratch[pairs[c, 1], : part.size])
        part[:] = 0.0
        for k in range(first, last):
            _add(scratch[k, : part.size], part)
        for j in range(part.size):
            part[j] /= last - first


_compiled = jit_cached(_means)

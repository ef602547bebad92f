"""Squared Euclidean distances between all rows of a matrix, compiled.

From the differences themselves: rows of one round lie close together, and by their inner products alone the digits in
which they differ would be lost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacit.jit import Real, jit_cached, jit_summing

CHUNK = 512
"""Columns read at a time: with a hundred rows, they stay in the second-level cache."""


def squared_distances(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """(G, G) `|rows[i] - rows[j]|^2`, from rows (G, m)."""
    into = np.zeros((len(rows), len(rows)))
    _compiled(np.ascontiguousarray(rows), into)
    return into + into.T


@jit_summing
def _apart(row: Real, other: Real) -> float:
    found = 0.0
    for j in range(row.size):
        found += (row[j] - other[j]) * (row[j] - other[j])
    return found


def _distances(rows: Real, into: Real) -> None:
    for begin in range(0, rows.shape[1], CHUNK):
        end = begin + CHUNK
        for i in range(rows.shape[0]):
            row = rows[i, begin:end]
            for j in range(i):
                into[i, j] += _apart(row, rows[j, begin:end])


_compiled = jit_cached(_distances)

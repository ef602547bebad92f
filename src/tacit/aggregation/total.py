"""Sums of a block of reports, compiled: weighted in float64 and in the order of the clients, or exact of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacit.jit import Int, Real, jit, jit_cached, jit_summing

NARROW, WIDE = 2048, 8192
"""Columns added at a time: their running sums stay in the first-level cache, or, for long reads, in the second."""
ROWS = 4
"""Reports read side by side: they lie in memory far apart, and several streams arrive faster than one."""


@jit
def _one(weight: float, row: Real, part: Real) -> None:
    for j in range(part.size):
        part[j] += weight * np.float64(row[j])


@jit
def _four(weights: Real, p: Real, q: Real, r: Real, s: Real, part: Real) -> None:
    a, b, c, d = weights[0], weights[1], weights[2], weights[3]
    for j in range(part.size):
        pair = part[j] + a * np.float64(p[j]) + b * np.float64(q[j])
        part[j] = pair + c * np.float64(r[j]) + d * np.float64(s[j])


@jit
def _slices(reports: Real, k: int, first: int, last: int) -> tuple[Real, Real, Real, Real]:
    p, q = reports[k, first:last], reports[k + 1, first:last]
    return p, q, reports[k + 2, first:last], reports[k + 3, first:last]


@jit_summing
def _added(part: Real) -> float:
    """The sum of the numbers, which is finite only where every one is."""
    added = 0.0
    for j in range(part.size):
        added += part[j]
    return added


def _add(reports: Real, weights: Real, total: Real) -> bool:
    finite, alone = True, weights.size % ROWS
    chunk = NARROW if weights.size < ROWS else WIDE
    for first in range(0, total.size, chunk):
        last = first + chunk
        part = total[first:last]
        part[:] = 0.0
        for k in range(alone):
            _one(weights[k], reports[k, first:last], part)
        for k in range(alone, weights.size, ROWS):
            p, q, r, s = _slices(reports, k, first, last)
            _four(weights[k:], p, q, r, s, part)
        finite &= np.isfinite(_added(part))
    return finite


_compiled = jit_cached(_add)


def weighted_sum(reports: Tensor, weights: Tensor, into: Tensor | None = None) -> tuple[Tensor, bool]:
    """`sum_k weights[k] * reports[k]`.

    Args:
        reports: (K, m) float32 or float64.
        weights: (K,).
        into: (m,) float64 to be overwritten with the sum; new memory when None.

    Returns:
        The sum, (m,) float64, the same bits on every call: each column is added in the order of the rows; and whether
        all its numbers are finite, which they are only where those of all reports are.
    """
    total = torch.empty(reports.shape[1], dtype=torch.float64) if into is None else into
    finite = _compiled(reports.numpy(), weights.to(torch.float64).numpy(), total.numpy())
    return total, finite


@jit
def _four_integers(p: Any, q: Any, r: Any, s: Any, part: Int) -> None:
    for j in range(part.size):
        part[j] += np.int64(p[j]) + np.int64(q[j]) + np.int64(r[j]) + np.int64(s[j])


def _add_integers(reports: Any, total: Int) -> None:
    alone = reports.shape[0] % ROWS
    for first in range(0, total.size, WIDE):
        last = first + WIDE
        part = total[first:last]
        for j in range(part.size):
            part[j] = 0
        for k in range(alone):
            row = reports[k, first:last]
            for j in range(part.size):
                part[j] += row[j]
        for k in range(alone, reports.shape[0], ROWS):
            p, q, r, s = _slices(reports, k, first, last)
            _four_integers(p, q, r, s, part)


_compiled_integers = jit_cached(_add_integers)


def integer_sum(reports: Tensor, into: Tensor | None = None) -> Tensor:
    """The sum of reports of integers, exact.

    Args:
        reports: (K, m) int32 or int64, small enough that no sum over a cohort leaves int64.
        into: (m,) int64 to be overwritten with the sum; new memory when None.
    """
    total = torch.empty(reports.shape[1], dtype=torch.int64) if into is None else into
    _compiled_integers(reports.numpy(), total.numpy())
    return total

"""Rounding at random: every report on an integer grid without bias, and its norm still within a bound.

A report is scaled to at most the clip norm C, divided by a grid step g, and each coordinate goes to the integer above
or below it, with probabilities that make it right on average. That lengthens it by up to sqrt(d) / 2 steps or so; where
it comes out longer than a bound that most outcomes keep, all coordinates are drawn again ([Kairouz21] arXiv:2102.06387,
section 4). The bound, not C / g, is the sensitivity of the sum. What is redrawn adds a bias that shrinks as the grid
does. Probabilities are multiples of 2^-32.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, floor, log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.jit import Real, jit_cached, jit_summing
from tacit.secret_draws import SecretDraws

BETA = exp(-0.5)
"""Share of the outcomes that may exceed the bound, for every report of norm C."""
ATTEMPTS = 64
"""After so many draws above the bound, which happens with probability below `BETA^64 = 1e-14`, a report is rounded
towards zero."""
FINEST = 2.0**30
"""Steps in the clip norm up to which integers fit into 32 bits, and sums of their squares into 64."""
MOST = 2**40
"""Coordinates up to which sums of squares fit into 64 bits."""


def rounded_norm(c: float, length: int, beta: float = BETA) -> float:
    """Delta_2: the largest norm of a rounded report, in grid steps ([Kairouz21] arXiv:2102.06387, theorem 1).

    `min((c + sqrt(d))^2, c^2 + d / 4 + sqrt(2 log(1 / beta)) (c + sqrt(d) / 2))` is its square.

    Args:
        c: C / g, the largest norm before.
        length: d.
        beta: share of outcomes that may be drawn again, in (0, 1).
    """
    always = (c + sqrt(length)) ** 2
    mostly = c**2 + length / 4 + sqrt(2 * log(1 / beta)) * (c + sqrt(length) / 2)
    return sqrt(min(always, mostly))


def largest_absolute(norm: float, length: int) -> float:
    """Delta_1: the largest 1-norm of integers with this Euclidean norm, `min(sqrt(d) Delta_2, Delta_2^2)`."""
    return norm * min(sqrt(length), norm)


def round_rows(rows: NDArray[Any], norm: float, grid: float, keys: Sequence[bytes]) -> NDArray[Any]:
    """Integers (K, d) in grid steps, in the memory of the rows: int32 for float32, int64 for float64.

    A row longer than `norm` is scaled to it. One that is not finite becomes zeros. No row depends on another.

    Args:
        rows: (K, d) float32 or float64.
        norm: C.
        grid: g.
        keys: of the K rows, 32 bytes each, as hard to guess as the outcome.

    Raises:
        ValueError: the grid is too fine, or an argument has the wrong shape.
    """
    _require(rows, norm, grid, keys)
    length = rows.shape[1]
    integers = rows.view(np.int32 if rows.dtype == np.float32 else np.int64)
    most = floor(rounded_norm(norm / grid, length) ** 2)
    chosen = np.empty(length, np.int32)
    for row, into, key in zip(rows, integers, keys, strict=True):
        into[:] = _rounded(row, norm, grid, most, SecretDraws(key), chosen)
    return integers


def _rounded(row: Real, norm: float, grid: float, most: int, source: SecretDraws, chosen: Any) -> Any:
    """One row's integers, in `chosen`."""
    scale = _scale(row, norm) / grid
    for _ in range(ATTEMPTS if scale > 0 else 0):
        coins = source.words(-(-row.size // 2)).view(np.uint32)[: row.size]
        if _drawn(row, scale, coins, chosen) <= most:
            return chosen
    return np.trunc(row.astype(np.float64) * scale) if scale > 0 else 0


def _require(rows: NDArray[Any], norm: float, grid: float, keys: Sequence[bytes]) -> None:
    if rows.ndim != 2 or rows.dtype not in (np.float32, np.float64) or len(rows) != len(keys):
        raise ValueError(
            f"{len(keys)} keys for rows {rows.shape} {rows.dtype}: give rows (K, d) float32 or float64, and K keys"
        )
    if not (norm > 0 and grid > 0 and norm / grid <= FINEST and rows.shape[1] <= MOST):
        raise ValueError(
            f"a clip norm of {norm!r} in steps of {grid!r} for {rows.shape[1]} coordinates: give at most "
            f"{FINEST:g} steps and {MOST} coordinates"
        )


@jit_summing
def _square(row: Real) -> float:
    total = 0.0
    for value in row:
        total += np.float64(value) * np.float64(value)
    return total


def _factor(row: Real, norm: float) -> Any:
    """What brings a row to at most `norm`; 0 where its norm is no number."""
    length = np.sqrt(_square(row))
    if not np.isfinite(length):
        return 0.0
    return norm / length if length > norm else 1.0


def _draw(row: Real, scale: float, coins: Any, into: Any) -> Any:
    """Rounds `scale * row` at random; returns the sum of squares."""
    total = np.int64(0)
    for j in range(row.size):
        value = np.float64(row[j]) * scale
        below = np.floor(value)
        up = np.float64(coins[j]) + 0.5 < (value - below) * 2.0**32
        step = np.int32(below) + np.int32(up)
        into[j] = step
        total += np.int64(step) * np.int64(step)
    return total


_scale, _drawn = jit_cached(_factor), jit_cached(_draw)

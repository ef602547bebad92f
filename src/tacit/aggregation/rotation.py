"""Rotation: a public random one that spreads every report evenly over its coordinates.

A coordinate of a sum is held in few bits, and rounding to a grid lengthens a report by its number of coordinates: both
cost least where all coordinates are alike. Signs at random and a Hadamard transform make them so ([Ailon09]
doi:10.1137/060673096, [Kairouz21] arXiv:2102.06387, section 4). The length d stays: of two transforms, each with signs
of its own, one takes the first 2^p coordinates and the other the last 2^p, 2^p being the largest power of two within d.

Norms stay, and so do sums: what was rotated can be added up, and the sum rotated back.
"""

from __future__ import annotations

from math import log, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.jit import Real, jit, jit_cached
from tacit.secret_draws import SecretDraws, Words

BLOCK = 2**12
"""Numbers that fit into a core's nearest cache: shorter transforms are done block by block."""


class Rotation:
    """One rotation of vectors with `length` numbers: `R x`, and its inverse.

    Args:
        length: d.
        key: 32 bytes from which the signs follow. Everybody may know it, who cannot choose it.

    Raises:
        ValueError: there is nothing to rotate.
    """

    def __init__(self, length: int, key: bytes) -> None:
        if length < 1:
            raise ValueError(f"a rotation of vectors with {length} numbers: give at least 1")
        self.length = length
        self._width = 2 ** (length.bit_length() - 1)
        words = -(-self._width // 64)
        source = SecretDraws(key)
        self._first, self._second = source.words(words), source.words(words)

    def apply(self, rows: NDArray[Any]) -> None:
        """Rotates rows (K, d) in place, float32 or float64, each as if it were alone."""
        start = self.length - self._width
        for row in self._checked(rows):
            _forth(row[: self._width], self._first)
            _forth(row[start:], self._second)

    def invert(self, rows: NDArray[Any]) -> None:
        """Undoes `apply`, in place, (K, d)."""
        start = self.length - self._width
        for row in self._checked(rows):
            _back(row[start:], self._second)
            _back(row[: self._width], self._first)

    def largest(self, share: float = 1e-9) -> float:
        """The largest coordinate of a rotated vector of norm 1, except with probability `share`.

        Each coordinate is a sum of at most 2^p terms with random signs and squares that add up to at most 2^-p, hence
        (Hoeffding) beyond t with probability at most `2 exp(-t^2 2^p / 2)`; there are d. For vectors that were fixed
        before the key was drawn.
        """
        return min(1.0, sqrt(2 * log(2 * self.length / share) / self._width))

    def _checked(self, rows: NDArray[Any]) -> NDArray[Any]:
        if rows.ndim != 2 or rows.shape[1] != self.length or rows.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"a rotation of (K, {self.length}) float32 or float64 was given {rows.shape} {rows.dtype}: give it "
                "rows of that length"
            )
        return rows


@jit
def _sign(x: Real, signs: Words, scale: Real) -> None:
    """`x *= +-scale`, the signs being bits."""
    for start in range(0, x.size, 64):
        word = signs[start // 64]
        part = x[start : start + 64]
        for j in range(part.size):
            part[j] *= scale[(word >> np.uint64(j)) & np.uint64(1)]


@jit
def _eights(x: Real) -> None:
    """The transforms of all groups of 8 neighbours."""
    for i in range(0, x.size, 8):
        a, b, c, d = x[i] + x[i + 1], x[i] - x[i + 1], x[i + 2] + x[i + 3], x[i + 2] - x[i + 3]
        e, f, g, h = x[i + 4] + x[i + 5], x[i + 4] - x[i + 5], x[i + 6] + x[i + 7], x[i + 6] - x[i + 7]
        a, b, c, d = a + c, b + d, a - c, b - d
        e, f, g, h = e + g, f + h, e - g, f - h
        x[i], x[i + 1], x[i + 2], x[i + 3] = a + e, b + f, c + g, d + h
        x[i + 4], x[i + 5], x[i + 6], x[i + 7] = a - e, b - f, c - g, d - h


@jit
def _pairs(a: Real, b: Real) -> None:
    for j in range(a.size):
        a[j], b[j] = a[j] + b[j], a[j] - b[j]


@jit
def _fours(a: Real, b: Real, c: Real, d: Real) -> None:
    for j in range(a.size):
        e, f, g, h = a[j] + b[j], a[j] - b[j], c[j] + d[j], c[j] - d[j]
        a[j], b[j], c[j], d[j] = e + g, f + h, e - g, f - h


@jit
def _combine(x: Real, step: int) -> None:
    """From transforms of `step` numbers each to that of all of `x`, two doublings at a time."""
    while 4 * step <= x.size:
        for i in range(0, x.size, 4 * step):
            j, k, m = i + step, i + 2 * step, i + 3 * step
            _fours(x[i:j], x[j:k], x[k:m], x[m : m + step])
        step *= 4
    while 2 * step <= x.size:
        for i in range(0, x.size, 2 * step):
            _pairs(x[i : i + step], x[i + step : i + 2 * step])
        step *= 2


@jit
def _transform(x: Real) -> None:
    """The Hadamard transform of 2^p numbers, without its factor `2^(-p / 2)`."""
    if x.size < 8:
        _combine(x, 1)
        return
    block = min(BLOCK, x.size)
    for start in range(0, x.size, block):
        part = x[start : start + block]
        _eights(part)
        _combine(part, 8)
    _combine(x, block)


def _forward(x: Real, signs: Words) -> None:
    """`x = H D x`, with the signs on the diagonal of D."""
    scale = np.array([1.0, -1.0]) / np.sqrt(x.size)
    _sign(x, signs, scale.astype(x.dtype))
    _transform(x)


def _backward(x: Real, signs: Words) -> None:
    """`x = D H x`."""
    scale = np.array([1.0, -1.0]) / np.sqrt(x.size)
    _transform(x)
    _sign(x, signs, scale.astype(x.dtype))


_forth, _back = jit_cached(_forward), jit_cached(_backward)

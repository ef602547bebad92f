"""Draws with probability proportional to size: a fixed number of clients, each with exactly its own probability."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from tacit.selection.table import Bool, ClientTable

Float = NDArray[np.float64]
Int = NDArray[np.int64]

NONE = 1e-200
"""A size that is this share of the largest is none: what is divided by it would overflow."""


def probabilities(sizes: Float, count: float, most: float = 1.0) -> Float:
    """Probabilities `min(most, c * sizes)` that add up to `count`.

    Where fewer than needed have a size, these have `most`, and the others share what is left equally.

    Args:
        sizes: (n,) from 0, finite.
        count: their sum; at most `most * n`.
        most: that one may have.

    Returns:
        (n,)
    """
    n = len(sizes)
    if not n or count >= most * n:
        return np.full(n, most)
    largest_of_all = float(sizes.max())
    if largest_of_all > 0:
        sizes = sizes / largest_of_all
        sizes = np.where(sizes > NONE, sizes, 0.0)
    some = int(np.count_nonzero(sizes))
    if most * some <= count:
        return np.where(sizes > 0, most, (count - most * some) / (n - some))
    chances: Float = sizes * (count / sizes.sum())
    if chances.max() <= most:
        return chances
    top = min(ceil(count / most), n)  # no more than these can be above `most`
    split = np.partition(sizes, n - top)
    largest = np.sort(split[n - top :])[::-1]
    left = count - most * np.arange(top)
    rest = split[: n - top].sum() + np.cumsum(largest[::-1])[::-1]
    certain = int(np.argmax(left * largest <= most * rest))
    capped: Float = np.minimum(sizes * (left[certain] / rest[certain]), most)
    return capped


def systematic(rng: np.random.Generator, chances: Float, strata: Bool | None = None) -> Int:
    """Systematic sampling from a random order ([Madow49] Annals of Mathematical Statistics 20).

    Probabilities are laid end to end, and every whole number plus one common random offset hits one.

    Args:
        rng: the orders and the offset come from it.
        chances: (n,) probabilities that add up to a whole number K.
        strata: (n,) two groups, of each of which as many come up as are expected, up to one; all are one when None.

    Returns:
        (K,) positions, ascending, i among them with probability `chances[i]`.
    """
    groups = [np.arange(len(chances))] if strata is None else [np.flatnonzero(strata), np.flatnonzero(~strata)]
    order = np.concatenate([rng.permutation(group) for group in groups])
    ends = np.cumsum(chances[order])
    count = round(float(ends[-1])) if len(ends) else 0
    hit = np.searchsorted(ends[:-1], rng.random() + np.arange(count), side="right")
    return np.unique(order[hit]).astype(np.int64)


def sizes_of(table: ClientTable) -> Float:
    """How many examples each client has, (N,); the mean of the others where that is not told, 1 where of none is."""
    told = table.examples > 0
    if bool(told.all()):
        return table.examples.astype(np.float64)
    mean = float(table.examples[told].mean()) if bool(told.any()) else 1.0
    return np.where(told, table.examples, mean)

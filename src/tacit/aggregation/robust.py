"""Robust rules: in place of the mean of reports, a vector that a minority of false reports cannot move at will.

A rule sees G rows, each the report of one client or the mean of a group of them, and gives one row. All rows count
alike, whatever their weights: a weight is a claim of its sender. The laws of all rules: the order of the rows does not
matter, and where every row is moved by the same vector, so is the result.

None of them is a sum. Whoever computes one sees the rows, so under secure aggregation rows are sums of random groups.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.checks import is_count, is_number, is_whole, make_plain, positive

FEWEST = 3
"""Rows of which a rule can tell one that is false: of two that differ, either may be."""
ITERATIONS, STILL = 1000, 1e-12
"""Most steps towards the geometric median, and the change of a row's share below which it has arrived."""


@dataclass(frozen=True)
class Robust(ABC):
    """What takes the place of the mean.

    Args:
        groups: the cohort is split at random, anew in every round, into so many groups, whose means are the rows; None
            makes every client's report a row, for which the server needs memory for all of them at once.
    """

    groups: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        make_plain(self)

    def problems(self) -> Iterator[str]:
        """Everything that is wrong with the settings."""
        if self.groups is not None and not is_whole(self.groups, FEWEST):
            yield f"groups is {self.groups!r}: give at least {FEWEST}, or leave it out for every client by itself"

    def unfit(self, rows: int) -> str | None:
        """Why the rule means nothing on so many rows, or None."""
        if rows < FEWEST:
            return f"it needs at least {FEWEST} rows and gets {rows}: of two that differ, either may be the false one"
        return None

    @abstractmethod
    def combine(self, rows: Tensor) -> Tensor:
        """Rows (G, m) float64, finite, to one (m,) float64; G is a number for which the rule is not `unfit`."""


@dataclass(frozen=True)
class Median(Robust):
    """The median of every coordinate.

    [Yin18] arXiv:1803.01498, Definition 1. While fewer than half of the rows are false, every coordinate of the result
    lies between the smallest and the largest of the true rows.

    Args:
        groups: see `Robust`.
    """

    def combine(self, rows: Tensor) -> Tensor:
        """See `Robust.combine`."""
        return _mean_of_middle(rows, (len(rows) - 1) // 2)


@dataclass(frozen=True)
class TrimmedMean(Robust):
    """The mean of every coordinate without its smallest and its largest values.

    [Yin18] arXiv:1803.01498, Definition 2: of G rows, `ceil(share G)` at either end. While no more of them are false,
    every coordinate of the result lies between the smallest and the largest of the true rows.

    Args:
        share: of the rows that is left out at either end (beta), below one half.
        groups: see `Robust`.
    """

    share: float = 0.1

    def problems(self) -> Iterator[str]:
        """See `Robust.problems`."""
        yield from super().problems()
        if not is_number(self.share) or not 0 < self.share < 0.5:
            yield f"share is {self.share!r}: give a number above 0 and below 0.5"

    def unfit(self, rows: int) -> str | None:
        """See `Robust.unfit`."""
        out = _share_of(self.share, rows)
        if rows > 2 * out:
            return super().unfit(rows)
        return f"{out} of {rows} rows at either end leave none: take a smaller share than {self.share:g}, or more rows"

    def combine(self, rows: Tensor) -> Tensor:
        """See `Robust.combine`."""
        return _mean_of_middle(rows, _share_of(self.share, len(rows)))


@dataclass(frozen=True)
class GeometricMedian(Robust):
    """The point whose distances to the rows have the smallest sum.

    [Pillutla22] arXiv:1912.13445, Algorithm 2, the smoothed Weiszfeld steps `z <- sum b_i w_i / sum b_i` with
    `b_i = 1 / max(smoothing, |z - w_i|)`, to convergence. While fewer than half of the rows are false the result stays
    bounded, however far away those are.

    Args:
        smoothing: distances below it count as it (nu), in units of parameters.
        groups: see `Robust`.
    """

    smoothing: float = 1e-6

    def problems(self) -> Iterator[str]:
        """See `Robust.problems`."""
        yield from super().problems()
        yield from positive("smoothing", self.smoothing)

    def combine(self, rows: Tensor) -> Tensor:
        """See `Robust.combine`."""
        return _weighed(rows, self._shares(_squared_distances(rows)))

    def _shares(self, squares: NDArray[np.float64]) -> NDArray[np.float64]:
        """(G,) what each row counts in the geometric median, from the squared distances (G, G) alone.

        For z = sum_j s_j w_j with shares s of sum 1, `|z - w_i|^2 = sum_j s_j D_ij - (1/2) sum_jk s_j s_k D_jk`.
        """
        shares = np.full(len(squares), 1 / len(squares))
        for _ in range(ITERATIONS):
            towards = squares @ shares
            apart = np.sqrt(np.maximum(towards - shares @ towards / 2, 0.0))
            near = 1 / np.maximum(apart, self.smoothing)
            before, shares = shares, near / near.sum()
            if np.abs(shares - before).max() < STILL:
                break
        return shares


@dataclass(frozen=True)
class Krum(Robust):
    """The row that lies closest to its neighbours, or the mean of the `keep` best (Multi-Krum).

    [Blanchard17] arXiv:1703.02757, section 4: with f false rows among G, the score of a row is the sum of its squared
    distances to the G - f - 2 nearest others; the lowest score wins. It needs `2 f + 2 < G`.

    Args:
        corrupt: share of the rows that may be false, at most; f is that of G, rounded up. A group is false where one of
            its clients is.
        keep: rows that the mean is taken of, at most G - f - 2.
        groups: see `Robust`.
    """

    corrupt: float = 0.2
    keep: int = 1

    def problems(self) -> Iterator[str]:
        """See `Robust.problems`."""
        yield from super().problems()
        if not is_number(self.corrupt) or not 0 < self.corrupt < 0.5:
            yield f"corrupt is {self.corrupt!r}: give a share above 0 and below 0.5"
        if not is_count(self.keep):
            yield f"keep is {self.keep!r}: give a whole number of at least 1"

    def unfit(self, rows: int) -> str | None:
        """See `Robust.unfit`."""
        false = _share_of(self.corrupt, rows)
        if rows <= 2 * false + 2:
            return f"it needs more than {2 * false + 2} rows to stand {false} false ones, and gets {rows}"
        if self.keep > rows - false - 2:
            return f"keep is {self.keep}, of {rows} rows with {false} false ones: give at most {rows - false - 2}"
        return None

    def combine(self, rows: Tensor) -> Tensor:
        """See `Robust.combine`."""
        squares = _squared_distances(rows)
        near = len(rows) - _share_of(self.corrupt, len(rows)) - 2
        scores = np.sort(squares, axis=1)[:, 1 : near + 1].sum(axis=1)  # the first is the row's own, 0
        shares = np.zeros(len(rows))
        shares[np.argsort(scores, kind="stable")[: self.keep]] = 1 / self.keep
        return _weighed(rows, shares)


def problems_of(given: Any) -> list[str]:
    """What is wrong with an argument that is to be a robust rule."""
    if not isinstance(given, Robust):
        return [f"robust is {given!r}: give tacit.Median() or another robust rule, or leave it out"]
    return [f"robust: {problem}" for problem in given.problems()]


def _share_of(share: float, rows: int) -> int:
    """That share of the rows, rounded up: but 0.1 of 30 is 3."""
    return ceil(round(share * rows, 9))


def _mean_of_middle(rows: Tensor, out: int) -> Tensor:
    """(m,) the mean of every column without its `out` smallest and its `out` largest values."""
    from tacit.aggregation.sorting import mean_of_sorted

    return torch.from_numpy(mean_of_sorted(rows.numpy(), out, len(rows) - out))


def _squared_distances(rows: Tensor) -> NDArray[np.float64]:
    """(G, G) between all rows."""
    from tacit.aggregation.distances import squared_distances

    return squared_distances(rows.numpy())


def _weighed(rows: Tensor, shares: NDArray[np.float64]) -> Tensor:
    """(m,) the sum of the rows with these shares; rows without one are not read."""
    from tacit.aggregation.total import weighted_sum

    used = np.flatnonzero(shares)
    if len(used) == 1:
        return rows[int(used[0])] * float(shares[used[0]])
    return weighted_sum(rows, torch.from_numpy(shares))[0]

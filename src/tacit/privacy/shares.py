"""How clients share out the noise that they add under the masks of a secure sum."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

from tacit.privacy.event import Skellam


@dataclass(frozen=True)
class Shares:
    """The noise of one client is Skellam, and so is that of the sum ([Agarwal21] arXiv:2110.04995).

    Attributes:
        l2: Delta_2, the largest Euclidean norm of a report, in grid steps.
        l1: Delta_1, its largest 1-norm, in grid steps.
        honest: clients that work against nobody, in every sum: together they make the noise that is claimed.
        most: clients in a sum, at most.
        bits: of a word.
    """

    l2: float
    l1: float
    honest: int
    most: int
    bits: int

    def event(self, noise: float, times: int = 1) -> Skellam:
        """What so many sums with this noise multiplier cost a client that is in all of them."""
        return Skellam(noise, self.l2, self.l1, max(times, 1))

    def variance(self, noise: float) -> float:
        """Of one client's noise, in every coordinate, in squares of grid steps."""
        return (noise * self.l2) ** 2 / self.honest


def surely_honest(minimum: int, most: int, corrupt: float) -> int:
    """The honest clients in every sum of at least `minimum`, where a share of a roster of `most` may be corrupt."""
    return minimum - floor(corrupt * most + 1e-9)

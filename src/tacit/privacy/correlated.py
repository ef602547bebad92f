"""Correlated noise: the banded inverse square root, for runs whose sampling cannot be claimed.

What is learned of a model is its way, the prefix sums of all releases. With the noise of round t a combination of the
last p draws, `sum_j c_j Z_(t-j)`, most of it cancels in those sums. With `c_j` the first p coefficients of
`(1 - x)^(1/2)` that is the mechanism of [Kalinin25] arXiv:2505.12128: the matrix of noise C^-1 is banded, so a round
needs p draws and nothing of earlier rounds is kept; they are drawn anew from their keys.

The whole run is one Gaussian release. A client takes part at most k times, at least b rounds apart; then the run's
sensitivity, in units of the clip norm, is the norm of `sum_(i < k) C[:, i b]`, for the columns of C are not negative
and do not increase.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tacit.errors import MinSeparationViolated

Real = NDArray[np.float64]
Int = NDArray[np.int64]


class Turns:
    """Holds cohorts against the separation that the accounting assumes.

    Args:
        gap: b, rounds between two turns of a client, at least.
    """

    def __init__(self, gap: int) -> None:
        self.gap, self.begun = gap, False
        self._last: dict[int, int] = {}

    def take(self, round: int, clients: Int) -> None:
        """Takes note of who takes part in `round`.

        Raises:
            MinSeparationViolated: somebody does so too soon.
        """
        soon = [c for c in clients.tolist() if round - self._last.get(c, round - self.gap) < self.gap]
        if soon:
            raise MinSeparationViolated(
                f"round {round + 1}: {len(soon)} clients would take part again less than {self.gap} rounds after their "
                "last turn, and more would be told of them than was said. Draw cohorts with tacit.Separated"
            )
        self.begun = True
        self._last.update(dict.fromkeys(clients.tolist(), round))


@cache
def coefficients(bands: int) -> tuple[float, ...]:
    """The first `bands` coefficients of `(1 - x)^(1/2)`: 1, -1/2, -1/8, -1/16, ..."""
    found = [1.0]
    for j in range(1, bands):
        found.append(found[-1] * (j - 1.5) / j)
    return tuple(found)


def column(bands: int, rounds: int) -> Real:
    """The first column of C, (T,): the inverse series of the coefficients."""
    c = np.array(coefficients(min(bands, rounds)))
    found = np.zeros(rounds)
    found[0] = 1.0
    for t in range(1, rounds):
        past = found[max(t - len(c) + 1, 0) : t][::-1]
        found[t] = -np.dot(c[1 : 1 + len(past)], past)
    return found


def sensitivity(bands: int, rounds: int, gap: int) -> float:
    """How far one client moves the whole run, in clip norms, when it takes part every `gap` rounds at most.

    Raises:
        ValueError: a column of C is negative or increases, so that the formula would not be a bound.
    """
    first = column(bands, rounds)
    if (first < -1e-12).any() or (np.diff(first) > 1e-12).any():
        raise ValueError(f"the columns of C for {bands} bands and {rounds} rounds are not monotone")
    together = np.zeros(rounds)
    for start in range(0, rounds, gap):
        together[start:] += first[: rounds - start]
    return float(np.linalg.norm(together))


def error(bands: int, rounds: int) -> float:
    """Root mean square, over rounds, of the standard deviation of the noise in prefix sums; draws have deviation 1."""
    row = np.cumsum(np.pad(np.array(coefficients(min(bands, rounds))), (0, max(rounds - bands, 0)))[:rounds])
    return float(np.sqrt(np.cumsum(row**2).mean()))


def best_bands(rounds: int, gap: int) -> int:
    """The number of bands, a power of two, with the least error at equal privacy."""
    choices = [2**e for e in range(rounds.bit_length()) if 2**e <= rounds]
    best: int = min(choices, key=lambda p: error(p, rounds) * sensitivity(p, rounds, gap))
    return best

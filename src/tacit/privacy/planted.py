"""Planted canaries: clients of whom only an auditor knows what they send, and the scores of what was released.

A canary sends a direction of its own, scaled far beyond the clip norm so that the clip has to act. A fair coin says
whether it does, or sends what stands for its absence. Directions are rows of the discrete cosine transform with random
signs: exactly orthogonal, made anew whenever one is needed, and the products of all of them with a vector are one fast
transform, so that nothing of size (m, d) is ever held.
"""

from __future__ import annotations

import mmap
from math import ceil, pi, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.learning.layout import Parts

Int = NDArray[np.int64]
Real = NDArray[np.float64]

FAR = 1000.0
"""A canary sends its direction, so many times longer than the clip norm."""
STEADY, BROKEN = 5, 20
"""One canary in so many is steady; one in so many holds a NaN."""


class Canaries:
    """The canaries of one run; an `Audit` (see `canaries.py`).

    Three kinds, so that no fault hides behind the behaviour of one:

    - turning: the sign of what they send turns from round to round. All that stays the same, be it what the others
      learn or noise that is drawn twice, drops out of their scores. They are for who sees every round.
    - steady: the same in every round, so that they add up in the model. They are for who sees the final model.
    - broken: turning, with a NaN among their numbers. A report that is not finite has to become zero.

    Attributes:
        included: (m,) the coins.
        turning, steady, broken: positions of each kind among the canaries.

    Args:
        first: the first canary's position in the population; canaries come last.
        count: m, below d.
        d: parameters.
        norm: C.
        seed: of directions and coins.
        opposite: a canary that its coin leaves out sends the opposite direction, as under replace-one, and not zero.
        absent: what stands for zero; NaN where the method would send something beside an update of zeros.
    """

    def __init__(
        self, first: int, count: int, d: int, norm: float, seed: int, *, opposite: bool = False, absent: float = 0.0
    ) -> None:
        draws = keys.generator(seed, "audit", "directions")
        self._signs = 1.0 - 2.0 * draws.integers(2, size=d)
        self._frequencies = 1 + draws.choice(d - 1, count, replace=False).astype(np.int64)
        self.included = keys.generator(seed, "audit", "coins").random(count) < 0.5
        numbers = np.arange(count)
        self.steady = numbers[numbers % STEADY == STEADY - 1]
        self.broken = numbers[numbers % BROKEN == 0]
        self.turning = numbers[(numbers % STEADY != STEADY - 1) & (numbers % BROKEN != 0)]
        self._turns = numbers % STEADY != STEADY - 1
        self._holds_nan = numbers % BROKEN == 0
        self._first, self._d, self._length, self._opposite, self._absent = first, d, FAR * norm, opposite, absent
        self._by_round: list[Real] = []
        # Shared, so that worker processes that are forked later know the round too.
        self._round: Int = np.frombuffer(mmap.mmap(-1, 8), dtype=np.int64)

    def direction(self, canary: int) -> Real:
        """(d,) of length 1, orthogonal to those of all others."""
        frequency, d, width = self._frequencies[canary], self._d, ceil(sqrt(self._d))
        # cos(a + b) as a product of two thin matrices, a for every so many coordinates and b for those between.
        a = self._angles(frequency * (2 * width * np.arange(-(-d // width))))
        b = self._angles(frequency * (2 * np.arange(width) + 1))
        cosines = np.stack([np.cos(a), -np.sin(a)], axis=1) @ np.stack([np.cos(b), np.sin(b)])
        row: Real = cosines.ravel()[:d] * self._signs
        row *= sqrt(2 / d)
        return row

    def plant(self, clients: Int, update: Tensor) -> None:
        """See `Audit.plant`."""
        for row in np.flatnonzero(clients >= self._first).tolist():
            canary = int(clients[row]) - self._first
            sign = self._sign(canary)
            if not sign:
                update[row].fill_(self._absent)
                continue
            update[row] = torch.from_numpy(self.direction(canary) * (sign * self._length)).to(update.dtype)
            if self._holds_nan[canary]:
                update[row, int(self._frequencies[canary])] = torch.nan

    def see(self, round: int, mean: Parts) -> None:
        """See `Audit.see`."""
        self._by_round.append((1 - 2 * (round % 2)) * self._products(mean["update"].numpy()))
        self._round[0] = round + 1

    def seen(self) -> Real:
        """(T, m) every canary's share in the release of each round, with the sign that turning ones had in it."""
        return np.array(self._by_round)

    def left(self, moved: Tensor) -> Real:
        """(m,) every canary's share in how far the model moved (d,) in the whole run."""
        return self._products(moved.double().numpy())

    def _sign(self, canary: int) -> int:
        turned = 1 - 2 * (int(self._round[0]) % 2) if self._turns[canary] else 1
        return turned if self.included[canary] else -turned if self._opposite else 0

    def _angles(self, steps: Int) -> Real:
        """Steps of pi / 2d as angles, reduced while they are whole numbers."""
        return np.asarray((steps % (4 * self._d)) * (pi / (2 * self._d)), dtype=np.float64)

    def _products(self, vector: Real) -> Real:
        from scipy.fft import dct

        found: Real = dct(self._signs * vector, type=2, norm="ortho")[self._frequencies]
        return found

"""Distributed differential privacy: every client adds its share of the noise, under the masks of a secure sum.

The server then sees a sum that is noised already, and needs no trust for that. A report is rotated, so that its
coordinates are alike, clipped and rounded at random to a coarse grid; then its client adds Skellam noise, whose sum
over clients is Skellam noise again ([Agarwal21] arXiv:2110.04995). Each adds so much that the noise of the honest ones
suffices which are in every sum, whoever is lost and whoever works against them.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import lru_cache
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from tacit.aggregation import round_key
from tacit.aggregation.rotation import Rotation
from tacit.errors import BitBudgetError
from tacit.learning.layout import Layout, Parts
from tacit.privacy.bound import Bound
from tacit.privacy.clip import Clip
from tacit.privacy.rounding import largest_absolute, round_rows, rounded_norm
from tacit.privacy.shares import Shares
from tacit.privacy.skellam import MOST

FINEST, COARSEST = 20, 10
"""Bits of a coordinate as large as the clip norm. More would cost bits and save nothing; with less, rounding would
lengthen reports by ever more."""
LOUDEST = 16.0
"""The noise multiplier up to which words are sure to hold a sum; a louder one is looked at when it is known."""
DEVIATIONS = 8.0
"""Standard deviations of the noise that a word must hold beside the sum."""
SHARE = 2.0**-20
"""Chance that a rotated report has a coordinate beyond what a word is sized for: the sum would wrap, and be useless."""


@dataclass(frozen=True)
class ClipDiscrete(Clip):
    """Rotates, clips, and rounds at random; of one bound, which covers the whole report.

    Attributes:
        shares: how its noise is shared out.
        seed: of the rotations, which everybody may know.
        secret: of the coins of rounding; the same report is rounded alike wherever it is computed.
    """

    shares: Shares = field(kw_only=True)
    seed: int = 0
    secret: bytes = field(default_factory=lambda: os.urandom(32), compare=False, repr=False)
    zeroes: ClassVar[bool] = True

    def init(self) -> Parts:
        """The key of the first rotation."""
        return {"rotation": round_key.first("rotation", self.seed)}

    def now(self, state: Parts) -> tuple[Bound, ...]:
        """The bound, which stays."""
        return self.bounds

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Integers (K, m), in the memory of the reports: int32 for float32, int64 for float64."""
        rows, (bound,) = report.numpy(), self.bounds
        _rotation(layout.size, round_key.octets(down["rotation"])).apply(rows)
        coins = [hashlib.blake2b(row.data, key=self.secret, digest_size=32).digest() for row in rows]
        return torch.from_numpy(round_rows(rows, bound.norm, bound.grid, coins))

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """The sum in units of the reports, float64, rotated back; and the next rotation's key."""
        values = total.to(torch.float64) * self.bounds[0].grid
        _rotation(layout.size, round_key.octets(state["rotation"])).invert(values.numpy()[None])
        return values, {"rotation": round_key.following(state["rotation"])}


def shares(bound: Bound, length: int, honest: int, most: int, bits: int) -> Shares:
    """How noise is shared out over reports with `length` numbers within this bound."""
    l2 = rounded_norm(bound.norm / bound.grid, length)
    return Shares(l2, largest_absolute(l2, length), honest, most, bits)


def fitting(length: int, most: int, share: int, bits: int | None) -> tuple[int, int]:
    """The bits of a word, and of a coordinate as large as the clip norm.

    Args:
        length: numbers in a report.
        most: clients in a sum, at most.
        share: of them that are sure to be honest.
        bits: of a word, where they are stated.

    Raises:
        BitBudgetError: 32 bits were stated, and do not suffice.
    """
    for wide in (32, 64) if bits is None else (bits,):
        for fine in range(FINEST, COARSEST - 1, -1):
            if needed(2.0 ** (fine + 1), length, most, share, LOUDEST) < 2.0 ** (wide - 1):
                return wide, fine
    raise BitBudgetError(
        f"sums of {most} noised reports of {length} numbers do not fit words of {bits} bits: take bits=64"
    )


def needed(c: float, length: int, most: int, share: int, noise: float) -> float:
    """The largest number that a sum holds, but for chances that are named above."""
    peak = min(c, c * Rotation(length, bytes(32)).largest(SHARE))
    return most * (peak + 1) + DEVIATIONS * noise * rounded_norm(c, length) * sqrt(most / max(share, 1))


def require_room(clip: ClipDiscrete, noise: float) -> None:
    """Looks at the words once the noise is known.

    Raises:
        BitBudgetError: they do not hold the sum and its noise.
    """
    (bound,), shares = clip.bounds, clip.shares
    most = needed(bound.norm / bound.grid, clip.places[bound.name].stop, shares.most, shares.honest, noise)
    if most >= 2.0 ** (shares.bits - 1):
        wider = "take bits=64, or more epsilon" if shares.bits == 32 else "spend more epsilon"
        raise BitBudgetError(f"noise of {noise:.3g} clip norms does not fit words of {shares.bits} bits: {wider}")
    if shares.most * shares.variance(noise) > MOST:
        raise BitBudgetError(
            f"noise of {noise:.3g} clip norms is more than can be drawn on the grid of {bound.grid:g} that sums are "
            "made on: spend more epsilon, run fewer rounds, or draw larger cohorts"
        )


@lru_cache(maxsize=4)
def _rotation(length: int, key: bytes) -> Rotation:
    return Rotation(length, key)

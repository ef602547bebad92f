"""Bounds: how long a part of a report may be, and how that limit follows what is released."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor, frexp

BITS = 24
"""Bits of a coordinate as large as the clip norm: as many as a float32 has."""
WITHIN = "within"
"""The part of a report that says whether it was within the clip norm, where that adapts."""


@dataclass(frozen=True)
class Bound:
    """A part of the report that is clipped as one vector.

    Attributes:
        name: of the release.
        parts: names of the layout's parts in it, one after another.
        norm: largest Euclidean norm, C.
        bits: of a coordinate as large as C.
    """

    name: str
    parts: tuple[str, ...]
    norm: float
    bits: int = BITS

    @property
    def grid(self) -> float:
        """g: the power of two with C / g in [2^bits, 2^(bits + 1))."""
        return float(2.0 ** (frexp(self.norm)[1] - 1 - self.bits))

    @property
    def most(self) -> int:
        """Largest sum of squares of the integers."""
        return floor((self.norm / self.grid) ** 2)


@dataclass(frozen=True)
class Adaptation:
    """How the norm of the first bound follows a quantile of the reports' norms, [Andrew21] arXiv:1905.03871.

    A report carries `1[norm <= C] - 1/2` in the part `WITHIN`. With the noised mean b of those over the expected
    cohort, `C <- C exp(-rate (b + 1/2 - quantile))`: the norm of a round is fixed before anything of it is clipped, and
    its noise is that norm's.

    Attributes:
        quantile: share of the reports that are to pass unchanged.
        expected: clients in a round, a public number.
        rate: how fast.
    """

    quantile: float
    expected: float
    rate: float = 0.2

"""Rotate: makes the coordinates of an update alike, so that few bits hold them well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from torch import Tensor

from tacit.aggregation import round_key
from tacit.aggregation.compression.update_part import UPDATE, size_of
from tacit.aggregation.rotation import Rotation
from tacit.aggregation.stage import REAL
from tacit.checks import is_whole, make_plain
from tacit.errors import UsageError
from tacit.learning.layout import Layout, Parts


@dataclass(frozen=True)
class Rotate:
    """Turns the update by a public random rotation, new in every round; the server turns the sum back.

    Signs at random and a Hadamard transform ([Suresh17] arXiv:1611.00429, section 3). It sends nothing less; after it
    the largest coordinate is about `sqrt(2 log(d) / d)` of the norm, whatever the update, so that `Quantise` errs by
    less.

    The laws: norms stay, the rotated sum is the sum of what was rotated, and turning back gives it.

    Args:
        seed: of the rotations, which everybody may know.

    Raises:
        UsageError: a seed that is no whole number.
    """

    seed: int = 0
    takes: ClassVar[str] = REAL
    gives: ClassVar[str] = REAL
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_whole(self.seed):
            raise UsageError(f"seed is {self.seed!r}: give a whole number")
        make_plain(self)

    def bind(self, layout: Layout) -> Layout:
        """The layout stays."""
        return layout

    def init(self) -> Parts:
        """The key of the first rotation."""
        return {"key": round_key.first("rotate", self.seed)}

    def broadcast(self, state: Parts) -> Parts:
        """The round's key."""
        return dict(state)

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Rotates the "update" slice, in place."""
        _rotation(size_of(layout), round_key.octets(down["key"])).apply(report.numpy()[:, layout[UPDATE]])
        return report

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """Rotates the sum back; and the next rotation's key."""
        total = total.clone()
        _rotation(size_of(layout), round_key.octets(state["key"])).invert(total.numpy()[None, layout[UPDATE]])
        return total, {"key": round_key.following(state["key"])}


@lru_cache(maxsize=4)
def _rotation(length: int, key: bytes) -> Rotation:
    return Rotation(length, key)

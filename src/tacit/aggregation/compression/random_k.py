"""Random-k: every client sends the same few coordinates, drawn anew in each round."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from tacit.aggregation import round_key
from tacit.aggregation.compression.update_part import UPDATE, exchanged, size_of, with_size
from tacit.aggregation.stage import REAL
from tacit.checks import is_number, is_whole, make_plain
from tacit.errors import UsageError
from tacit.learning.layout import Layout, Parts
from tacit.secret_draws import SecretDraws


@dataclass(frozen=True)
class RandomK:
    """Keeps k coordinates of the update, the same ones of all clients, and sends nothing of the others.

    Sparsification with shared coordinates ([Konecny16] arXiv:1610.05492, section 3, random masks): which ones follows
    from a public key that goes down with the model, so no client sends indices. The server multiplies by d / k.

    The laws: what is decoded is the update on average over the keys, with the error
    `E |x' - x|^2 = (d / k - 1) |x|^2`; and the encoded sum is the sum of what was encoded.

    Args:
        share: k / d, above 0 and at most 1; at least one coordinate is sent.
        seed: of the keys, which everybody may know.

    Raises:
        UsageError: a share outside of that.
    """

    share: float = 0.1
    seed: int = 0
    takes: ClassVar[str] = REAL
    gives: ClassVar[str] = REAL
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_number(self.share) or not 0 < self.share <= 1:
            raise UsageError(f"share is {self.share!r}: give a share of the coordinates, above 0 and at most 1")
        if not is_whole(self.seed):
            raise UsageError(f"seed is {self.seed!r}: give a whole number")
        make_plain(self)

    def bind(self, layout: Layout) -> Layout:
        """The layout with k numbers for the update."""
        return with_size(layout, self._k(layout))

    def init(self) -> Parts:
        """The key of the first round."""
        return {"key": round_key.first("random-k", self.seed)}

    def broadcast(self, state: Parts) -> Parts:
        """The round's key."""
        return dict(state)

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Reports (K, m) to (K, m - d + k)."""
        places = _places(size_of(layout), self._k(layout), round_key.octets(down["key"]))
        return exchanged(report, layout, report[:, layout[UPDATE]][:, places])

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """The sum with `d / k` times the numbers that were sent, and zeros; and the next round's key."""
        d, k = size_of(layout), self._k(layout)
        update = torch.zeros(d, dtype=total.dtype)
        update[_places(d, k, round_key.octets(state["key"]))] = total[self.bind(layout)[UPDATE]] * (d / k)
        return exchanged(total, self.bind(layout), update), {"key": round_key.following(state["key"])}

    def _k(self, layout: Layout) -> int:
        return max(1, round(self.share * size_of(layout)))


@lru_cache(maxsize=4)
def _places(d: int, k: int, key: bytes) -> Tensor:
    """(k,) places, ascending: those of the k smallest of d words, so that every set of k is as likely."""
    words = SecretDraws(key).words(d)
    chosen = np.argpartition(words, k - 1)[:k] if k < d else np.arange(d)
    return torch.from_numpy(np.sort(chosen).astype(np.int64))

"""Top-k with error feedback: a client sends its largest coordinates, and remembers the others."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tacit.aggregation.compression import indices, message
from tacit.aggregation.compression.update_part import UPDATE, beside, joined, size_of
from tacit.aggregation.stage import REAL
from tacit.checks import is_number, make_plain
from tacit.errors import UsageError
from tacit.learning.layout import Layout, Parts

KIND = 1


@dataclass(frozen=True)
class TopK:
    """Sends the k largest coordinates of update and memory together; the rest is the memory from then on.

    Error feedback: [Stich18] arXiv:1809.07599, algorithm 1; [Karimireddy19] arXiv:1901.09847, algorithm 2. Coordinates
    differ from client to client, so the server must read every report: it is refused beside secure sums, user-level
    privacy and robust rules.

    The law: what a client has sent and what it remembers add up to all of its updates, each times the client's weight.
    A client whose report was not counted remembers what it did before.

    Args:
        share: k / d, above 0 and at most 1; at least one coordinate is sent.

    Raises:
        UsageError: a share outside of that.
    """

    share: float = 0.01
    takes: ClassVar[str] = REAL
    gives: ClassVar[str] = REAL
    additive: ClassVar[bool] = True
    """The sum of what clients send is all that is decoded, though not what they would send of the sum."""
    plain: ClassVar[bool] = True
    last: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not is_number(self.share) or not 0 < self.share <= 1:
            raise UsageError(f"share is {self.share!r}: give a share of the coordinates, above 0 and at most 1")
        make_plain(self)

    def bind(self, layout: Layout) -> Layout:
        """The layout stays; what is not sent is zero."""
        return layout

    def memory(self, layout: Layout) -> int:
        """A client remembers d numbers."""
        return size_of(layout)

    def init(self) -> Parts:
        """No state."""
        return {}

    def broadcast(self, state: Parts) -> Parts:
        """Nothing goes down."""
        return {}

    def encode(
        self, report: Tensor, layout: Layout, down: Parts, memory: Tensor | None = None
    ) -> Any:  # as with every stage that has a memory, a pair
        """Reports (K, m), of which k numbers of the update are not zero, and the new memory (K, d)."""
        update = report[:, layout[UPDATE]]
        if memory is not None:
            update += memory
        rest = update.clone()
        for row in rest.numpy():
            row[np.argpartition(-np.abs(row), self._k(layout) - 1)[: self._k(layout)]] = 0
        update -= rest
        return report, rest

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """The total stays."""
        return total, state

    def encoded_bytes(self, layout: Layout, itemsize: int) -> int:
        """Header, k indices, k numbers, and what is no update."""
        d, k = size_of(layout), self._k(layout)
        return message.HEADER + indices.size(k, d) + (k + layout.size - d) * itemsize

    def dump(self, report: Tensor, layout: Layout, down: Parts) -> bytes:
        """One report (m,) as bytes."""
        update, k = report[layout[UPDATE]].numpy(), self._k(layout)
        places = _filled(np.flatnonzero(update), k, len(update))
        numbers = torch.cat([torch.from_numpy(update[places]), beside(report, layout)])
        return message.head(KIND) + indices.dump(places, len(update)) + message.numbers(numbers)

    def load(self, data: bytes, layout: Layout, down: Parts, dtype: torch.dtype) -> Tensor:
        """The report of which these are the bytes.

        Raises:
            MalformedMessage: they are those of no such report.
        """
        message.require(data, KIND, 0, self.encoded_bytes(layout, dtype.itemsize))
        d, k = size_of(layout), self._k(layout)
        middle = message.HEADER + indices.size(k, d)
        places = indices.load(data[message.HEADER : middle], k, d)
        values = message.read(data[middle:], dtype)
        update = torch.zeros(d, dtype=dtype)
        update[torch.from_numpy(places)] = values[:k]
        return joined(update, values[k:], layout)

    def _k(self, layout: Layout) -> int:
        return max(1, ceil(self.share * size_of(layout)))


def _filled(places: Any, k: int, d: int) -> Any:
    """Exactly k places, ascending: those of the numbers that are not zero, and the first ones of zeros."""
    if len(places) == k:
        return places
    free = np.ones(d, bool)
    free[places] = False
    return np.sort(np.concatenate([places, np.flatnonzero(free)[: k - len(places)]]))

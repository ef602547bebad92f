"""Folding block sums in block order, with few of them pending: the reason why workers change no bit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.venue.work import BlockSum, SetAside

Int = NDArray[np.int64]


@dataclass
class Total:
    """The sum over a cohort.

    Attributes:
        total: (m,) float64.
        counted: positions of the clients in it, in block order.
        set_aside: clients that are not in it, with their reasons.
        seconds: spent in local steps, over all workers.
    """

    total: Tensor
    counted: Int
    set_aside: list[SetAside]
    seconds: float = 0.0


@dataclass
class Fold:
    """Adds block sums in the order of their numbers, whatever order they arrive in."""

    size: int
    total: Tensor = field(init=False)
    _next: int = 0
    _pending: dict[int, BlockSum] = field(default_factory=dict)
    _counted: list[Int] = field(default_factory=list)
    _set_aside: list[SetAside] = field(default_factory=list)
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        self.total = torch.zeros(self.size, dtype=torch.float64)

    def add(self, number: int, block: BlockSum) -> None:
        """Takes the sum of block `number`, and folds every sum whose turn has come.

        The memory of `block.total` may be used again after this: a sum that has to wait is copied.
        """
        if number != self._next:
            self._pending[number] = replace(block, total=block.total.clone())
            return
        self._fold(block)
        while self._next in self._pending:
            self._fold(self._pending.pop(self._next))

    def _fold(self, block: BlockSum) -> None:
        self.total.add_(block.total)
        self._counted.append(block.counted)
        self._set_aside.extend(block.set_aside)
        self._seconds += block.seconds
        self._next += 1

    def result(self) -> Total:
        """The total over all blocks."""
        assert not self._pending, "a block sum is missing"
        counted = np.concatenate(self._counted) if self._counted else np.empty(0, dtype=np.int64)
        return Total(self.total, counted, self._set_aside, self._seconds)

"""Folding block sums in one fixed binary tree: the reason why workers change no bit, and why few sums have to wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.venue.block_sum import BlockSum, SetAside

Int = NDArray[np.int64]
Float = NDArray[np.float64]


@dataclass
class Total:
    """The sum over a cohort.

    Attributes:
        total: (m,) float64, or int64 where stages give integers.
        counted: positions of the clients in it, in block order.
        set_aside: clients that are not in it, with their reasons.
        seconds: spent in local steps, over all workers.
        lost: clients of the cohort that were never asked for a report.
        sent: positions of those whose report is in a secure sum, if only of zeros; None where no sum is secure.
        losses: (C,) the training loss of each in `counted`; None where clients do not tell it.
    """

    total: Tensor
    counted: Int
    set_aside: list[SetAside]
    seconds: float = 0.0
    lost: int = 0
    sent: Int | None = None
    losses: Float | None = None


class Fold:
    """Adds block sums, whatever order they arrive in, always as the same tree of pairs.

    Blocks 2i and 2i+1 are added as soon as both are there, then pairs of pairs, and so on; which numbers are added to
    which follows from the blocks' numbers alone. With W workers about W log2(B) of B sums wait at most, even if the
    first block takes longer than all others together.

    Args:
        size: length m of a sum.
        dtype: of its numbers.
    """

    def __init__(self, size: int, dtype: torch.dtype = torch.float64) -> None:
        self.size, self.dtype = size, dtype
        self._waiting: dict[tuple[int, int], Tensor] = {}
        self._blocks: dict[int, BlockSum] = {}

    def add(self, number: int, block: BlockSum) -> list[Tensor]:
        """Takes the sum of block `number`; the memory of `block.total` is the fold's own from here on.

        Returns:
            The memory of sums that were added to others: free to be used again.
        """
        self._blocks[number] = replace(block, total=block.total[:0])
        total, level, free = block.total, 0, list[Tensor]()
        while (sibling := self._waiting.pop((level, number ^ 1), None)) is not None:
            sibling.add_(total)
            free.append(total)
            total, level, number = sibling, level + 1, number // 2
        self._waiting[level, number] = total
        return free

    @property
    def waiting(self) -> int:
        """How many sums wait for their sibling."""
        return len(self._waiting)

    def clear(self) -> list[Tensor]:
        """Forgets all sums. Returns their memory."""
        free = list(self._waiting.values())
        self._waiting.clear()
        return free

    def result(self) -> Total:
        """The total over all blocks."""
        count = len(self._blocks)
        complete = all(k in self._blocks for k in range(count))
        assert complete and self.waiting == count.bit_count(), "a block sum is missing"
        blocks = [self._blocks[k] for k in range(count)]
        total = torch.zeros(self.size, dtype=self.dtype)
        for part in (self._waiting[place] for place in sorted(self._waiting)):  # the smallest trees, at the end, first
            total.add_(part)
        counted = np.concatenate([b.counted for b in blocks]) if blocks else np.empty(0, dtype=np.int64)
        set_aside = [a for b in blocks for a in b.set_aside]
        told = [b.losses for b in blocks if b.losses is not None]
        losses = np.concatenate(told) if told and len(told) == count else None
        return Total(total, counted, set_aside, sum(b.seconds for b in blocks), losses=losses)


class Folds:
    """One fold for each of several groups, whose blocks are numbered one group after the other.

    Args:
        blocks: how many blocks every group has.
        size, dtype: of every sum.
    """

    def __init__(self, blocks: Sequence[int], size: int, dtype: torch.dtype = torch.float64) -> None:
        self._folds = [Fold(size, dtype) for _ in blocks]
        self._missing, self._ends = list(blocks), np.cumsum(blocks)
        self._totals = {group: fold.result() for group, fold in enumerate(self._folds) if not blocks[group]}

    def add(self, number: int, block: BlockSum) -> list[Tensor]:
        """See `Fold.add`. A group that is complete is folded at once, so that no more than its total is kept."""
        group = int(np.searchsorted(self._ends, number, side="right"))
        fold = self._folds[group]
        free = fold.add(number - (int(self._ends[group - 1]) if group else 0), block)
        self._missing[group] -= 1
        if self._missing[group]:
            return free
        self._totals[group] = fold.result()
        return free + fold.clear()

    def results(self) -> list[Total]:
        """The totals, group by group."""
        return [self._totals[group] for group in range(len(self._folds))]

"""A venue computes the sum over a cohort; which one is used changes no bit of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from tacit.venue.block import Block
from tacit.venue.fold import Total


class Venue(Protocol):
    """Where the sum is computed."""

    name: str
    workers: int

    def sum(self, blocks: Sequence[Block], down: Tensor, round: int) -> Total:
        """Trains every block and sums the reports.

        Args:
            blocks: of the cohort, heaviest first.
            down: the broadcast, one flat vector.
            round: of the run, from 0.
        """
        ...

    def close(self) -> None:
        """Lets workers and memory go."""
        ...

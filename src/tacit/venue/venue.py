"""A venue computes the sum over a cohort, or over each of its groups; which one is used changes no bit of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from tacit.venue.block import Block
from tacit.venue.fold import Total
from tacit.venue.local_training import LocalTraining


class Venue(Protocol):
    """Where the sum is computed."""

    name: str
    work: LocalTraining
    workers: int

    def sums(self, groups: Sequence[Sequence[Block]], down: Tensor, round: int) -> list[Total]:
        """Trains every block and sums the reports of every group.

        Args:
            groups: of the cohort, each as its blocks, heaviest first.
            down: the broadcast, one flat vector.
            round: of the run, from 0.

        Returns:
            The total of every group.
        """
        ...

    def close(self) -> None:
        """Lets workers and memory go."""
        ...

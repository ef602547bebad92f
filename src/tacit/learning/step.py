"""What every engine is: the machine that runs the local steps of a block of clients, and how one is chosen.

The ladder is climbed by rule, never by timing: the fastest engine that accepts the task, the solver and the correction,
and that agrees with the eager engine on real batches, is taken. The choice and the reasons are recorded in the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tacit.learning.batches import Batches, Examples
from tacit.learning.solver import Correction


@dataclass(frozen=True)
class LocalRun:
    """Everything that K clients need to run their local steps.

    Attributes:
        x: (d,) the broadcast model, where every client starts.
        b: (b,) the broadcast buffers.
        examples, batches: of the K clients.
        correction: added to every gradient; its offset is (K, d).
        lr: local learning rate of this round.
        seeds: K seeds for models that draw random numbers (dropout).
    """

    x: Tensor
    b: Tensor
    examples: Examples
    batches: Batches
    correction: Correction
    lr: float
    seeds: tuple[int, ...]


class Engine(Protocol):
    """Runs local steps. One instance per worker: it may keep buffers between calls."""

    name: str
    threads: bool
    """Whether several workers may run in threads of one process (the engine does not hold the GIL)."""

    def run(self, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """Runs every client's local steps to the end.

        Args:
            job: the block.
            update: (K, d) receives each client's `y - x`: its final parameters less those it started from. Its rows
                may lie apart; within a row numbers are contiguous.
            buffers: (K, b) receives each client's final buffers.
            loss: (K,) receives each client's training loss: the mean over all examples it read, each at the
                parameters with which its step began, corrections not included.

        Returns:
            (K,) the Euclidean norm of each update, taken while the update is in the cache.
        """
        ...

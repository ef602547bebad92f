"""What every engine is: the machine that runs the local steps of a block of clients, and how one is chosen.

The ladder is climbed by rule, never by timing: the fastest engine that accepts the task, the solver and the correction,
and that agrees with the eager engine on real batches, is taken. The choice and the reasons are recorded in the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from tacit.learning.batches import Batches, Examples
from tacit.learning.solver import Correction
from tacit.secret_draws import SecretDraws

ROUNDING = 2.0**-8
"""By this share gradients are cut shorter than the clip norm, for sums in single precision are rounded: the sums of a
batch of B examples and of its neighbour differ by up to `2 B^2 2^-24` clip norms more than they should, which is less
than this up to B = 181 for the worst data that there are, and far beyond it for others."""


@dataclass(frozen=True)
class Perturbation:
    """How K clients' local steps are made private: every example's gradient is cut to a norm, their sum gets noise.

    A step's gradient is `(sum_i cut(g_i) + noise clip z) / expected` ([Abadi16] arXiv:1607.00133, Algorithm 1, with a
    public number below instead of the size of the batch, which is a draw).

    Attributes:
        clip: C, the longest that the gradient of one example may be.
        noise: (K,) z, standard deviation of the noise in clip norms. Zero adds none, and protects nothing.
        expected: (K,) how many examples a batch has on average.
        draws: (K,) where each client's noise comes from: d draws for each of its steps, one step after another.
    """

    clip: float
    noise: Sequence[float]
    expected: Sequence[float]
    draws: Sequence[SecretDraws]

    @property
    def norm(self) -> float:
        """What gradients are cut to: rounding included, no sum moves by more than `clip`."""
        return self.clip * (1.0 - ROUNDING)


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
        perturbation: makes every step private; None leaves gradients as they are. Only engines whose `private` is true
            take one.
    """

    x: Tensor
    b: Tensor
    examples: Examples
    batches: Batches
    correction: Correction
    lr: float
    seeds: tuple[int, ...]
    perturbation: Perturbation | None = None


class Engine(Protocol):
    """Runs local steps. One instance per worker: it may keep buffers between calls."""

    name: str
    threads: bool
    """Whether several workers may run in threads of one process (the engine does not hold the GIL)."""
    private: bool
    """Whether it carries out a `LocalRun.perturbation`."""

    def run(self, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """Runs every client's local steps to the end.

        Args:
            job: the block.
            update: (K, d) receives each client's `y - x`: its final parameters less those it started from. Its rows
                may lie apart; within a row numbers are contiguous.
            buffers: (K, b) receives each client's final buffers.
            loss: (K,) receives each client's training loss: the mean over all examples it read, each at the
                parameters with which its step began, corrections not included. Zeros where steps are private.

        Returns:
            (K,) the Euclidean norm of each update, taken while the update is in the cache.
        """
        ...

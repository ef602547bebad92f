"""Record-level differential privacy inside each client, as a user asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from tacit.checks import is_number, is_whole, make_plain, truth
from tacit.errors import (
    BatchNormBuffers,
    ClippingRequired,
    DeltaTooLarge,
    NoiseRequired,
    PrivacyError,
    UnregisteredRelease,
)
from tacit.privacy.accountant import REPLACE_ONE, ZERO_OUT
from tacit.privacy.user_level import LOUDEST, UserLevel

if TYPE_CHECKING:
    from tacit.algorithms.base import Algorithm
    from tacit.learning.task import Task

LEAST, MOST = 1e-10, 1e30
"""Clip norms that single precision holds, with room for what is computed from them."""


@dataclass(frozen=True)
class RecordLevel:
    """Every single record of a client is protected, from everybody outside of that client.

    Every local step is one of DP-SGD ([Abadi16] arXiv:1607.00133): it reads every record with probability
    `batch_size / n_k`, cuts each record's gradient to the norm `clip`, and adds Gaussian noise to the sum. What leaves
    the client was computed from such steps alone, so neither the server nor other clients need to be trusted. Each
    client has its own noise, epsilon and ledger account. The number of records of a client is public.

    Args:
        epsilon: what the run may spend of each client's records; each client's noise follows from it.
        clip: C, the largest Euclidean norm of one record's gradient.
        delta: probability with which epsilon may fail to hold; for n_k records `n_k^-1.1` when None (`1 / (10 n_k)`
            below 100).
        adjacency: "zero-out" (a record is replaced by nothing) or "replace-one" (by any other).
        noise_multiplier: z, the same for all clients, instead of following from epsilon; with both, epsilon is a limit.
        population_budget: what all runs on one client's records together may spend, by the ledger.
        public_evaluation: the data on which the model is measured are public, or of none of the clients.
        insecure_seed: for tests. The noise can be subtracted by whoever knows it, and the run says so.
    """

    epsilon: float | None = None
    clip: float | None = None
    delta: float | None = None
    adjacency: str = ZERO_OUT
    noise_multiplier: float | None = None
    population_budget: float | None = None
    public_evaluation: bool = False
    insecure_seed: int | None = None

    def __post_init__(self) -> None:
        make_plain(self)

    def problems(self, fewest: int | None = None) -> Iterator[PrivacyError]:
        """Everything that is wrong with these settings, where the smallest client has `fewest` records."""
        yield from self._of_noise()
        if self.delta is not None and (not is_number(self.delta) or not 0 < self.delta < 1):
            yield PrivacyError(f"delta is {self.delta!r}: give a number between 0 and 1, below 1 / n_k")
        elif self.delta is not None and fewest is not None and self.delta >= 1 / fewest:
            yield DeltaTooLarge(
                f"delta is {self.delta:g} and one client has {fewest} records: with a chance of 1 / {fewest} or more, "
                f"publishing one of them in clear would be allowed. Give less than {1 / fewest:g}, or leave delta out"
            )
        if self.adjacency not in (ZERO_OUT, REPLACE_ONE):
            yield PrivacyError(f"adjacency is {self.adjacency!r}: give {ZERO_OUT!r} or {REPLACE_ONE!r}")
        if self.population_budget is not None and not _positive(self.population_budget):
            yield PrivacyError(
                f"population_budget is {self.population_budget!r}: give a positive, finite number, or leave it out"
            )
        for text in truth("public_evaluation", self.public_evaluation):
            yield PrivacyError(text)
        if self.insecure_seed is not None and not is_whole(self.insecure_seed):
            yield PrivacyError(f"insecure_seed is {self.insecure_seed!r}: give a whole number, in tests only")

    def _of_noise(self) -> Iterator[PrivacyError]:
        if not _positive(self.clip):
            yield ClippingRequired(
                f"clip is {self.clip!r}: without a finite norm that no record's gradient exceeds, noise of any size "
                "protects nothing. Give the largest norm of a gradient that shall pass unchanged, clip=1.0, say"
            )
        elif not LEAST <= self.clip <= MOST:  # type: ignore[operator]
            yield ClippingRequired(f"clip is {self.clip!r}: give a norm from {LEAST:g} to {MOST:g}")
        if self.epsilon is None and self.noise_multiplier is None:
            yield NoiseRequired("there is no epsilon: say what the run may spend, epsilon=4.0, say")
        if self.epsilon is not None and not _positive(self.epsilon):
            yield NoiseRequired(f"epsilon is {self.epsilon!r}: give a positive, finite number, such as 4.0")
        if self.noise_multiplier is not None and not _positive(self.noise_multiplier):
            yield NoiseRequired(
                f"noise_multiplier is {self.noise_multiplier!r}: without noise epsilon is infinite. Give a positive "
                "number, or leave it out so that it follows from epsilon"
            )
        elif self.noise_multiplier is not None and self.noise_multiplier > LOUDEST:
            yield PrivacyError(f"noise_multiplier is {self.noise_multiplier!r}: give at most {LOUDEST:g}")

    def clashes(self, task: Task, algorithm: Algorithm) -> Iterator[PrivacyError]:
        """What of a model and a method would tell of records past the noise."""
        named = task.model.named_modules()
        mixing = [name for name, module in named if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        if mixing:
            yield BatchNormBuffers(
                f"{mixing} normalise each record by the others of its batch, so that no gradient is one record's: use "
                "GroupNorm or LayerNorm instead of BatchNorm"
            )
        elif task.moving:
            yield BatchNormBuffers(
                f"training writes what it sees into the model's buffers {sorted(task.moving)}, without noise: leave "
                "such layers out"
            )
        if algorithm.asks_gradient:
            yield UnregisteredRelease(
                f"{algorithm!r} sends each client's exact gradient: take what needs none, Scaffold(option=2), say"
            )

    def delta_for(self, records: int) -> float:
        """The delta of a client with `records` records."""
        return UserLevel(delta=self.delta).delta_for(records)


def _positive(value: object) -> bool:
    return is_number(value) and value > 0  # type: ignore[operator]

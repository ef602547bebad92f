"""Record-level differential privacy inside each client, as a user asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from tacit.checks import is_number, make_plain
from tacit.errors import (
    BatchNormBuffers,
    DeltaTooLarge,
    PrivacyError,
    UnregisteredRelease,
)
from tacit.privacy.accountant import ZERO_OUT
from tacit.privacy.settings import clip_problems, common_problems, noise_problems
from tacit.privacy.user_level import UserLevel

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
        yield from clip_problems(self.clip, LEAST, MOST, "gradient of a record")
        yield from noise_problems(self.epsilon, self.noise_multiplier)
        yield from common_problems(self.adjacency, self.population_budget, self.public_evaluation, self.insecure_seed)
        if self.delta is not None and (not is_number(self.delta) or not 0 < self.delta < 1):
            yield PrivacyError(f"delta is {self.delta!r}: give a number between 0 and 1, below 1 / n_k")
        elif self.delta is not None and fewest is not None and self.delta >= 1 / fewest:
            yield DeltaTooLarge(
                f"delta is {self.delta:g} and one client has {fewest} records: with a chance of 1 / {fewest} or more, "
                f"publishing one of them in clear would be allowed. Give less than {1 / fewest:g}, or leave delta out"
            )

    def clashes(self, task: Task, algorithm: Algorithm, beside: UserLevel | None = None) -> Iterator[PrivacyError]:
        """What of a model, a method and a claim that stands `beside` would tell of records past the noise."""
        if beside is not None and beside.metrics:
            yield UnregisteredRelease(
                f"metrics is {beside.metrics!r}, and each client measures them exactly on its own records, past the "
                "noise of its local steps: record_privacy does not cover them. Leave metrics out, or record_privacy"
            )
        if beside is not None and beside.loss_bound is not None:
            yield UnregisteredRelease(
                f"loss_bound is {beside.loss_bound!r}, and the training loss is computed from the records past the "
                "noise of local steps, so record_privacy hides it: leave loss_bound out, or record_privacy"
            )
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

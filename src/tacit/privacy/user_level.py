"""User-level differential privacy, as a user asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tacit.checks import count, is_count, is_number, make_plain
from tacit.errors import (
    DeltaTooLarge,
    PrivacyError,
    UnboundedWeights,
    UnregisteredRelease,
)
from tacit.privacy.accountant import ZERO_OUT
from tacit.privacy.settings import clip_problems, common_problems, is_positive, noise_problems

if TYPE_CHECKING:
    from tacit.algorithms.base import Algorithm

GAUSSIAN, BISR, SKELLAM = "gaussian", "bisr", "skellam"
MECHANISMS = (GAUSSIAN, BISR, SKELLAM)
LEAST, MOST = 1e-100, 1e100
"""Clip norms that leave room for a grid of numbers below them."""
FEW = 100
"""Below so many clients the usual delta, n^-1.1, is no small number."""


@dataclass(frozen=True)
class UserLevel:
    """Everything that one client ever sends is protected together.

    Every report is clipped to the norm `clip` on an integer grid, reports are summed as integers, Gaussian noise is
    added once to the sum, and the sum is divided by a public number ([McMahan18] arXiv:1710.06963, with the corrections
    that docs/privacy.md lists). Clients count alike unless `most_examples` bounds their weights.

    Args:
        epsilon: what the run may spend; the noise follows from it, the selection and the number of rounds.
        clip: C, the largest Euclidean norm of a report, in units of parameters.
        clip_quantile: lets the clip norm follow this quantile of the norms, from `clip` on ([Andrew21]
            arXiv:1905.03871): each client also sends, with noise, whether its report was within it. Fixed when None.
        delta: probability with which epsilon may fail to hold; `n^-1.1` when None (`1 / (10 n)` below 100 clients).
        adjacency: "zero-out" (a client's data are replaced by nothing) or "replace-one" (by any others).
        noise_multiplier: z, instead of following from epsilon; with both, epsilon is a limit.
        mechanism: "gaussian", independent noise in every round; or "bisr", noise that mostly cancels along the model's
            way ([Kalinin25] arXiv:2505.12128), for populations where sampling cannot be claimed: with tacit.Separated;
            or "skellam", noise that clients add under the masks of `aggregation=SecureSum()`, so that the server needs
            no trust ([Agarwal21] arXiv:2110.04995): without credit for sampling, sized for the honest clients.
        most_examples: a client with n_k examples counts by `min(n_k, most_examples) / most_examples`.
        loss_bound: releases the mean training loss too, each client's clipped to [0, loss_bound], for half a percent
            more noise. Hidden when None.
        metrics: releases the mean of these metrics of the task too, each client's cut to [0, 1] and measured on its own
            examples with the model that it was sent, for three percent more noise. Hidden when empty.
        population_budget: what all runs on this population together may spend, by the ledger.
        public_evaluation: the data on which the model is measured are public, or of nobody in the population, so that
            measures and early stopping by them are free. Where they are not, no claim covers the measures.
        insecure_seed: for tests. The noise can be subtracted by whoever knows it, and the run says so.
    """

    epsilon: float | None = None
    clip: float | None = None
    clip_quantile: float | None = None
    delta: float | None = None
    adjacency: str = ZERO_OUT
    noise_multiplier: float | None = None
    mechanism: str = GAUSSIAN
    most_examples: int | None = None
    loss_bound: float | None = None
    metrics: tuple[str, ...] = ()
    population_budget: float | None = None
    public_evaluation: bool = False
    insecure_seed: int | None = None
    mechanisms: ClassVar[tuple[str, ...]] = MECHANISMS

    def __post_init__(self) -> None:
        make_plain(self)
        given: object = self.metrics
        if isinstance(given, list):
            object.__setattr__(self, "metrics", tuple(given))

    def problems(self, clients: int | None = None) -> Iterator[PrivacyError]:
        """Everything that is wrong with these settings, for a population of `clients` where its size is known."""
        yield from clip_problems(self.clip, LEAST, MOST, "report")
        yield from noise_problems(self.epsilon, self.noise_multiplier)
        yield from common_problems(self.adjacency, self.population_budget, self.public_evaluation, self.insecure_seed)
        if self.delta is not None and (not is_number(self.delta) or not 0 < self.delta < 1):
            yield PrivacyError(f"delta is {self.delta!r}: give a number between 0 and 1, below 1 / n")
        elif clients is not None and self.delta_for(clients) >= 1 / clients:
            yield DeltaTooLarge(
                f"delta is {self.delta_for(clients):g} for {clients} clients: with a chance of 1 / {clients} or more, "
                f"publishing one client's data in clear would be allowed. Give less than {1 / clients:g}, or leave "
                "delta out"
            )
        quantile = self.clip_quantile
        if quantile is not None and not (is_number(quantile) and 0 < quantile < 1):
            yield PrivacyError(f"clip_quantile is {quantile!r}: give a number between 0 and 1, such as 0.5")
        if self.mechanism not in self.mechanisms:
            yield PrivacyError(f"mechanism is {self.mechanism!r}: give one of {', '.join(map(repr, self.mechanisms))}")
        if self.mechanism == SKELLAM:
            yield from self._beside_the_update()
        if self.loss_bound is not None and not is_positive(self.loss_bound):
            yield PrivacyError(f"loss_bound is {self.loss_bound!r}: give a positive, finite number, or leave it out")
        named: object = self.metrics
        if not isinstance(named, tuple) or not all(isinstance(name, str) for name in named):
            yield PrivacyError(f"metrics is {named!r}: give the names of metrics of the task, ('accuracy',), say")
        elif len(set(self.metrics)) < len(self.metrics):
            yield PrivacyError(f"metrics is {self.metrics!r}: give each name once")
        if self.most_examples is not None and not is_count(self.most_examples):
            yield PrivacyError(count("most_examples", self.most_examples)[0])

    def _beside_the_update(self) -> Iterator[PrivacyError]:
        """Releases that there is no noise for."""
        for name in ("clip_quantile", "loss_bound", "metrics"):
            if getattr(self, name) not in (None, ()):
                yield PrivacyError(
                    f"{name} is {getattr(self, name)!r}: mechanism {SKELLAM!r} releases the update alone, leave it out"
                )

    def clashes(self, algorithm: Algorithm) -> Iterator[PrivacyError]:
        """Why these settings and a method do not go together."""
        if algorithm.weights == "examples" and self.most_examples is None:
            yield UnboundedWeights(
                "weights is 'examples', of which one client may have any number: it could outweigh the noise. Bound "
                "them, UserLevel(most_examples=100), or let all count alike, weights='uniform'"
            )
        for reason in algorithm.exposes():
            yield UnregisteredRelease(reason)

    def delta_for(self, clients: int) -> float:
        """The delta of a run with `clients` clients."""
        if self.delta is not None:
            return self.delta
        return float(clients**-1.1) if clients >= FEW else 1 / (10 * clients)

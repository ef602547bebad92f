"""User-level differential privacy, as a user asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from tacit.checks import count, is_count, is_number, is_whole, make_plain, truth
from tacit.errors import (
    ClippingRequired,
    DeltaTooLarge,
    NoiseRequired,
    PrivacyError,
    UnboundedWeights,
    UnregisteredRelease,
)
from tacit.privacy.accountant import REPLACE_ONE, ZERO_OUT

if TYPE_CHECKING:
    from tacit.algorithms.base import Algorithm

GAUSSIAN, BISR = "gaussian", "bisr"
MECHANISMS = (GAUSSIAN, BISR)
LEAST, MOST = 1e-100, 1e100
"""Clip norms that leave room for a grid of numbers below them."""
LOUDEST = 1e5
"""Largest noise multiplier: of louder noise, double precision would not hold every step of the grid of sums."""
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
            way ([Kalinin25] arXiv:2505.12128), for populations where sampling cannot be claimed: with tacit.Separated.
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
        yield from self._of_noise()
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
        if self.adjacency not in (ZERO_OUT, REPLACE_ONE):
            yield PrivacyError(f"adjacency is {self.adjacency!r}: give {ZERO_OUT!r} or {REPLACE_ONE!r}")
        if self.mechanism not in self.mechanisms:
            yield PrivacyError(f"mechanism is {self.mechanism!r}: give one of {', '.join(map(repr, self.mechanisms))}")
        for name in ("loss_bound", "population_budget"):
            value = getattr(self, name)
            if value is not None and not _positive(value):
                yield PrivacyError(f"{name} is {value!r}: give a positive, finite number, or leave it out")
        named: object = self.metrics
        if not isinstance(named, tuple) or not all(isinstance(name, str) for name in named):
            yield PrivacyError(f"metrics is {named!r}: give the names of metrics of the task, ('accuracy',), say")
        elif len(set(self.metrics)) < len(self.metrics):
            yield PrivacyError(f"metrics is {self.metrics!r}: give each name once")
        if self.most_examples is not None and not is_count(self.most_examples):
            yield PrivacyError(count("most_examples", self.most_examples)[0])
        for text in truth("public_evaluation", self.public_evaluation):
            yield PrivacyError(text)
        if self.insecure_seed is not None and not is_whole(self.insecure_seed):
            yield PrivacyError(f"insecure_seed is {self.insecure_seed!r}: give a whole number, in tests only")

    def _of_noise(self) -> Iterator[PrivacyError]:
        if not _positive(self.clip):
            yield ClippingRequired(
                f"clip is {self.clip!r}: without a finite norm that no report exceeds, noise of any size protects "
                "nothing. Give the largest norm of an update that shall pass unchanged, clip=1.0, say"
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


def _positive(value: object) -> bool:
    return is_number(value) and value > 0  # type: ignore[operator]

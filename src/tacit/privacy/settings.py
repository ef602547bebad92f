"""What is wrong with the settings that every level of privacy has: clip norm, epsilon, noise, delta and the rest."""

from __future__ import annotations

from collections.abc import Iterator

from tacit.checks import is_number, is_whole, truth
from tacit.errors import ClippingRequired, NoiseRequired, PrivacyError
from tacit.privacy.accountant import REPLACE_ONE, ZERO_OUT

LOUDEST = 1e5
"""Largest noise multiplier: of louder noise, double precision would not hold every step of the grid of sums."""


def is_positive(value: object) -> bool:
    """Whether it is a number above 0, and finite."""
    return is_number(value) and value > 0  # type: ignore[operator]


def clip_problems(clip: object, least: float, most: float, what: str) -> Iterator[PrivacyError]:
    """What is wrong with a clip norm.

    Args:
        clip: as given.
        least, most: between which it must lie.
        what: what it bounds, in words.
    """
    if not is_positive(clip):
        yield ClippingRequired(
            f"clip is {clip!r}: without a finite norm that no {what} exceeds, noise of any size protects nothing. Give "
            f"the largest norm of a {what} that shall pass unchanged, clip=1.0, say"
        )
    elif not least <= clip <= most:  # type: ignore[operator]
        yield ClippingRequired(f"clip is {clip!r}: give a norm from {least:g} to {most:g}")


def noise_problems(epsilon: object, noise_multiplier: object) -> Iterator[PrivacyError]:
    """What is wrong with an epsilon and a noise multiplier, of which one at least is needed."""
    if epsilon is None and noise_multiplier is None:
        yield NoiseRequired("there is no epsilon: say what the run may spend, epsilon=4.0, say")
    if epsilon is not None and not is_positive(epsilon):
        yield NoiseRequired(f"epsilon is {epsilon!r}: give a positive, finite number, such as 4.0")
    if noise_multiplier is None:
        return
    if not is_positive(noise_multiplier):
        yield NoiseRequired(
            f"noise_multiplier is {noise_multiplier!r}: without noise epsilon is infinite. Give a positive number, or "
            "leave it out so that it follows from epsilon"
        )
    elif noise_multiplier > LOUDEST:  # type: ignore[operator]
        yield PrivacyError(f"noise_multiplier is {noise_multiplier!r}: give at most {LOUDEST:g}")


def common_problems(
    adjacency: object, population_budget: object, public_evaluation: object, insecure_seed: object
) -> Iterator[PrivacyError]:
    """What is wrong with the settings of these names."""
    if adjacency not in (ZERO_OUT, REPLACE_ONE):
        yield PrivacyError(f"adjacency is {adjacency!r}: give {ZERO_OUT!r} or {REPLACE_ONE!r}")
    if population_budget is not None and not is_positive(population_budget):
        yield PrivacyError(
            f"population_budget is {population_budget!r}: give a positive, finite number, or leave it out"
        )
    for text in truth("public_evaluation", public_evaluation):
        yield PrivacyError(text)
    if insecure_seed is not None and not is_whole(insecure_seed):
        yield PrivacyError(f"insecure_seed is {insecure_seed!r}: give a whole number, in tests only")

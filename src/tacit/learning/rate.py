"""Learning rates that change over the rounds. A plain number means a constant one.

Every schedule is a frozen value with `at(round)`; rounds count from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from tacit.checks import count, is_number, make_plain, not_negative, positive
from tacit.errors import Problems, UsageError


@runtime_checkable
class Rate(Protocol):
    """A learning rate for each round."""

    def at(self, round: int) -> float:
        """The rate of round `round` (from 0)."""
        ...


@dataclass(frozen=True)
class StepDecay:
    """`lr` multiplied by `factor` after every `every` rounds."""

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        _check(self, lr=self.lr, factor=self.factor, every=self.every)

    def at(self, round: int) -> float:
        """`lr * factor ** (round // every)`."""
        return self.lr * self.factor ** (round // self.every)


@dataclass(frozen=True)
class Exponential:
    """`lr` multiplied by `factor` after every round."""

    lr: float
    factor: float = 0.99

    def __post_init__(self) -> None:
        _check(self, lr=self.lr, factor=self.factor)

    def at(self, round: int) -> float:
        """`lr * factor ** round`."""
        return self.lr * self.factor**round


@dataclass(frozen=True)
class Cosine:
    """From `lr` down to `final` along half a cosine over `rounds` rounds, constant afterwards.

    [Loshchilov17] arXiv:1608.03983, eq. 5, without restarts.
    """

    lr: float
    rounds: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _check(self, lr=self.lr, rounds=self.rounds, final=self.final)

    def at(self, round: int) -> float:
        """`final + (lr - final) (1 + cos(pi t)) / 2` with `t = min(round / rounds, 1)`."""
        t = min(round / self.rounds, 1.0)
        return self.final + 0.5 * (self.lr - self.final) * (1.0 + math.cos(math.pi * t))


@dataclass(frozen=True)
class Warmup:
    """Linear from `lr(0) / rounds` up to the rate of `then` over the first `rounds` rounds, then `then` itself."""

    then: Rate | float
    rounds: int

    def __post_init__(self) -> None:
        with Problems("Warmup cannot be built", UsageError) as problems:
            problems.extend(rate_problems("then", self.then) + count("rounds", self.rounds))
        make_plain(self)

    def at(self, round: int) -> float:
        """The rate of `then`, scaled by `(round + 1) / rounds` while that is below one."""
        return rate_at(self.then, round) * min((round + 1) / self.rounds, 1.0)


def rate_at(rate: Rate | float, round: int) -> float:
    """The learning rate of `round`, for a number and for a schedule alike.

    Raises:
        UsageError: the schedule gives something else than a finite number from 0.
    """
    if isinstance(rate, float | int):  # first, for to ask for a protocol is slow
        return float(rate)
    try:
        lr = rate.at(round)
    except OverflowError:  # a factor above 1, after many rounds
        lr = math.inf
    if not is_number(lr) or lr < 0:
        raise UsageError(f"{rate!r} gives {lr!r} in round {round + 1}: at(round) must give a finite number, 0 or more")
    return float(lr)


def rate_problems(name: str, rate: object) -> list[str]:
    """What is wrong with a learning rate, as far as its first round shows it."""
    if isinstance(rate, type) or not isinstance(rate, Rate):
        return positive(name, rate, " learning rate, or a schedule such as tacit.Cosine(lr=0.1, rounds=50)")
    try:
        rate_at(rate, 0)
    except UsageError as error:
        return [f"{name}: {error}"]
    except Exception as error:  # whatever a schedule of the user's raises is the finding
        return [f"{name} is {rate!r}, whose at(0) fails ({type(error).__name__}: {error}): give a number or a schedule"]
    return []


def _check(schedule: object, **values: object) -> None:
    """Reports every number that a schedule cannot have."""
    with Problems(f"{type(schedule).__name__} cannot be built", UsageError) as problems:
        for name, value in values.items():
            if name in ("every", "rounds"):
                problems.extend(count(name, value))
            else:
                # A rate may end at zero; one that starts there, or a factor of zero, would never learn.
                problems.extend((not_negative if name == "final" else positive)(name, value))
    make_plain(schedule)

"""Learning rates that change over the rounds. A plain number means a constant one.

Every schedule is a frozen value with `at(round)`; rounds count from 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Protocol, runtime_checkable

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
        if isinstance(self.then, Rate):
            _check(self, rounds=self.rounds)
        else:
            _check(self, then=self.then, rounds=self.rounds)

    def at(self, round: int) -> float:
        """The rate of `then`, scaled by `(round + 1) / rounds` while that is below one."""
        return rate_at(self.then, round) * min((round + 1) / self.rounds, 1.0)


def rate_at(rate: Rate | float, round: int) -> float:
    """The learning rate of `round`, for a number and for a schedule alike."""
    return rate.at(round) if isinstance(rate, Rate) else float(rate)


def _check(schedule: object, **values: object) -> None:
    """Reports every number that a schedule cannot have."""
    with Problems(f"{type(schedule).__name__} cannot be built", UsageError) as problems:
        for name, value in values.items():
            if name in ("every", "rounds"):
                good = isinstance(value, Integral) and int(value) >= 1
                remedy = "a whole number of rounds from 1"
            else:
                # A rate may end at zero; one that starts there, or a factor of zero, would never learn.
                good = isinstance(value, Real) and 0 <= float(value) < math.inf and (value != 0 or name == "final")
                remedy = "a finite number, 0 or more" if name == "final" else "a positive, finite number"
            problems.check(good, f"{name} is {value!r}: give {remedy}")

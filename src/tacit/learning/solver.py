"""Local solvers: how a client turns gradients into steps, and how many steps it takes.

A solver is a frozen description; the engines (`step.py`) carry it out. `update` is its rule in one place, written on
flat tensors, so that every engine and every test can be held against the same lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf
from numbers import Integral, Real
from typing import Protocol

import torch
from torch import Tensor

from tacit.errors import IncompatibleOptions, Problems, UsageError
from tacit.learning.rate import Rate, rate_at


@dataclass(frozen=True)
class Correction:
    """What an algorithm adds to every local gradient: `g + proximal (y - x) + offset`.

    Every drift correction of the literature that keeps one broadcast and one sum has this form: FedProx (`proximal` =
    mu), SCAFFOLD (`offset` = c - c_k), FedDyn (both). Declaring it lets an engine fuse it into the step.

    Attributes:
        proximal: pull towards the broadcast model x, in units of 1.
        offset: (K, d) or None, constant during the local run.
    """

    proximal: float = 0.0
    offset: Tensor | None = None

    def __call__(self, g: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """The corrected gradient, `(..., d)`; `g` is overwritten."""
        if self.proximal:
            g.add_(y - x, alpha=self.proximal)
        if self.offset is not None:
            g.add_(self.offset)
        return g


class Solver(Protocol):
    """What every local solver offers."""

    @property
    def lr(self) -> Rate | float:
        """Learning rate, or a schedule over rounds."""
        ...

    @property
    def batch_size(self) -> int | None:
        """Examples in a step; None takes all of the client's."""
        ...

    @property
    def epochs(self) -> int | None:
        """Passes over the client's examples."""
        ...

    @property
    def steps(self) -> int | None:
        """Local steps instead of epochs."""
        ...

    def slots(self) -> int:
        """How many vectors of optimiser state a client carries during its local run."""
        ...

    def update(self, y: Tensor, g: Tensor, slots: Tensor, lr: float, step: int) -> None:
        """One local step in place: `y` (..., d), corrected gradient `g` (overwritten), `slots` (slots, ..., d)."""
        ...

    def norm(self, steps: int, lr: float, proximal: float) -> float:
        """FedNova's `||a||_1` after `steps` local steps."""
        ...


def problems_of(solver: Solver) -> list[str]:
    """Everything that is wrong with the length of a solver's local run."""
    found = []
    if solver.batch_size is not None and not _counts(solver.batch_size):
        found.append(f"batch_size is {solver.batch_size!r}: give a whole number from 1, or None for full batches")
    if solver.epochs is not None and solver.steps is not None:
        found.append(f"epochs={solver.epochs!r} and steps={solver.steps!r} are both given: give one of them")
    for name, value in (("epochs", solver.epochs), ("steps", solver.steps)):
        if value is not None and not _counts(value):
            found.append(f"{name} is {value!r}: give a whole number from 1")
    if not isinstance(solver.lr, Rate) and not _within(solver.lr, 0.0, inf, open_below=True):
        found.append(f"lr is {solver.lr!r}: give a positive, finite learning rate, or a schedule")
    return found


def _counts(value: object) -> bool:
    return isinstance(value, Integral) and int(value) >= 1


def _within(value: object, low: float, high: float, *, open_below: bool = False) -> bool:
    """Whether `value` is a real number in [low, high), or in (low, high)."""
    return isinstance(value, Real) and low <= float(value) < high and not (open_below and float(value) == low)


def steps_for(solver: Solver, examples: int) -> int:
    """How many local steps a client with `examples` examples takes; the last partial batch of an epoch counts."""
    if solver.steps is not None:
        return solver.steps
    size = solver.batch_size or examples
    return (solver.epochs or 1) * ceil(examples / size)


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent, with momentum, weight decay and Nesterov's variant as in `torch.optim.SGD`.

    Args:
        lr: learning rate, or a schedule over rounds.
        batch_size: examples in a step; None takes all of the client's.
        epochs: passes over the client's examples; 1 where neither epochs nor steps is given.
        steps: local steps instead of epochs.
        momentum: decay of the velocity, in [0, 1).
        weight_decay: L2 penalty added to the gradient, per unit of parameter.
        nesterov: look ahead; needs momentum.

    Raises:
        UsageError: with every problem of the arguments.
    """

    lr: Rate | float
    batch_size: int | None = None
    epochs: int | None = None
    steps: int | None = None
    momentum: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        with Problems("SGD cannot be built", UsageError) as problems:
            problems.extend(problems_of(self))
            problems.check(_within(self.momentum, 0, 1), f"momentum is {self.momentum!r}: give a number in [0, 1)")
            decays = _within(self.weight_decay, 0, inf)
            problems.check(decays, f"weight_decay is {self.weight_decay!r}: give a finite number, 0 or more")
            problems.check(not self.nesterov or self.momentum != 0, "nesterov=True needs a momentum above 0")

    def slots(self) -> int:
        """One velocity with momentum, nothing without."""
        return 1 if self.momentum else 0

    def update(self, y: Tensor, g: Tensor, slots: Tensor, lr: float, step: int) -> None:
        """`m <- momentum m + g`, `y <- y - lr m`; weight decay enters the gradient first."""
        if self.weight_decay:
            g.add_(y, alpha=self.weight_decay)
        if self.momentum:
            m = slots[0].mul_(self.momentum).add_(g)
            g = g.add_(m, alpha=self.momentum) if self.nesterov else m
        y.sub_(g, alpha=lr)

    def norm(self, steps: int, lr: float, proximal: float) -> float:
        """`||a||_1`: how far the client moves, in units of `lr`, when every stochastic gradient is 1.

        Gives the closed forms of [Wang20] arXiv:2007.07481, section 4.2: tau for plain SGD,
        `(tau - rho (1 - rho^tau) / (1 - rho)) / (1 - rho)` with momentum rho and `(1 - (1 - lr mu)^tau) / (lr mu)`
        with a proximal term mu; and the right value for their combination. Weight decay is part of the objective
        and leaves a as it is.
        """
        return _linear_response(steps, lr * proximal, self.momentum, self.nesterov)


@lru_cache(maxsize=65536)
def _linear_response(steps: int, pull: float, momentum: float, nesterov: bool) -> float:
    """The distance in units of lr after `steps` gradients of 1; `pull` = lr mu draws it back."""
    moved, m = 0.0, 0.0
    for _ in range(steps):
        g = 1.0 - pull * moved
        m = momentum * m + g
        moved += g + momentum * m if nesterov else m
    return moved


@dataclass(frozen=True)
class Adam:
    """Adam with bias correction as in `torch.optim.Adam` [Kingma15] arXiv:1412.6980, restarted in every round.

    Args:
        lr: learning rate, or a schedule over rounds.
        batch_size, epochs, steps: as for `SGD`.
        beta1, beta2: decay of the first and second moment, in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: L2 penalty added to the gradient, per unit of parameter.

    Raises:
        UsageError: with every problem of the arguments.
    """

    lr: Rate | float = 1e-3
    batch_size: int | None = None
    epochs: int | None = None
    steps: int | None = None
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        with Problems("Adam cannot be built", UsageError) as problems:
            problems.extend(problems_of(self))
            problems.check(_within(self.beta1, 0, 1), f"beta1 is {self.beta1!r}: give a number in [0, 1)")
            problems.check(_within(self.beta2, 0, 1), f"beta2 is {self.beta2!r}: give a number in [0, 1)")
            problems.check(_within(self.eps, 0, inf, open_below=True), f"eps is {self.eps!r}: give a positive number")
            decays = _within(self.weight_decay, 0, inf)
            problems.check(decays, f"weight_decay is {self.weight_decay!r}: give a finite number, 0 or more")

    def slots(self) -> int:
        """The two moments."""
        return 2

    def update(self, y: Tensor, g: Tensor, slots: Tensor, lr: float, step: int) -> None:
        """One Adam step; `step` counts from 0 within the local run."""
        if self.weight_decay:
            g.add_(y, alpha=self.weight_decay)
        m = slots[0].lerp_(g, 1 - self.beta1)
        v = slots[1].mul_(self.beta2).addcmul_(g, g, value=1 - self.beta2)
        root = torch.sqrt(v / (1 - self.beta2 ** (step + 1))).add_(self.eps)
        y.addcdiv_(m, root, value=-lr / (1 - self.beta1 ** (step + 1)))

    def norm(self, steps: int, lr: float, proximal: float) -> float:
        """Adam's steps are not linear in the gradients, so `a` does not exist."""
        raise IncompatibleOptions(
            "a local Adam has no normaliser a: its steps are not linear in the gradients ([Wang20], section 4); "
            "use SGD on the clients with FedNova and SCAFFOLD, and FedAdam for an adaptive server"
        )


def lr_at(solver: Solver, round: int) -> float:
    """The local learning rate of `round` (from 0)."""
    return rate_at(solver.lr, round)

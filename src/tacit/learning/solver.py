"""Local solvers: how a client turns gradients into steps, and how many steps it takes.

A solver is a frozen description; the engines (`step.py`) carry it out. `update` is its rule in one place, written on
flat tensors, so that every engine and every test can be held against the same lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Protocol

import torch
from torch import Tensor

from tacit.checks import count, decay, is_number, make_plain, not_negative, positive, truth
from tacit.errors import IncompatibleOptions, Problems, UsageError
from tacit.learning.rate import Rate, rate_at, rate_problems


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
    """Everything that is wrong with a solver's learning rate and the length of its local run."""
    found = []
    if solver.batch_size is not None:
        found += count("batch_size", solver.batch_size, ", or None for full batches")
    if solver.epochs is not None and solver.steps is not None:
        found.append(f"epochs={solver.epochs!r} and steps={solver.steps!r} are both given: give one of them")
    for name, value in (("epochs", solver.epochs), ("steps", solver.steps)):
        found += [] if value is None else count(name, value)
    return found + rate_problems("lr", solver.lr)


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
            problems.extend(decay("momentum", self.momentum) + not_negative("weight_decay", self.weight_decay))
            problems.extend(truth("nesterov", self.nesterov))
            lasting = not is_number(self.momentum) or self.momentum != 0
            ahead = not truth("nesterov", self.nesterov) and bool(self.nesterov)
            problems.check(lasting or not ahead, "nesterov=True needs a momentum above 0")
        make_plain(self)

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
        batch_size: as for `SGD`.
        epochs: as for `SGD`.
        steps: as for `SGD`.
        beta1: decay of the first moment, in [0, 1).
        beta2: decay of the second moment, in [0, 1).
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
            problems.extend(decay("beta1", self.beta1) + decay("beta2", self.beta2) + positive("eps", self.eps))
            problems.extend(not_negative("weight_decay", self.weight_decay))
        make_plain(self)

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

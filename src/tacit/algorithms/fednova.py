"""FedNova: normalised averaging, for clients that take unequal numbers of local steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tacit.algorithms.base import Algorithm, Done, stepped
from tacit.algorithms.scaffold import linear_solver_problems
from tacit.checks import not_negative
from tacit.learning.layout import Layout, Parts
from tacit.learning.solver import Solver


@dataclass(frozen=True)
class FedNova(Algorithm):
    """`x <- x + tau_eff * sum_k (n_k / n) (y_k - x) / a_k` with `tau_eff = sum_k (n_k / n) a_k`, `a_k = ||a_k||_1`.

    FedAvg weighs a client by its steps as well as by its examples and so converges to the optimum of another objective;
    dividing by a_k removes that inconsistency. [Wang20] arXiv:2007.07481, eqs. 8-10; a_k for plain, momentum
    and proximal local SGD from `solver.norm`.

    Args:
        solver: local SGD.
        mu: proximal term of the local steps, 0 without.
        weights: as for `FedAvg`.
    """

    solver: Solver
    mu: float = 0.0
    weights: str = "auto"
    asks_norm: ClassVar[bool] = True

    @property
    def proximal(self) -> float:
        """mu."""
        return self.mu

    def problems(self) -> list[str]:
        """See `Algorithm.problems`."""
        found = super().problems() + linear_solver_problems(self.solver, "FedNova")
        return found + not_negative("mu", self.mu)

    def parts(self, d: int) -> Layout:
        """The normalised update and its normaliser."""
        return Layout.of(update=(d,), a=())

    def public(self, lr: float) -> Parts:
        """a, which is the same for all where the number of steps is public."""
        return {"a": torch.tensor(self.solver.norm(self.solver.steps or 0, lr, self.mu), dtype=torch.float64)}

    def exposes(self) -> list[str]:
        """Numbers of steps that follow from numbers of examples."""
        if self.solver.steps is not None:
            return []
        return ["FedNova divides by steps that follow from n_k: make their number public, SGD(steps=...)"]

    def message(self, update: Tensor, down: Parts, memory: Tensor | None, done: Done) -> tuple[Parts, Tensor | None]:
        """`(y - x) / a` and `a`."""
        assert done.a is not None
        return {"update": update.div_(done.a[:, None]), "a": done.a}, None

    def apply(self, state: Parts, mean: Parts, counted: float, clients: int) -> Parts:
        """`x + tau_eff * mean normalised update`."""
        return {"x": stepped(state["x"], mean["a"] * mean["update"])}

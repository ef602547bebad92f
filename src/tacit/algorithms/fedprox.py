"""FedProx: FedAvg with a proximal term in the clients' objective."""

from __future__ import annotations

from dataclasses import dataclass

from tacit.algorithms.base import Algorithm, stepped
from tacit.checks import not_negative, positive
from tacit.learning.layout import Parts
from tacit.learning.solver import Solver


@dataclass(frozen=True)
class FedProx(Algorithm):
    """FedAvg whose clients minimise `f_k(y) + mu / 2 ||y - x||^2`: partial work and unlike data drift less.

    [Li20] arXiv:1812.06127, Algorithm 2. With mu = 0 it is FedAvg, bit for bit.

    Args:
        solver: local solver.
        mu: strength of the pull towards the broadcast model.
        server_lr: step along the mean update.
        weights: as for `FedAvg`.
    """

    solver: Solver
    mu: float = 0.01
    server_lr: float = 1.0
    weights: str = "auto"

    @property
    def proximal(self) -> float:
        """mu."""
        return self.mu

    def problems(self) -> list[str]:
        """See `Algorithm.problems`."""
        return super().problems() + not_negative("mu", self.mu) + positive("server_lr", self.server_lr)

    def apply(self, state: Parts, mean: Parts, counted: float, clients: int) -> Parts:
        """`x + server_lr * mean update`."""
        return {"x": stepped(state["x"], self.server_lr * mean["update"])}

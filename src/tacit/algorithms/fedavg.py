"""FedAvg: the weighted mean of the clients' updates."""

from __future__ import annotations

from dataclasses import dataclass

from tacit.algorithms.base import Algorithm, stepped
from tacit.checks import positive
from tacit.learning.layout import Parts
from tacit.learning.solver import Solver


@dataclass(frozen=True)
class FedAvg(Algorithm):
    """Federated averaging: `x <- x + server_lr * sum_k (n_k / n) (y_k - x)`.

    [McMahan17] arXiv:1602.05629, Algorithm 1.

    Args:
        solver: local solver.
        server_lr: step along the mean update; 1 gives the average of the local models.
        weights: "examples" (n_k / n), "uniform" (1 / K), or "auto": by examples, and alike under user-level privacy.

    >>> from tacit.learning.solver import SGD
    >>> FedAvg(SGD(lr=0.1, batch_size=32, epochs=5)).weights
    'auto'
    """

    solver: Solver
    server_lr: float = 1.0
    weights: str = "auto"

    def problems(self) -> list[str]:
        """See `Algorithm.problems`."""
        return super().problems() + positive("server_lr", self.server_lr)

    def apply(self, state: Parts, mean: Parts, counted: float, clients: int) -> Parts:
        """`x + server_lr * mean update`."""
        return {"x": stepped(state["x"], self.server_lr * mean["update"])}

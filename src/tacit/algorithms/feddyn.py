"""FedDyn: dynamic regularisation, so that local optima and the global one agree in the limit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tacit.algorithms.base import Algorithm, Done, stepped
from tacit.checks import positive
from tacit.learning.layout import Parts
from tacit.learning.solver import Correction, Solver


@dataclass(frozen=True)
class FedDyn(Algorithm):
    """Clients minimise `f_k(y) - <h_k, y> + alpha / 2 ||y - x||^2` and set `h_k <- h_k - alpha (y - x)`.

    The server keeps `h <- h - (alpha / N) sum (y_k - x)` and sets `x <- mean of y_k - h / alpha`.
    [Acar21] arXiv:2111.04263, Algorithm 1. Clients count equally, as published.

    Args:
        solver: local solver.
        alpha: strength of the regularisation.
    """

    solver: Solver
    alpha: float = 0.1
    weights: str = "uniform"

    @property
    def proximal(self) -> float:
        """alpha."""
        return self.alpha

    def problems(self) -> list[str]:
        """See `Algorithm.problems`."""
        found = super().problems() + positive("alpha", self.alpha)
        if self.weights != "uniform":
            found.append(f"weights is {self.weights!r}: FedDyn's h is a plain mean, leave weights at 'uniform'")
        return found

    def init(self, x: Tensor) -> Parts:
        """The model and h = 0."""
        return {"x": x.clone(), "h": torch.zeros_like(x, dtype=torch.float64)}

    def memory(self, d: int) -> int:
        """h_k."""
        return d

    def correction(self, down: Parts, memory: Tensor | None) -> Correction:
        """`g - h_k + alpha (y - x)`."""
        assert memory is not None
        return Correction(self.alpha, -memory)

    def message(self, update: Tensor, down: Parts, memory: Tensor | None, done: Done) -> tuple[Parts, Tensor | None]:
        """`y - x`; the client remembers `h_k - alpha (y - x)`."""
        assert memory is not None
        return {"update": update}, memory - self.alpha * update

    def apply(self, state: Parts, mean: Parts, counted: float, clients: int) -> Parts:
        """`x + mean update - h / alpha`."""
        h = state["h"] - self.alpha * mean["update"] * (counted / clients)
        return {"x": stepped(state["x"], mean["update"] - h / self.alpha), "h": h}

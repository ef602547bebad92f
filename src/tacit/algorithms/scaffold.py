"""SCAFFOLD: control variates against client drift."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tacit.algorithms.base import Algorithm, Done, stepped
from tacit.checks import is_whole, positive
from tacit.learning.layout import Layout, Parts
from tacit.learning.solver import SGD, Correction, Solver


def linear_solver_problems(solver: Solver, method: str) -> list[str]:
    """A method that reads gradients out of parameter differences needs local steps that are linear in the gradients."""
    if isinstance(solver, SGD):
        return []
    return [f"{method} needs local SGD, not {type(solver).__name__}: its steps are not linear in the gradients"]


@dataclass(frozen=True)
class Scaffold(Algorithm):
    """Local steps along `g - c_k + c`; the server steps along the mean update and keeps c the mean of all c_k.

    [Karimireddy20] arXiv:1910.06378, Algorithm 1. Clients count equally, as published. A client's c_k is committed only
    if the client was counted, so that c stays the mean over all N clients.

    Args:
        solver: local SGD. With momentum, option 2 divides by `||a||_1` instead of the number of steps.
        option: how a client renews its c_k: 1, its full gradient at the broadcast model; 2, the mean of the
            gradients along its way, which costs nothing.
        server_lr: step along the mean update (eta_g).
    """

    solver: Solver
    option: int = 2
    server_lr: float = 1.0
    weights: str = "uniform"
    asks_norm: ClassVar[bool] = True

    @property
    def asks_gradient(self) -> bool:
        """Option 1 reads the full gradient."""
        return self.option == 1

    def problems(self) -> list[str]:
        """See `Algorithm.problems`."""
        found = super().problems() + linear_solver_problems(self.solver, "SCAFFOLD")
        if not is_whole(self.option) or self.option not in (1, 2):
            found.append(f"option is {self.option!r}: give 1 (gradient at x) or 2 (mean of the local gradients)")
        if self.weights != "uniform":
            found.append(f"weights is {self.weights!r}: SCAFFOLD's c is a plain mean, leave weights at 'uniform'")
        return found + positive("server_lr", self.server_lr)

    def init(self, x: Tensor) -> Parts:
        """The model and c = 0."""
        return {"x": x.clone(), "c": torch.zeros_like(x)}

    def broadcast(self, state: Parts) -> Parts:
        """The model and c."""
        return {"x": state["x"], "c": state["c"]}

    def memory(self, d: int) -> int:
        """c_k."""
        return d

    def correction(self, down: Parts, memory: Tensor | None) -> Correction:
        """`g - c_k + c`."""
        assert memory is not None
        return Correction(offset=down["c"] - memory)

    def parts(self, d: int) -> Layout:
        """The update and the change of c_k."""
        return Layout.of(update=(d,), control=(d,))

    def message(self, update: Tensor, down: Parts, memory: Tensor | None, done: Done) -> tuple[Parts, Tensor | None]:
        """`y - x` and `c_k+ - c_k`."""
        assert memory is not None and done.a is not None
        if self.option == 1:
            assert done.gradient is not None
            renewed = done.gradient
        else:
            renewed = memory - down["c"] - update / (done.a[:, None] * done.lr)
        return {"update": update, "control": renewed - memory}, renewed

    def apply(self, state: Parts, mean: Parts, counted: float, clients: int) -> Parts:
        """`x + server_lr * mean update`, `c + (counted / N) * mean change`."""
        return {
            "x": stepped(state["x"], self.server_lr * mean["update"]),
            "c": stepped(state["c"], mean["control"] * (counted / clients)),
        }

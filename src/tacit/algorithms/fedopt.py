"""Server optimisers: the mean update is a pseudo-gradient for momentum, Adam, Yogi or Adagrad on the server."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from tacit.algorithms.base import Algorithm, stepped
from tacit.checks import decay, positive, truth
from tacit.learning.layout import Parts
from tacit.learning.solver import Solver


@dataclass(frozen=True)
class FedAvgM(Algorithm):
    """Server momentum: `v <- momentum v + mean update`, `x <- x + server_lr v`.

    [Hsu19] arXiv:1909.06335, section 4.3.
    """

    solver: Solver
    server_lr: float = 1.0
    momentum: float = 0.9
    weights: str = "auto"

    def problems(self) -> list[str]:
        """See `Algorithm.problems`."""
        return super().problems() + positive("server_lr", self.server_lr) + decay("momentum", self.momentum)

    def init(self, x: Tensor) -> Parts:
        """The model and v = 0."""
        return {"x": x.clone(), "v": torch.zeros_like(x, dtype=torch.float64)}

    def apply(self, state: Parts, mean: Parts, counted: float, clients: int) -> Parts:
        """One step of heavy-ball momentum."""
        v = self.momentum * state["v"] + mean["update"]
        return {"x": stepped(state["x"], self.server_lr * v), "v": v}


class Adaptive(Algorithm):
    """FedOpt with a second moment, [Reddi21] arXiv:2003.00295, Algorithm 2: `x <- x + server_lr m / (sqrt(v) + tau)`.

    `m <- beta1 m + (1 - beta1) mean`, v starts at tau^2 and is renewed by `second`. There is no bias correction, as
    published, unless `bias_correction=True` asks for Adam's (m divided by `1 - beta1^t`, v by `1 - beta2^t`, and v
    then starts at 0).

    Attributes:
        solver: local solver.
        server_lr: eta of the server.
        beta1: decay of the first moment.
        beta2: decay of the second moment (not for FedAdagrad).
        tau: adaptivity; large values come near FedAvgM.
        bias_correction: see above.
        weights: as for `FedAvg`.
    """

    server_lr: float
    beta1: float
    tau: float
    bias_correction: bool

    def problems(self) -> list[str]:
        """See `Algorithm.problems`."""
        found = super().problems() + positive("server_lr", self.server_lr) + positive("tau", self.tau)
        for name in ("beta1", "beta2"):
            found += decay(name, getattr(self, name)) if hasattr(self, name) else []
        return found + truth("bias_correction", self.bias_correction)

    def init(self, x: Tensor) -> Parts:
        """The model, m = 0, v = tau^2 (0 with bias correction), and the number of steps taken."""
        zeros = torch.zeros_like(x, dtype=torch.float64)
        v0 = 0.0 if self.bias_correction else self.tau**2
        return {"x": x.clone(), "m": zeros, "v": zeros + v0, "t": torch.zeros((), dtype=torch.float64)}

    @abstractmethod
    def second(self, v: Tensor, squared: Tensor) -> Tensor:
        """The second moment after one more squared mean update, both (d,)."""

    def unbiased(self, v: Tensor, t: Tensor) -> Tensor:
        """The second moment freed of its start at 0, after t steps."""
        return v

    def apply(self, state: Parts, mean: Parts, counted: float, clients: int) -> Parts:
        """One adaptive step."""
        t = state["t"] + 1
        m = self.beta1 * state["m"] + (1 - self.beta1) * mean["update"]
        v = self.second(state["v"], mean["update"] ** 2)
        direction, scale = m, v
        if self.bias_correction:
            direction, scale = m / (1 - self.beta1**t), self.unbiased(v, t)
        step = self.server_lr * direction / (scale.sqrt() + self.tau)
        return {"x": stepped(state["x"], step), "m": m, "v": v, "t": t}


@dataclass(frozen=True)
class FedAdam(Adaptive):
    """`v <- beta2 v + (1 - beta2) mean^2`. See `Adaptive`."""

    solver: Solver
    server_lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    bias_correction: bool = False
    weights: str = "auto"

    def second(self, v: Tensor, squared: Tensor) -> Tensor:
        """Adam's second moment."""
        return self.beta2 * v + (1 - self.beta2) * squared

    def unbiased(self, v: Tensor, t: Tensor) -> Tensor:
        """`v / (1 - beta2^t)`."""
        return v / (1 - self.beta2**t)


@dataclass(frozen=True)
class FedYogi(Adaptive):
    """`v <- v - (1 - beta2) mean^2 sign(v - mean^2)`: v falls slowly when updates become small. See `Adaptive`."""

    solver: Solver
    server_lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    tau: float = 1e-3
    bias_correction: bool = False
    weights: str = "auto"

    def second(self, v: Tensor, squared: Tensor) -> Tensor:
        """Yogi's second moment."""
        return v - (1 - self.beta2) * squared * torch.sign(v - squared)

    def unbiased(self, v: Tensor, t: Tensor) -> Tensor:
        """`v / (1 - beta2^t)`."""
        return v / (1 - self.beta2**t)


@dataclass(frozen=True)
class FedAdagrad(Adaptive):
    """`v <- v + mean^2`, and beta1 = 0 as published. See `Adaptive`."""

    solver: Solver
    server_lr: float = 0.1
    beta1: float = 0.0
    tau: float = 1e-3
    bias_correction: bool = False
    weights: str = "auto"

    def second(self, v: Tensor, squared: Tensor) -> Tensor:
        """The sum of all squared mean updates."""
        return v + squared

"""A method of your own: what a client sends, and one server step. Here FedExP, whose server chooses its own step.

[Jhunjhunwala23] arXiv:2301.09604, eq. 7: eta = max(1, mean of ||y_k - x||^2 / (2 (||mean of (y_k - x)||^2 + eps))).
"""

from dataclasses import dataclass

import torch

import tacit
from tacit.algorithms.base import Algorithm, stepped
from tacit.learning.layout import Layout


@dataclass(frozen=True)
class FedExP(Algorithm):
    solver: tacit.SGD
    eps: float = 1e-3
    weights: str = "uniform"

    def parts(self, d):
        return Layout.of(update=(d,), squared=())

    def message(self, update, down, memory, done):
        return {"update": update, "squared": (update**2).sum(dim=1)}, None

    def apply(self, state, mean, counted, clients):
        spread = mean["squared"] / (2 * ((mean["update"] ** 2).sum() + self.eps))
        return {"x": stepped(state["x"], spread.clamp(min=1.0) * mean["update"])}


torch.manual_seed(0)
weights = torch.randn(30, 1)
data = {k: (x, x @ weights) for k, x in enumerate(torch.randn(20, 5, 30))}  # each client sees 5 of 30 directions
test = (x := torch.randn(500, 30), x @ weights)
task, solver = tacit.Task(torch.nn.Linear(30, 1), torch.nn.functional.mse_loss), tacit.SGD(lr=0.05, epochs=5)
for method in (tacit.FedAvg(solver, weights="uniform"), FedExP(solver)):
    run = tacit.Federation(task, tacit.Population.from_arrays(data), method).run(20, test)
    print(f"{type(method).__name__:6s} test loss {run.history['test_loss'].iloc[-1]:.3f}")

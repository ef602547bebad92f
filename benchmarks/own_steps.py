"""Plain and private steps in tacit's environment: a bare PyTorch loop, `vmap(grad)` by hand, tacit's own engines."""

from __future__ import annotations

import os

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn.functional import cross_entropy

import tacit
from benchmarks.private_steps import CLIP, LR, Case, Runner, serve
from tacit.learning.batches import Batches, Examples
from tacit.learning.ladder import choose
from tacit.learning.solver import Correction
from tacit.learning.step import LocalRun, Perturbation
from tacit.secret_draws import KEY, SecretDraws


class Loop:
    """The loop of every tutorial: `zero_grad`, `backward`, `optim.SGD.step`."""

    note = "zero_grad, backward, optim.SGD"

    def __init__(self, case: Case, noise: float) -> None:
        self.case, self.model = case, case.build()
        self.x, self.y = case.data()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)

    def run(self, count: int) -> None:
        """See `Runner.run`."""
        for rows in self.case.rows(count):
            self.optimizer.zero_grad()
            cross_entropy(self.model(self.x[rows]), self.y[rows]).backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()

    def parameters(self) -> Tensor:
        """See `Runner.parameters`."""
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


class Mapped:
    """DP-SGD as one writes it with torch.func: `vmap(grad(loss))`, norms, factors, noise of `torch.normal`."""

    note = "vmap(grad), noise of torch's own generator"

    def __init__(self, case: Case, noise: float) -> None:
        self.case, self.noise, self.model = case, noise, case.build()
        self.x, self.y = case.data()
        self.weights = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.gradients = vmap(grad(self._loss), in_dims=(None, 0, 0))

    def _loss(self, weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(functional_call(self.model, weights, (x[None],)), y[None])

    def run(self, count: int) -> None:
        """See `Runner.run`."""
        for rows in self.case.rows(count):
            each = self.gradients(self.weights, self.x[rows], self.y[rows])
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in each.values()]).norm(dim=0)
            factors = (CLIP / (norms + 1e-6)).clamp(max=1.0)
            for name, g in each.items():
                total = torch.tensordot(factors, g, dims=1)
                total += torch.normal(0.0, self.noise * CLIP, total.shape)
                self.weights[name] -= LR / self.case.batch * total

    def parameters(self) -> Tensor:
        """See `Runner.parameters`."""
        return torch.cat([p.flatten() for p in self.weights.values()])


class Own:
    """One client's local steps on the engine that tacit chooses."""

    def __init__(self, case: Case, noise: float, private: bool) -> None:
        self.case, self.noise, self.private = case, noise, private
        self.task = tacit.Task(case.build(), cross_entropy)
        x, y = case.data()
        self.examples = Examples(x, y, np.array([0]), np.array([len(y)]))
        solver = tacit.SGD(LR, batch_size=case.batch)
        choice = choose(self.task, solver, self.examples, 0.0, False, clip=CLIP if private else None)
        self.engine, self.note = choice.make(), f"the {choice.name} engine" + (", noise of AES" if private else "")
        self.x, self.b = self.task.initial()
        self.update = torch.zeros(1, self.task.d)

    def run(self, count: int) -> None:
        """See `Runner.run`."""
        steps = np.array([0, count])
        cut = np.arange(count + 1) * self.case.batch
        batches = Batches(self.case.rows(count).flatten().numpy(), cut, steps)
        draws = SecretDraws(os.urandom(KEY))
        private = Perturbation(CLIP, [self.noise], [float(self.case.batch)], [draws]) if self.private else None
        job = LocalRun(self.x, self.b, self.examples, batches, Correction(), LR, (0,), private)
        self.engine.run(job, self.update, torch.zeros(1, len(self.b)), torch.zeros(1))

    def parameters(self) -> Tensor:
        """See `Runner.parameters`."""
        return self.x + self.update[0]


def _plain(case: Case, noise: float) -> Runner:
    return Own(case, noise, private=False)


def _private(case: Case, noise: float) -> Runner:
    return Own(case, noise, private=True)


if __name__ == "__main__":
    serve({"pytorch": Loop, "tacit": _plain, "tacit-private": _private, "vmap-grad": Mapped})

"""Opacus: `PrivacyEngine.make_private` with its hooks and with its ghost clipping, on batches that are given.

Poisson sampling and its data loader are left out, for here as elsewhere only steps are timed.
"""

from __future__ import annotations

import warnings

import torch
from opacus import PrivacyEngine
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.private_steps import CLIP, LR, Case, Runner, serve


class Opacus:
    """A private optimiser in the loop of every tutorial.

    Args:
        mode: "hooks" (gradients of each example are written) or "ghost" (only their norms are, and a second pass).
        secure: noise of a cryptographic generator, which needs torchcsprng.
    """

    def __init__(self, case: Case, noise: float, mode: str, secure: bool = False) -> None:
        warnings.simplefilter("ignore")
        self.case, model = case, case.build()
        self.x, self.y = case.data()
        self.criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), lr=LR)
        given = PrivacyEngine(secure_mode=secure).make_private(
            module=model,
            optimizer=optimizer,
            criterion=self.criterion,
            data_loader=DataLoader(TensorDataset(self.x, self.y), batch_size=case.batch),
            noise_multiplier=noise,
            max_grad_norm=CLIP,
            poisson_sampling=False,
            grad_sample_mode=mode,
        )
        self.model, self.optimizer = given[:2]
        if mode == "ghost":
            self.criterion = given[2]
        self.note = f"grad_sample_mode={mode!r}, " + ("secure_mode" if secure else "noise of torch's own generator")

    def run(self, count: int) -> None:
        """See `Runner.run`."""
        for rows in self.case.rows(count):
            self.optimizer.zero_grad()
            self.criterion(self.model(self.x[rows]), self.y[rows]).backward()
            self.optimizer.step()

    def parameters(self) -> Tensor:
        """See `Runner.parameters`."""
        return torch.cat([p.detach().flatten() for p in self.model.parameters()])


def _hooks(case: Case, noise: float) -> Runner:
    return Opacus(case, noise, "hooks")


def _ghost(case: Case, noise: float) -> Runner:
    return Opacus(case, noise, "ghost")


def _secure(case: Case, noise: float) -> Runner:
    return Opacus(case, noise, "hooks", secure=True)


if __name__ == "__main__":
    serve({"opacus-hooks": _hooks, "opacus-ghost": _ghost, "opacus-secure": _secure})

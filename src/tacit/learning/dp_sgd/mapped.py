"""Cut gradients through `torch.func`: every example's gradient at once, for any model that can be vmapped."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from tacit.learning.dp_sgd.engine import cut_factors
from tacit.learning.task import Task

MOST = 2**25
"""Numbers in the gradients that are in memory at once."""


class Mapped:
    """`vmap(grad(...))` over the examples of a batch, in pieces that fit into memory."""

    name = "vmapped"

    def __init__(self, task: Task) -> None:
        self.task, self.bound = task, task.bind()
        self._piece = max(1, MOST // task.d)

    def total(self, inputs: Tensor, target: Tensor, norm: float) -> Tensor:
        """See `CutSum.total`."""
        sum_of = torch.zeros_like(self.bound.x)
        for start in range(0, len(target), self._piece):
            piece = slice(start, start + self._piece)
            sum_of += self._of_piece(inputs[piece], target[piece], norm)
        return sum_of

    def _of_piece(self, inputs: Tensor, target: Tensor, norm: float) -> Tensor:
        layout, module = self.task.layout, self.bound.module

        def loss(params: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
            return self.task.loss(functional_call(module, params, (x[None],)), y[None])

        params = layout.unpack(self.bound.x)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="There is a performance drop")
            grads = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")(params, inputs, target)
        squares = torch.stack([g.double().square().flatten(1).sum(1) for g in grads.values()]).sum(0)
        factors = cut_factors(squares, norm)
        sound = factors > 0
        if not bool(sound.all()):
            grads = {name: g.index_select(0, torch.nonzero(sound).flatten()) for name, g in grads.items()}
            factors = factors[sound]
        factors = factors.to(self.task.dtype)
        return layout.pack({n: torch.tensordot(factors, g.detach(), dims=1) for n, g in grads.items()})

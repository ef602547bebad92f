"""A task: model, loss and metrics, as functions of one flat parameter vector."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from tacit.errors import Problems, UsageError
from tacit.learning.buffers import Buffers, packed, travelling
from tacit.learning.layout import Layout
from tacit.learning.probe import probe

Loss = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], Tensor]
FLOATS = (torch.float32, torch.float64)


@dataclass
class Bound:
    """A copy of the model whose parameters, gradients and buffers are views of flat vectors.

    Writing to `x` changes the model; `backward` fills `g`. One per worker; never shared.

    Attributes:
        module: the copy.
        x: (d,) parameters.
        g: (d,) gradients.
        b: (b,) the buffers that travel, in the task's dtype.
        push: writes `b` into the model, and puts the other buffers back to what they were at first.
        pull: reads `b` from the model.
    """

    module: nn.Module
    x: Tensor
    g: Tensor
    b: Tensor
    push: Callable[[], None]
    pull: Callable[[], None]


class Task:
    """What is learned: `model`, `loss` and `metrics`.

    Args:
        model: any `torch.nn.Module`; its present weights are the initial model. Parameters with `requires_grad=False`
            are frozen: known to all, never sent.
        loss: `loss(output, target)`, the mean over the batch, a scalar.
        metrics: name -> `metric(output, target)`, the mean over the batch.
        buffers: "average" (floating-point buffers that training writes, such as BatchNorm's statistics, are averaged
            plainly over the cohort) or "local" (they stay as the model has them). Whole numbers, and what no step
            writes, never leave the model: every client begins with them as they are.
        narrowed: gives, for a share of the width of hidden layers, a model of the same parts with fewer units in them,
            for devices too weak for the whole one (`ByTier(width=...)`).

    Raises:
        UsageError: with every problem of the arguments.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        metrics: Mapping[str, Metric] | None = None,
        *,
        buffers: str = "average",
        narrowed: Callable[[float], nn.Module] | None = None,
    ) -> None:
        self.model, self.loss, self.buffers, self.narrowed = model, loss, buffers, narrowed
        self.metrics: Mapping[str, Metric] = {} if metrics is None else metrics
        with Problems("the task cannot be built", UsageError) as problems:
            self._check(problems)
        self.metrics = dict(self.metrics)
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.layout = Layout.like(trained)
        self.dtype = next(iter(trained.values())).dtype
        self.moving = frozenset(name for name, _ in model.named_buffers())
        self.buffer_layout = travelling(model, () if buffers == "local" else self.moving)

    def settled(self, x: Tensor, y: Tensor) -> Task:
        """This task, knowing which buffers a forward pass in training mode on `x` and `y` (R, ...) writes."""
        if not self.moving:
            return self
        task = copy.copy(self)
        task.moving = probe(self.model, self.loss, x, y).buffers
        task.buffer_layout = travelling(self.model, task.moving & set(self.buffer_layout.names))
        return task

    def _check(self, problems: Problems) -> None:
        loss: object = self.loss
        called = callable(loss) and not isinstance(loss, type)
        problems.check(called, f"loss is {loss!r}: give a function loss(output, target)")
        narrowed: object = self.narrowed
        good = narrowed is None or callable(narrowed)
        problems.check(good, f"narrowed is {narrowed!r}: give a function of a share of the width, or leave it out")
        named: object = self.metrics
        if problems.check(isinstance(named, Mapping), f"metrics is {named!r}: give a mapping {{name: function}}"):
            values: Mapping[str, object] = self.metrics
            problems.extend(f"metric {n!r} is {m!r}: give a function" for n, m in values.items() if not callable(m))
        problems.check(self.buffers in ("average", "local"), f"buffers is {self.buffers!r}: give 'average' or 'local'")
        if not problems.check(
            isinstance(self.model, nn.Module), f"model is a {type(self.model).__name__}: give a torch.nn.Module"
        ):
            return
        parameters: dict[str, Any] = dict(self.model.named_parameters())
        trained = {n: p for n, p in parameters.items() if p.requires_grad}
        lazy = [n for n, p in parameters.items() if nn.parameter.is_lazy(p)]
        problems.check(not lazy, f"parameters {lazy} have no shape yet: run the model once on a batch first")
        problems.check(bool(trained), "the model has no parameter to train: give one with requires_grad=True")
        kinds = {str(p.dtype) for p in trained.values()}
        problems.check(
            len(kinds) <= 1 and all(p.dtype in FLOATS for p in trained.values()),
            f"the parameters have dtypes {sorted(kinds)}: make them all float32 or all float64 "
            "(model.float() or model.double())",
        )
        meta = [n for n, t in (*parameters.items(), *self.model.named_buffers()) if t.is_meta]
        problems.check(not meta, f"{meta} are on the meta device and hold no values: build the model on the CPU")
        broken = [n for n, p in trained.items() if n not in lazy + meta and not bool(torch.isfinite(p).all())]
        problems.check(not broken, f"parameters {broken} hold NaN or Inf: initialise the model again")

    @property
    def d(self) -> int:
        """Number of trained parameters."""
        return self.layout.size

    def initial(self) -> tuple[Tensor, Tensor]:
        """The model's present parameters `(d,)` and buffers `(b,)`, as new flat vectors of the task's dtype."""
        trained = {n: p.detach() for n, p in self.model.named_parameters() if p.requires_grad}
        return self.layout.pack(trained).clone(), packed(self.model, self.buffer_layout, self.dtype)

    def bind(self, device: torch.device | str = "cpu") -> Bound:
        """A copy of the model bound to flat vectors (see `Bound`)."""
        module = copy.deepcopy(self.model).to(device)
        x0, b0 = self.initial()
        x, b = x0.to(device), b0.to(device)
        g = torch.zeros_like(x)
        trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
        values, gradients = self.layout.unpack(x), self.layout.unpack(g)
        for name, parameter in trained.items():
            parameter.data, parameter.grad = values[name], gradients[name]
        buffers = Buffers(module, self.buffer_layout, self.moving)
        return Bound(module, x, g, b, partial(buffers.push, b), partial(buffers.pull, b))

    def gradient(self, x: Tensor, b: Tensor, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and flat gradient of one client at `x` (d,); `b` (b,) stays as it is; functional, so it can be vmapped.

        The model is in the mode, training or evaluation, in which the task's model was left.

        Returns:
            The loss, a scalar, and the gradient (d,).
        """

        def value(flat: Tensor) -> Tensor:
            # Copies, and made in here, since BatchNorm in training writes to its buffers.
            buffers = {n: buffer.clone() for n, buffer in self.model.named_buffers() if n not in self.buffer_layout}
            named = {**self.layout.unpack(flat), **buffers, **self.buffer_layout.unpack(b.clone())}
            return self.loss(functional_call(self.model, named, (inputs,)), target)

        g, loss = grad_and_value(value)(x)
        return loss, g

    def install(self, x: Tensor, b: Tensor) -> nn.Module:
        """A copy of the model with parameters `x` (d,) and buffers `b` (b,), in evaluation mode."""
        bound = self.bind()
        bound.x.copy_(x)
        bound.b.copy_(b)
        bound.push()
        return bound.module.eval()

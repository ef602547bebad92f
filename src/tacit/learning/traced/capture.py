"""Capture: loss, gradient and buffer updates of one batch as a flat graph of ATen operations, through `make_fx`."""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from tacit.learning.task import Task
from tacit.learning.traced.operators import is_random, roots, written

aten = torch.ops.aten


class Untraceable(Exception):
    """The model, or the loss, cannot be turned into a graph. The message says why."""


@dataclass(frozen=True)
class Capture:
    """A captured step.

    Attributes:
        module: holds the graph and the constant tensors that it reads.
        params, buffers, x, y: its inputs.
    """

    module: GraphModule
    params: list[Node]
    buffers: list[Node]
    x: Node
    y: Node

    @property
    def output(self) -> Node:
        """The last node: the loss, then one gradient for each parameter (None where the loss does not depend on it)."""
        last: Node = next(reversed(self.module.graph.nodes))
        return last

    @property
    def results(self) -> list[Node | None]:
        """What the output returns."""
        return list(self.output.args[0])  # type: ignore[arg-type]

    @property
    def writes(self) -> set[int]:
        """Numbers of the buffers that the step writes to."""
        nodes = {r for node in self.module.graph.nodes for w in written(node) for r in roots(w)}
        return {i for i, buffer in enumerate(self.buffers) if buffer in nodes}

    @property
    def draws(self) -> bool:
        """Whether the step draws random numbers."""
        return any(is_random(node) for node in self.module.graph.nodes)

    def same_as(self, other: Capture) -> bool:
        """Whether both are the same operations on the same constants."""
        mine, theirs = (c._constants() for c in (self, other))
        return str(self.module.graph) == str(other.module.graph) and all(map(torch.equal, mine, theirs))

    def _constants(self) -> list[Tensor]:
        names = [str(n.target) for n in self.module.graph.nodes if n.op == "get_attr"]
        return [operator.attrgetter(name)(self.module) for name in names]


class Tracer:
    """Captures the gradient step of one task.

    Args:
        task: the model is copied and put into training mode.
    """

    def __init__(self, task: Task) -> None:
        self.loss = task.loss
        self.model = copy.deepcopy(task.model).train()
        self.params = task.layout.names
        self.buffers = tuple(name for name, _ in task.model.named_buffers())

    def capture(self, params: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, y: Tensor) -> Capture:
        """The graph for batches of the shape and layout of `x` and `y`.

        Raises:
            Untraceable: an operation's result would steer Python, or has a shape that depends on the data.
        """
        inputs = [p.detach().clone().requires_grad_() for p in params]
        state = [b.detach().clone() for b in buffers]
        with torch.random.fork_rng(devices=[]), torch.inference_mode(False), torch.enable_grad():
            module = make_fx(self._step)(*inputs, *state, x.clone(), y.clone())
        return _read(module, len(inputs), len(state))

    def _step(self, *inputs: Tensor) -> list[Tensor | None]:
        params, buffers, (x, y) = self._split(inputs)
        named = {**dict(zip(self.params, params, strict=True)), **dict(zip(self.buffers, buffers, strict=True))}
        loss = self.loss(functional_call(self.model, named, (x,)), y)
        for name, before in zip(self.buffers, buffers, strict=True):
            # A module may assign a new tensor to its buffer instead of writing into it.
            if named[name] is not before:
                before.copy_(named[name].detach())
        return [loss, *torch.autograd.grad(loss, params, allow_unused=True)]

    def _split(self, inputs: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], tuple[Tensor, ...]]:
        cut = len(self.params)
        return inputs[:cut], inputs[cut:-2], inputs[-2:]


def _read(module: GraphModule, params: int, buffers: int) -> Capture:
    for node in module.graph.nodes:
        _refuse(node)
    inputs = [n for n in module.graph.nodes if n.op == "placeholder"]
    return Capture(module, inputs[:params], inputs[params:-2], *inputs[-2:])


def _refuse(node: Node) -> None:
    if node.op in ("placeholder", "output", "get_attr") or node.target is operator.getitem:
        return
    if not isinstance(node.target, torch._ops.OpOverload):
        raise Untraceable(f"it calls {node.target}, which is not an ATen operation")
    tags = node.target.tags
    if torch.Tag.data_dependent_output in tags:
        raise Untraceable(f"{node.target} takes a value out of a tensor")
    if torch.Tag.dynamic_output_shape in tags and not _has_fixed_shape(node):
        raise Untraceable(f"the shape of what {node.target} returns depends on the data")
    for argument in written(node):
        if argument.op == "get_attr":
            raise Untraceable(f"{node.target} writes to a tensor of the model that is not a registered buffer")


def _has_fixed_shape(node: Node) -> bool:
    """Indexing with integers has a fixed shape; with a mask it has not."""
    if node.target is not aten.index.Tensor:
        return False
    indices: Any = node.args[1]
    return all(i is None or i.meta["val"].dtype not in (torch.bool, torch.uint8) for i in indices)

"""Which tasks the fused engine can run: a model is traced, and must turn out to be a plain chain of dense layers."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import fx, nn

from tacit.learning.fused.chain import Activation, Chain, Dense, Refused
from tacit.learning.fused.criteria import criterion_of
from tacit.learning.task import Task

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
ROOT = "0."
Step = tuple[Activation, float, float]

GELUS = {"none": Activation.GELU, "tanh": Activation.GELU_TANH}
MODULES: dict[type[nn.Module], Callable[[Any], Step]] = {
    nn.Identity: lambda m: (Activation.IDENTITY, 0.0, 0.0),
    nn.ReLU: lambda m: (Activation.RELU, 0.0, 0.0),
    nn.LeakyReLU: lambda m: (Activation.LEAKY_RELU, m.negative_slope, 0.0),
    nn.Tanh: lambda m: (Activation.TANH, 0.0, 0.0),
    nn.Sigmoid: lambda m: (Activation.SIGMOID, 0.0, 0.0),
    nn.GELU: lambda m: (GELUS[m.approximate], 0.0, 0.0),
    nn.SiLU: lambda m: (Activation.SILU, 0.0, 0.0),
    nn.ELU: lambda m: (Activation.ELU, m.alpha, 0.0),
    nn.Softplus: lambda m: (Activation.SOFTPLUS, m.beta, m.threshold),
}
POINTWISE: dict[Any, Activation] = {
    **dict.fromkeys((torch.relu, torch.relu_, F.relu, F.relu_, "relu", "relu_"), Activation.RELU),
    **dict.fromkeys((torch.tanh, F.tanh, "tanh", "tanh_"), Activation.TANH),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid", "sigmoid_"), Activation.SIGMOID),
    **dict.fromkeys((F.silu,), Activation.SILU),
}
FLATTEN, RESHAPE, SQUEEZE = (torch.flatten, "flatten"), (torch.reshape, "reshape", "view"), (torch.squeeze, "squeeze")


def _option(node: fx.Node, place: int, name: str, default: Any) -> Any:
    """An argument of a call, by position or name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _function(node: fx.Node) -> Step | None:
    """The activation that a function or method call stands for."""
    target = node.target
    if target in POINTWISE:
        return POINTWISE[target], 0.0, 0.0
    if target is F.gelu:
        return GELUS[_option(node, 1, "approximate", "none")], 0.0, 0.0
    if target is F.leaky_relu:
        return Activation.LEAKY_RELU, _option(node, 1, "negative_slope", 0.01), 0.0
    if target is F.elu:
        return Activation.ELU, _option(node, 1, "alpha", 1.0), 0.0
    if target is F.softplus:
        return Activation.SOFTPLUS, _option(node, 1, "beta", 1.0), _option(node, 2, "threshold", 20.0)
    if target is F.dropout:
        off = _option(node, 1, "p", 0.5) == 0 or not _option(node, 2, "training", True)
        return (Activation.IDENTITY, 0.0, 0.0) if off else None
    return None


@dataclass
class _Reader:
    """Reads a traced graph from its input to its output, as long as it is a chain."""

    modules: dict[str, nn.Module]
    layers: list[Dense] = field(default_factory=list)
    flattened: bool = False
    squeezed: bool = False
    current: fx.Node | None = None
    sizes: dict[fx.Node, bool] = field(default_factory=dict)
    """Nodes that hold shapes, and whether they are the batch's length alone."""

    def read(self, graph: fx.Graph) -> None:
        for node in graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "output":
                if node.args[0] is not self.current:
                    raise Refused("the model returns something else than its last layer's output")
            elif not self._size(node):
                source = node.args[0] if node.args else node.kwargs.get("input")
                if source is not self.current:
                    raise Refused(f"the model is not a plain chain at {node.name!r}")
                self._operation(node)
                self.current = node

    def _placeholder(self, node: fx.Node) -> None:
        if self.current is None:
            self.current = node
        elif node.users:
            raise Refused(f"the model takes a second input, {node.name!r}")

    def _size(self, node: fx.Node) -> bool:
        """Whether `node` only asks for a shape."""
        first = node.args[0] if node.args else None
        if node.op == "call_method" and node.target == "size":
            self.sizes[node] = _option(node, 1, "dim", None) == 0
        elif node.op == "call_function" and node.target is getattr and node.args[1] == "shape":
            self.sizes[node] = False
        elif node.op == "call_function" and node.target is operator.getitem and first in self.sizes:
            self.sizes[node] = bool(node.args[1] == 0)
        elif node.op == "call_function" and node.target is len:
            self.sizes[node] = True
        else:
            return False
        return True

    def _operation(self, node: fx.Node) -> None:
        if self.squeezed:
            raise Refused(f"{node.name!r} follows the output's squeeze")
        if node.op == "call_module":
            self._module(str(node.target))
        elif node.target in FLATTEN:
            self._flatten(_option(node, 1, "start_dim", 0), _option(node, 2, "end_dim", -1))
        elif node.target in RESHAPE:
            self._reshape(node)
        elif node.target in SQUEEZE:
            self._squeeze(_option(node, 1, "dim", None) in (None, 1, -1))
        elif node.op in ("call_function", "call_method") and (step := _function(node)):
            self._activate(step, node.name)
        else:
            raise Refused(f"the model calls {node.target!r}, which the fused kernel does not know")

    def _module(self, path: str) -> None:
        module, name = self.modules[path], path.removeprefix(ROOT)
        if type(module) is nn.Linear:
            weight, bias = (f"{path}.{part}".removeprefix(ROOT) for part in ("weight", "bias"))
            width = module.in_features, module.out_features
            self.layers.append(Dense(*width, weight, bias if "bias" in dict(module.named_parameters()) else None))
        elif type(module) is nn.Flatten:
            self._flatten(module.start_dim, module.end_dim)
        elif type(module) in MODULES:
            self._activate(MODULES[type(module)](module), name)
        elif not (type(module) is nn.Dropout and module.p == 0):
            raise Refused(f"layer {name!r} is {module}, which the fused kernel does not know")

    def _activate(self, step: Step, name: str) -> None:
        if step[0] is Activation.IDENTITY:
            return
        if not self.layers or self.layers[-1].activation is not Activation.IDENTITY:
            raise Refused(f"activation {name!r} does not follow a Linear layer")
        self.layers[-1] = replace(self.layers[-1], activation=step[0], p=float(step[1]), q=float(step[2]))

    def _flatten(self, start: Any, end: Any) -> None:
        if start == 1 and end == -1:
            self.flattened = self.flattened or not self.layers
        else:
            self._squeeze(start == 0 and end == -1)

    def _reshape(self, node: fx.Node) -> None:
        shape: tuple[Any, ...] = node.args[1:]
        if len(shape) == 1 and isinstance(shape[0], tuple | list):
            shape = tuple(shape[0])
        if shape == (-1,):
            self._squeeze(True)
        elif len(shape) == 2 and not self.layers and (self.sizes.get(shape[0]) or (shape[0] == -1 != shape[1])):
            self.flattened = True  # to (len(x), -1) or (-1, inputs); the examples' width is checked before each run
        else:
            raise Refused(f"the model reshapes in a way the fused kernel does not know, at {node.name!r}")

    def _squeeze(self, known: bool) -> None:
        if not known or not self.layers or self.layers[-1].outputs != 1:
            raise Refused("the model reshapes in a way the fused kernel does not know")
        self.squeezed = True


def _check_parts(task: Task) -> None:
    """Refuses what a trace would not show."""
    if buffers := [name for name, _ in task.model.named_buffers()]:
        raise Refused(f"the model has buffers ({', '.join(buffers[:3])})")
    for name, module in task.model.named_modules():
        if any(getattr(module, hooks, None) for hooks in HOOKS):
            raise Refused(f"module {name!r} has hooks")
        if "forward" in vars(module):
            raise Refused(f"module {name!r} has a forward of its own instance")
    for name, parameter in task.model.named_parameters():
        if not parameter.requires_grad:
            raise Refused(f"parameter {name!r} is frozen")
        if any(getattr(parameter, hooks, None) for hooks in PARAMETER_HOOKS):
            raise Refused(f"parameter {name!r} has hooks")


def _check_parameters(task: Task, layers: list[Dense]) -> None:
    """Every trained parameter belongs to exactly one layer."""
    used = [name for layer in layers for name in (layer.weight, layer.bias) if name is not None]
    if len(set(used)) < len(used):
        raise Refused("a Linear layer is used twice")
    if missing := set(used) - set(task.layout.names):
        raise Refused(f"parameters {sorted(missing)} are tied to others")
    if unused := set(task.layout.names) - set(used):
        raise Refused(f"parameters {sorted(unused)} belong to no Linear layer of the chain")
    for before, after in pairwise(layers):
        if before.outputs != after.inputs:
            raise Refused(f"layer {after.weight!r} takes {after.inputs} inputs after {before.outputs} outputs")


def _recognise(task: Task) -> Chain:
    _check_parts(task)
    # One more level makes a model that is a single torch.nn layer a leaf of the trace, as any other layer is.
    root = nn.Sequential(copy.deepcopy(task.model)).train()
    tracer = fx.Tracer()
    try:
        graph = tracer.trace(root)
    except Exception as error:  # a user's forward may raise anything when it meets a proxy
        raise Refused(f"the model cannot be traced ({type(error).__name__}: {error})") from error
    reader = _Reader(dict(root.named_modules()))
    reader.read(graph)
    if not reader.layers:
        raise Refused("the model has no Linear layer")
    _check_parameters(task, reader.layers)
    criterion, delta = criterion_of(task.loss)
    return Chain(tuple(reader.layers), reader.flattened, reader.squeezed, criterion, delta)


_known: WeakKeyDictionary[Task, Chain | str] = WeakKeyDictionary()


def recognise(task: Task) -> Chain:
    """The chain that `task` is. Traced once per task, because tracing patches torch for the whole process.

    Raises:
        Refused: the task is something else; the message says what.
    """
    if task not in _known:
        try:
            _known[task] = _recognise(task)
        except Refused as refused:
            _known[task] = str(refused)
    found = _known[task]
    if isinstance(found, str):
        raise Refused(found)
    return found

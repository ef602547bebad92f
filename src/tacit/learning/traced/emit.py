"""From a graph to one flat Python function: what never changes is computed once, the rest are direct ATen calls."""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.fx import GraphModule, Node

from tacit.learning.traced.operators import aliased, is_call, is_random, is_view, roots, written
from tacit.learning.traced.passes import value

Step = Callable[..., torch.Tensor]
aten = torch.ops.aten
INTO: dict[Any, Callable[..., Any]] = {
    aten.mm.default: torch.mm,
    aten.addmm.default: torch.addmm,
    aten.sub.Tensor: torch.sub,
    aten.add.Tensor: torch.add,
}
"""Operations that can write their result to a given place."""
SMALL = 2**16
"""Most bytes of a result that is kept for all steps: larger ones had better use memory that is still in the cache."""
PLAIN_LITERALS = (bool, int, type(None))


@contextmanager
def running() -> Iterator[None]:
    """The mode in which steps are built and run: nothing is recorded, but operations know that a backward pass follows.

    oneDNN's LSTM keeps what its backward pass needs only while gradients are enabled.
    """
    with torch.inference_mode(), torch.enable_grad():
        yield


def emit(module: GraphModule, fixed: Mapping[Node, torch.Tensor], sample: Mapping[Node, Any]) -> Step:
    """Builds the function of a graph, running it once on the way.

    Args:
        module: the graph, and its constants.
        fixed: tensors that every step finds at the same place (parameters, buffers); views of them are made once.
        sample: values of the other inputs, in the order in which the function will take them.
    """
    with torch.random.fork_rng(devices=[]), running():
        return _Emitter(module, fixed, sample).build()


class _Emitter:
    def __init__(self, module: GraphModule, fixed: Mapping[Node, torch.Tensor], sample: Mapping[Node, Any]) -> None:
        self.module, self.fixed, self.inputs = module, fixed, list(sample)
        self.nodes = list(module.graph.nodes)
        self.values: dict[Node, Any] = {**fixed, **sample}
        self.names: dict[Node, str] = {n: f"i{k}" for k, n in enumerate(self.inputs)}
        self.cells: dict[str, Any] = {}
        self.lines: list[str] = []
        self.changed = {r for n in self.nodes for t in written(n) for r in roots(t)}
        self.constant: set[Node] = set()
        self.anchored: set[Node] = set(fixed)
        self.kept = self._keepable()
        self._classify()
        place = {n: k for k, n in enumerate(self.nodes)}
        self.last = {n: max(n.users, key=place.__getitem__) for n in self.nodes if n.users and n not in self.anchored}

    def _classify(self) -> None:
        """Constants have the same value in every step; anchored nodes (constants, views of fixed) the same place.

        Kept nodes, and what is written into them, are anchored too, but computed in every step.
        """
        for node in self.nodes:
            inputs = node.all_input_nodes
            pure = node.op == "get_attr" or node.target is operator.getitem or (is_call(node) and not written(node))
            if pure and not is_random(node) and not self.changed & {node} and self.constant.issuperset(inputs):
                self.constant.add(node)
            looks = is_view(node) or node.target is operator.getitem
            if node in self.constant or node in self.kept or (looks and self.anchored.issuperset(inputs)):
                self.anchored.add(node)
            elif is_call(node) and (base := written(node)) == aliased(node) and self.kept.issuperset(base) and base:
                self.anchored.add(node)
                self.kept.add(node)

    def _keepable(self) -> set[Node]:
        """Small results that get memory of their own, once for all steps: views of them are then made once as well."""
        returned = {r for n in self.nodes if n.op == "output" for a in n.all_input_nodes for r in roots(a)}
        small = (n for n in self.nodes if n.target in INTO and n not in returned)
        return {n for n in small if (v := value(n)).is_contiguous() and v.nbytes <= SMALL}

    def build(self) -> Step:
        for node in self.nodes:
            if node.op == "get_attr":
                self._keep(node, operator.attrgetter(str(node.target))(self.module))
            elif node in self.fixed:
                self._keep(node, self.fixed[node])
            elif node.op == "output":
                self.lines.append(f"return {self._text(node.args[0])}")
            elif node.op != "placeholder":
                self._call(node)
        return self._compile()

    def _keep(self, node: Node, value: Any) -> None:
        self.values[node] = value
        self.names[node] = self._cell(value)

    def _cell(self, value: Any) -> str:
        name = f"c{len(self.cells)}"
        self.cells[name] = value
        return name

    def _call(self, node: Node) -> None:
        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), self.values.__getitem__)
        if node in self.kept:
            self._call_into(node, args, kwargs)
            return
        if node in self.anchored:
            self._keep(node, node.target(*args, **kwargs))  # type: ignore[operator]
            return
        function, self.values[node] = _quickest(node, args, kwargs)
        self.names[node] = f"v{len(self.names)}"
        target = f"{self.names[node]} = " if node.users else ""
        self.lines.append(target + self._expression(node, function))
        gone = [self.names[n] for n in node.all_input_nodes if self.last.get(n) is node and n not in self.inputs]
        if gone:
            self.lines.append(" = ".join(gone) + " = None")

    def _call_into(self, node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A call whose result lies at the same place in every step."""
        if written(node):  # into a place that is there already
            (base,) = written(node)
            function, _ = _quickest(node, args, kwargs)
            self.values[node], self.names[node] = self.values[base], self.names[base]
            self.lines.append(self._expression(node, function))
            return
        self._keep(node, node.target(*args, **kwargs))  # type: ignore[operator]
        texts = [self._text(a) for a in node.args] + [f"{key}={self._text(a)}" for key, a in node.kwargs.items()]
        self.lines.append(f"{self._cell(INTO[node.target])}({', '.join(texts)}, out={self.names[node]})")

    def _expression(self, node: Node, function: Callable[..., Any]) -> str:
        texts = [self._text(a) for a in node.args]
        if node.target is operator.getitem:
            return f"{texts[0]}[{texts[1]}]"
        texts += [f"{key}={self._text(a)}" for key, a in node.kwargs.items()]
        return f"{self._cell(function)}({', '.join(texts)})"

    def _text(self, argument: Any) -> str:
        if isinstance(argument, Node):
            return self.names[argument]
        if type(argument) in PLAIN_LITERALS:
            return repr(argument)
        if isinstance(argument, (list, tuple)) and any(isinstance(a, Node) for a in argument):
            return "[" + ", ".join(self._text(a) for a in argument) + "]"
        return self._cell(argument)

    def _compile(self) -> Step:
        head = (
            f"def make({', '.join(self.cells)}):\n def step({', '.join(f'i{k}' for k in range(len(self.inputs)))}):\n"
        )
        source = head + "".join(f"  {line}\n" for line in self.lines) + " return step\n"
        space: dict[str, Any] = {}
        # The text consists of names made here, integers, and nothing that comes from a user or a file.
        exec(compile(source, "<traced step>", "exec"), space)
        step: Step = space["make"](**self.cells)
        return step


def _quickest(node: Node, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Callable[..., Any], Any]:
    """The quickest callable for an operation, and its result.

    The Python binding is called faster than the operation. It is taken only where it gives the same: some have other
    defaults.
    """
    target: Any = node.target
    if not is_call(node) or is_random(node):
        return getattr(target, "_op", target), target(*args, **kwargs)
    changes = bool(written(node))
    truth = None if changes else target(*args, **kwargs)
    for function in _bindings(target):
        try:
            found = function(*args, **kwargs)
        except (TypeError, RuntimeError):
            continue
        if changes or _equal(found, truth):
            return function, found
    return getattr(target, "_op", target), target(*args, **kwargs) if changes else truth


def _equal(a: Any, b: Any) -> bool:
    if isinstance(b, (list, tuple)):
        return isinstance(a, (list, tuple)) and len(a) == len(b) and all(map(_equal, a, b))
    if not isinstance(a, torch.Tensor):
        return bool(a == b)
    same = a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride()
    return same and torch.equal(a.nan_to_num(), b.nan_to_num())


def _bindings(target: Any) -> list[Callable[..., Any]]:
    name = target._schema.name.split("::")[1]
    homes = [torch.Tensor] if name.endswith("_") else [torch._C._VariableFunctions, torch._C._nn, torch.Tensor]
    found = [getattr(home, name, None) for home in homes if target.namespace == "aten"]
    native = (types.BuiltinFunctionType, types.MethodDescriptorType)
    return [f for f in found if isinstance(f, native)]

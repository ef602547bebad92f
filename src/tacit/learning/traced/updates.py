"""The end of a step: what happens to the gradients. Fused into the parameters for plain SGD, else gathered flat."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from enum import Enum

import torch
from torch.fx import Graph, Node

from tacit.learning.traced.capture import Capture
from tacit.learning.traced.operators import is_view, roots
from tacit.learning.traced.passes import insert, shape, share_views, sweep, value
from tacit.learning.traced.timeline import Timeline

aten = torch.ops.aten


class Ending(Enum):
    """How a step ends.

    PLAIN: `y <- y - lr g`, each parameter as soon as nothing reads it any more.
    SHIFTED: `y <- a y + c` for constants a and c, then `y <- y - lr g`: SGD with weight decay, a proximal term or an
        offset, whose gradient `g + wd y + mu (y - x) + offset` is affine in y.
    GATHERED: the gradients are written into one flat vector, and the solver takes it from there.
    """

    PLAIN = "plain"
    SHIFTED = "shifted"
    GATHERED = "gathered"


@dataclass(frozen=True)
class Inputs:
    """The inputs that an ending adds: the negative learning rate, the shift, or one place for each gradient."""

    rate: Node | None = None
    shift: Node | None = None
    places: tuple[Node, ...] = ()


def finish(capture: Capture, ending: Ending) -> Inputs:
    """Adds the ending to the graph, which afterwards returns the loss alone."""
    inputs = _inputs(capture, ending)
    graph, (loss, *grads) = capture.module.graph, capture.results
    ends = _Ends(capture, ending, inputs)
    if inputs.shift is not None:
        with graph.inserting_before(capture.output):
            graph.call_function(operator.call, (inputs.shift,))
    for index, grad in enumerate(grads):
        ends.end(index, grad)
    capture.output.args = (loss,)
    sweep(graph)
    share_views(graph)
    return inputs


def _inputs(capture: Capture, ending: Ending) -> Inputs:
    graph = capture.module.graph
    with graph.inserting_after(capture.y):
        if ending is Ending.GATHERED:
            places = [graph.placeholder(f"place_{i}") for i in range(len(capture.params))]
            for place, param in zip(places, capture.params, strict=True):
                place.meta["val"] = param.meta["val"]
            return Inputs(places=tuple(places))
        shift = graph.placeholder("shift") if ending is Ending.SHIFTED else None
        return Inputs(rate=graph.placeholder("rate"), shift=shift)


class _Ends:
    """Puts one parameter's gradient to its use."""

    def __init__(self, capture: Capture, ending: Ending, inputs: Inputs) -> None:
        self.graph: Graph = capture.module.graph
        self.capture, self.ending, self.inputs = capture, ending, inputs
        self.timeline = Timeline(self.graph)
        self.counts = [capture.results.count(g) for g in capture.results]
        self.readers = self._readers()

    def _readers(self) -> dict[Node, Node]:
        """The last node that reads each parameter."""
        last: dict[Node, Node] = {}
        for node in self.graph.nodes:
            for root in {r for n in node.all_input_nodes for r in roots(n)}:
                if node.op != "output":
                    last[root] = node
        return last

    def end(self, index: int, grad: Node | None) -> None:
        gathered = self.ending is Ending.GATHERED
        if grad is None:
            if gathered:
                with self.graph.inserting_before(self.capture.output):
                    self.graph.call_function(aten.zero_.default, (self.inputs.places[index],))
            return
        if roots(grad) & set(self.capture.params):
            with self.graph.inserting_after(grad):
                grad = insert(self.graph, grad, aten.clone.default, grad)
        with self._where(index, grad):
            (self._gather if gathered else self._update)(index, grad)

    def _where(self, index: int, grad: Node):  # type: ignore[no-untyped-def]
        if self.ending is Ending.SHIFTED:
            return self.graph.inserting_before(self.capture.output)
        places = {node: i for i, node in enumerate(self.graph.nodes)}
        reader = self.readers.get(self.capture.params[index], grad)
        after = max((grad, reader), key=lambda n: places[n])
        following = after.next
        while following.op == "placeholder":
            following = following.next
        return self.graph.inserting_before(following)

    def _update(self, index: int, grad: Node) -> None:
        param, rate = self.capture.params[index], self.inputs.rate
        product, column = self._product(index, grad), self._column_sum(index, grad)
        if product is not None:
            insert(self.graph, param, aten.addmm_.default, param, *product, alpha=rate)
        elif column is not None:
            ones = self.graph.call_function(aten.full.default, ([shape(column)[0]], 1.0), {"dtype": value(column).dtype})
            turned = self.graph.call_function(aten.t.default, (column,))
            insert(self.graph, param, aten.addmv_.default, param, turned, ones, alpha=rate)
        else:
            insert(self.graph, param, aten.add_.Tensor, param, grad, alpha=rate)

    def _gather(self, index: int, grad: Node) -> None:
        place = self.inputs.places[index]
        product, column = self._product(index, grad), self._column_sum(index, grad)
        if product is not None:
            insert(self.graph, place, aten.mm.out, *product, out=place)
        elif column is not None:
            insert(self.graph, place, aten.sum.IntList_out, column, [0], out=place)
        else:
            insert(self.graph, place, aten.copy_.default, place, grad)

    def _product(self, index: int, grad: Node) -> tuple[Node, Node] | None:
        """a and b where the gradient is `a b`, computed for nothing else, and both still stand when it is wanted."""
        if grad.target is not aten.mm.default or len(grad.users) > 1 or self.counts[index + 1] > 1:
            return None
        a, b = grad.args
        return (a, b) if self._stands((a, b), grad) else None  # type: ignore[arg-type, return-value]

    def _stands(self, nodes: tuple[Node, ...], since: Node) -> bool:
        """Whether the nodes can be read at the end as well as at `since`: neither overwritten nor parameters."""
        found = {root for node in nodes for root in roots(node)}
        return not found & set(self.capture.params) and self.timeline.steady(nodes, since)

    def _column_sum(self, index: int, grad: Node) -> Node | None:
        """A matrix whose columns add up to the gradient of a bias."""
        node = grad
        while is_view(node):
            node = node.args[0]  # type: ignore[assignment]
        if node.target is not aten.sum.dim_IntList or len(node.args) < 2 or node.kwargs:
            return None
        source: Node = node.args[0]  # type: ignore[assignment]
        axes = sorted(a % len(shape(source)) for a in node.args[1])  # type: ignore[union-attr, operator]
        wanted = shape(self.capture.params[index]) == shape(source)[-1:] and axes == list(range(len(shape(source)) - 1))
        if not wanted or not axes or not self._stands((source,), node) or not value(source).is_contiguous():
            return None
        if len(axes) == 1:
            return source
        flat = value(source).view(-1, shape(source)[-1])
        matrix = self.graph.call_function(aten.view.default, (source, list(flat.shape)))
        matrix.meta["val"] = flat
        return matrix

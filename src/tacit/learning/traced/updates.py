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
    SHIFTED: `y <- a y - lr g`, then `y <- y + c`, for constants a and c: SGD with weight decay, a proximal term or an
        offset, whose gradient `g + wd y + mu (y - x) + offset` is affine in y.
    GATHERED: the gradients are written into one flat vector, and the solver takes it from there.
    """

    PLAIN = "plain"
    SHIFTED = "shifted"
    GATHERED = "gathered"


@dataclass(frozen=True)
class Inputs:
    """The inputs that an ending adds.

    Attributes:
        rate: the negative learning rate.
        keep: a, the share of the parameters that a shifted step keeps.
        shift: a function that adds c to all parameters.
        places: where each gradient is gathered.
    """

    rate: Node | None = None
    keep: Node | None = None
    shift: Node | None = None
    places: tuple[Node, ...] = ()


def finish(capture: Capture, ending: Ending) -> Inputs:
    """Adds the ending to the graph, which afterwards returns the loss alone."""
    inputs = _inputs(capture, ending)
    graph, (loss, *grads) = capture.module.graph, capture.results
    ends = _Ends(capture, inputs)
    for index, grad in enumerate(grads):
        if grad is None:
            ends.without(index)
        else:
            ends.end(index, grad)
    if inputs.shift is not None:
        with graph.inserting_before(capture.output):
            graph.call_function(operator.call, (inputs.shift,))
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
        if ending is Ending.PLAIN:
            return Inputs(graph.placeholder("rate"))
        return Inputs(graph.placeholder("rate"), graph.placeholder("keep"), graph.placeholder("shift"))


class _Ends:
    """Puts one parameter's gradient to its use."""

    def __init__(self, capture: Capture, inputs: Inputs) -> None:
        self.graph: Graph = capture.module.graph
        self.capture, self.inputs = capture, inputs
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

    def without(self, index: int) -> None:
        """Ends a parameter on which the loss does not depend."""
        with self.graph.inserting_before(self.capture.output):
            if self.inputs.places:
                self.graph.call_function(aten.zero_.default, (self.inputs.places[index],))
            else:
                self._keep(self.capture.params[index])

    def end(self, index: int, grad: Node) -> None:
        """Ends a parameter: gathers its gradient where it is computed, or updates it once nothing reads it any more."""
        after = grad
        if not self.inputs.places:
            reader = self.readers.get(self.capture.params[index], grad)
            after = max((grad, reader), key=self.timeline.place.__getitem__)
        product, matrix = self._product(index, grad, after), self._summed(index, grad, after)
        following = after.next
        while following.op == "placeholder":
            following = following.next
        with self.graph.inserting_before(following):
            if roots(grad) & set(self.capture.params):
                grad = insert(self.graph, grad, aten.clone.default, grad)
            (self._gather if self.inputs.places else self._update)(index, grad, product, matrix)

    def _keep(self, param: Node) -> None:
        if self.inputs.keep is not None:
            insert(self.graph, param, aten.mul_.Scalar, param, self.inputs.keep)

    def _update(self, index: int, grad: Node, product: list[Node] | None, matrix: Node | None) -> None:
        param, scales = self.capture.params[index], {"alpha": self.inputs.rate}
        if self.inputs.keep is not None:
            scales["beta"] = self.inputs.keep
        if product is not None:
            insert(self.graph, param, aten.addmm_.default, param, *product, **scales)
        elif matrix is not None:
            flat = self._flattened(matrix)
            ones = self.graph.call_function(aten.full.default, ([shape(flat)[0]], 1.0), {"dtype": value(flat).dtype})
            turned = self.graph.call_function(aten.t.default, (flat,))
            insert(self.graph, param, aten.addmv_.default, param, turned, ones, **scales)
        else:
            self._keep(param)
            insert(self.graph, param, aten.add_.Tensor, param, grad, alpha=self.inputs.rate)

    def _gather(self, index: int, grad: Node, product: list[Node] | None, matrix: Node | None) -> None:
        place = self.inputs.places[index]
        if product is not None:
            insert(self.graph, place, aten.mm.out, *product, out=place)
        elif matrix is not None:
            insert(self.graph, place, aten.sum.IntList_out, self._flattened(matrix), [0], out=place)
        else:
            insert(self.graph, place, aten.copy_.default, place, grad)

    def _flattened(self, matrix: Node) -> Node:
        """`matrix` with its leading axes joined."""
        if value(matrix).dim() == 2:
            return matrix
        flat = value(matrix).view(-1, shape(matrix)[-1])
        node = self.graph.call_function(aten.view.default, (matrix, list(flat.shape)))
        node.meta["val"] = flat
        return node

    def _stands(self, nodes: list[Node], since: Node, until: Node) -> bool:
        """Whether the nodes can be read at the end as well as at `since`: neither overwritten nor parameters."""
        found = {root for node in nodes for root in roots(node)}
        return not found & set(self.capture.params) and self.timeline.steady(nodes, since, until)

    def _product(self, index: int, grad: Node, after: Node) -> list[Node] | None:
        """a and b where the gradient is `a b`, computed for nothing else."""
        if grad.target is not aten.mm.default or len(grad.users) > 1 or self.counts[index + 1] > 1:
            return None
        operands: list[Node] = list(grad.args)  # type: ignore[arg-type]
        return operands if self._stands(operands, grad, after) else None

    def _summed(self, index: int, grad: Node, after: Node) -> Node | None:
        """What a bias's gradient is the sum of, over all axes but the last."""
        node = grad
        while is_view(node):
            node = node.args[0]  # type: ignore[assignment]
        if node.target is not aten.sum.dim_IntList or len(node.args) < 2 or node.kwargs:
            return None
        source: Node = node.args[0]  # type: ignore[assignment]
        axes = sorted(a % len(shape(source)) for a in node.args[1])  # type: ignore[union-attr, operator]
        wanted = shape(self.capture.params[index]) == shape(source)[-1:] and axes == list(range(len(shape(source)) - 1))
        fit = wanted and bool(axes) and value(source).is_contiguous()
        return source if fit and self._stands([source], node, after) else None

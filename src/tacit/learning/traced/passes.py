"""Rewrites of a captured graph that keep its results: fewer operations, fewer copies, fewer allocations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.fx import Graph, Node

from tacit.learning.traced.operators import aliased, is_call, is_random, is_view, written
from tacit.learning.traced.timeline import Timeline

aten = torch.ops.aten
NOTHING = (aten.detach.default, aten.alias.default)
RESHAPES = (aten.view.default, aten._unsafe_view.default, aten.expand.default)
MEAN = 1
"""`Reduction::Mean` of ATen."""
IN_PLACE = {
    aten.relu.default: aten.relu_.default,
    aten.sigmoid.default: aten.sigmoid_.default,
    aten.tanh.default: aten.tanh_.default,
    aten.add.Tensor: aten.add_.Tensor,
    aten.mul.Tensor: aten.mul_.Tensor,
    aten.div.Tensor: aten.div_.Tensor,
}


def simplify(graph: Graph) -> None:
    """Applies every rewrite of this module."""
    for node in graph.nodes:
        _drop(node, graph)
    sweep(graph)
    _squared_errors(graph)
    timeline = Timeline(graph)
    for node in list(graph.nodes):
        _bias_into_product(node, graph, timeline)
    sweep(graph)
    _reuse(graph)
    sweep(graph)


def share_views(graph: Graph) -> None:
    """Makes each view once."""
    seen: dict[object, Node] = {}
    for node in list(graph.nodes):
        if is_view(node) and not node.kwargs:
            key = (node.target, str(node.args))
            if key in seen:
                node.replace_all_uses_with(seen[key])
                graph.erase_node(node)
            else:
                seen[key] = node


def sweep(graph: Graph) -> None:
    """Removes what nothing uses; what writes to memory or draws random numbers stays."""
    graph.eliminate_dead_code(
        lambda n: (
            n.op in ("placeholder", "output")
            or not (is_call(n) or n.op == "get_attr" or aliased(n))
            or bool(written(n))
            or is_random(n)
        )
    )


def shape(node: Node) -> tuple[int, ...]:
    """Shape of the node's tensor."""
    return tuple(value(node).shape)


def value(node: Node) -> Tensor:
    """The node's tensor as it was seen in the capture: shape, dtype and strides, no data."""
    found: Tensor = node.meta["val"]
    return found


def insert(graph: Graph, like: Node, target: Callable[..., object], *args: object, **kwargs: object) -> Node:
    """A call whose result has the shape, dtype and strides of `like`'s."""
    node = graph.call_function(target, args, kwargs)  # type: ignore[arg-type]
    node.meta["val"] = like.meta["val"]
    return node


def _drop(node: Node, graph: Graph) -> None:
    if not is_call(node) or not node.args:
        return
    if node.target is aten.mse_loss.default and len(node.args) == 2:
        # The Python binding, quicker than the operation, has another default.
        node.args = (*node.args, MEAN)
    first = node.args[0]
    if node.target in NOTHING or (node.target in RESHAPES and shape(node) == shape(first)):  # type: ignore[arg-type]
        node.replace_all_uses_with(first)  # type: ignore[arg-type]
    elif node.target is aten.t.default and first.target is aten.t.default:  # type: ignore[union-attr]
        node.replace_all_uses_with(first.args[0])  # type: ignore[union-attr, arg-type]
    elif node.target is aten.ones_like.default:
        with graph.inserting_before(node):
            seen = value(node)
            ones = insert(graph, node, aten.full.default, list(seen.shape), 1.0, dtype=seen.dtype)
        node.replace_all_uses_with(ones)


def _squared_errors(graph: Graph) -> None:
    """A mean squared error and its gradient from one difference: `(e . e) / n` and `2 e / n`."""
    for node in list(graph.nodes):
        if node.target is not aten.mse_loss.default:
            continue
        output, target, kind = node.args
        gradients = [u for u in output.users if u.target is aten.mse_loss_backward.default and u.args[1:] == node.args]
        if kind != MEAN or len(gradients) != 1 or not _is_one(gradients[0].args[0]) or not _alike(output, target):
            continue
        n = value(output).numel()
        with graph.inserting_before(node):
            e = insert(graph, output, aten.sub.Tensor, output, target)
            flat = graph.call_function(aten.view.default, (e, [n]))
            flat.meta["val"] = value(e).view(n)
            square = insert(graph, node, aten.dot.default, flat, flat)
            node.replace_all_uses_with(insert(graph, node, aten.mul.Tensor, square, 1.0 / n))
        with graph.inserting_before(gradients[0]):
            gradients[0].replace_all_uses_with(insert(graph, output, aten.mul.Tensor, e, 2.0 / n))
    sweep(graph)


def _is_one(node: Node) -> bool:
    return node.target is aten.full.default and bool(node.args[1] == 1.0)


def _alike(one: Node, other: Node) -> bool:
    mine, theirs = value(one), value(other)
    return bool(mine.shape == theirs.shape and mine.dtype == theirs.dtype and mine.is_contiguous())


def _sole(node: object, target: object) -> bool:
    return isinstance(node, Node) and node.target is target and len(node.users) == 1


def _bias_into_product(node: Node, graph: Graph, timeline: Timeline) -> None:
    """`mm(a, b).view(...) + bias` of a Linear over three or more axes becomes `addmm(bias, a, b).view(...)`."""
    if node.target is not aten.add.Tensor or node.kwargs or not all(isinstance(a, Node) for a in node.args):
        return
    reshaped, bias = node.args
    if not _sole(reshaped, aten._unsafe_view.default) or not _sole(reshaped.args[0], aten.mm.default):  # type: ignore[union-attr]
        return
    product: Node = reshaped.args[0]  # type: ignore[union-attr, assignment]
    operands: list[Node] = list(product.args)  # type: ignore[arg-type]
    if shape(bias) != shape(product)[-1:] or not timeline.steady(operands, product, node):  # type: ignore[arg-type]
        return
    with graph.inserting_before(node):
        whole = insert(graph, product, aten.addmm.default, bias, *operands)
        view = insert(graph, node, aten.view.default, whole, list(shape(node)))
    timeline.stand_in(whole, node)
    timeline.stand_in(view, node)
    node.replace_all_uses_with(view)


def _reuse(graph: Graph) -> None:
    """Sums of products become one accumulating product; results replace an operand that nothing reads any more."""
    timeline = Timeline(graph)
    for node in list(graph.nodes):
        new = _accumulated(node, graph, timeline) or _in_place(node, graph, timeline)
        if new is not None:
            timeline.stand_in(new, node)
            node.replace_all_uses_with(new)
            graph.erase_node(node)


def _accumulated(node: Node, graph: Graph, timeline: Timeline) -> Node | None:
    """`u + mm(a, b)` as `addmm(u, a, b)`."""
    if node.target is not aten.add.Tensor or node.kwargs or not all(isinstance(a, Node) for a in node.args):
        return None
    first, second = node.args
    pairs = [(u, p) for u, p in ((first, second), (second, first)) if _sole(p, aten.mm.default) and u is not p]
    for u, product in sorted(pairs, key=lambda pair: not timeline.ends_at(pair[0], node)):
        operands: list[Node] = list(product.args)  # type: ignore[union-attr, arg-type]
        if shape(u) != shape(product) or not timeline.steady(operands, product, node):  # type: ignore[arg-type]
            continue
        reuse = timeline.ends_at(u, node) and _fits(u, node)
        with graph.inserting_before(node):
            return insert(graph, node, aten.addmm_.default if reuse else aten.addmm.default, u, *operands)
    return None


def _fits(operand: object, node: Node) -> bool:
    """Whether the node's result can take the operand's memory."""
    before, after = operand.meta["val"], node.meta.get("val")  # type: ignore[attr-defined]
    if not isinstance(after, Tensor):
        return False
    return bool(before.shape == after.shape and before.dtype == after.dtype and before.stride() == after.stride())


def _in_place(node: Node, graph: Graph, timeline: Timeline) -> Node | None:
    if not is_call(node) or not node.args or not timeline.ends_at(node.args[0], node) or not _fits(node.args[0], node):
        return None
    with graph.inserting_before(node):
        if node.target in IN_PLACE:
            return insert(graph, node, IN_PLACE[node.target], *node.args, **node.kwargs)
        if node.target is aten.threshold_backward.default:
            return insert(graph, node, aten.threshold_backward.grad_input, *node.args, grad_input=node.args[0])
    return None

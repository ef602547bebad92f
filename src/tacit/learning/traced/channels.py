"""Channels-last convolutions: which weights are kept so, and how random masks stay those of the eager engine.

With channels innermost in memory, convolutions and above all max-pools of small image batches run faster on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, Node

from tacit.learning.traced.capture import Capture
from tacit.learning.traced.operators import is_random
from tacit.learning.traced.passes import value

aten = torch.ops.aten


def convolved(capture: Capture) -> list[int]:
    """Numbers of the parameters that are weights of two-dimensional, not transposed convolutions."""
    weights = {
        node.args[1]
        for node in capture.module.graph.nodes
        if node.target is aten.convolution.default and not node.args[6] and len(node.args[3]) == 2
    }
    return [i for i, param in enumerate(capture.params) if param in weights]


def keep_draws(moved: Capture, plain: Capture) -> bool:
    """Makes `moved`, captured channels-last, draw the same numbers for the same elements as `plain`.

    A generator fills memory in order, so that another memory layout gives another mask.

    Returns:
        Whether it could be done.
    """
    graph: Graph = moved.module.graph
    mine, theirs = ([n for n in c.module.graph.nodes if is_random(n)] for c in (moved, plain))
    if [n.target for n in mine] != [n.target for n in theirs]:
        return False
    return all(_same_strides(a, b) or _filled_alike(graph, a, b) for a, b in zip(mine, theirs, strict=True))


def pooled_alike(graph: Graph) -> None:
    """Gives a max-pool's backward pass its gradient in the layout of its forward pass; a mixture takes the slow way."""
    for node in list(graph.nodes):
        if node.target is not aten.max_pool2d_with_indices_backward.default:
            continue
        gradient: Node = node.args[0]
        last, channels = node.args[7].meta["val"], torch.channels_last
        if last.is_contiguous(memory_format=channels) and not value(gradient).is_contiguous(memory_format=channels):
            with graph.inserting_before(node):
                moved = graph.call_function(aten.clone.default, (gradient,), {"memory_format": channels})
            moved.meta["val"] = last.to(value(gradient).dtype)
            node.replace_input_with(gradient, moved)


def _same_strides(mine: Node, theirs: Node) -> bool:
    return _strides(mine.meta["val"]) == _strides(theirs.meta["val"])


def _strides(value: Any) -> list[tuple[int, ...]]:
    values = value if isinstance(value, (list, tuple)) else [value]
    return [v.stride() for v in values if isinstance(v, Tensor)]


def _filled_alike(graph: Graph, mine: Node, theirs: Node) -> bool:
    """Gives an empty tensor that is filled with random numbers the strides that it has in the other capture."""
    empty = mine.args[0]
    if not isinstance(empty, Node) or empty.target is not aten.empty_like.default:
        return False
    like: Tensor = theirs.meta["val"]
    with graph.inserting_before(empty):
        new = graph.call_function(
            aten.empty_strided.default, (list(like.shape), list(like.stride())), {"dtype": like.dtype}
        )
    new.meta["val"] = like
    empty.replace_all_uses_with(new)
    graph.erase_node(empty)
    return True

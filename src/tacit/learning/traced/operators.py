"""What the passes need to know of an ATen operation: what it writes, what its result aliases, whether it is random."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch.fx import Node

aten = torch.ops.aten
ALIASES = (aten._unsafe_view.default, aten._reshape_alias.default)
"""Operations whose result may share memory with their input although their schema does not say so."""
BATCH_NORMS = (aten.native_batch_norm.default, aten._native_batch_norm_legit.default)


def is_call(node: Node) -> bool:
    """Whether the node runs an ATen operation."""
    return isinstance(node.target, torch._ops.OpOverload)


def is_random(node: Node) -> bool:
    """Whether the node draws from the generator."""
    return is_call(node) and torch.Tag.nondeterministic_seeded in node.target.tags  # type: ignore[union-attr]


def arguments(node: Node) -> Iterator[tuple[Any, Any]]:
    """Pairs of schema argument and value, for the arguments that were given."""
    schema = node.target._schema.arguments  # type: ignore[union-attr]
    for position, formal in enumerate(schema):
        if position < len(node.args):
            yield formal, node.args[position]
        elif formal.name in node.kwargs:
            yield formal, node.kwargs[formal.name]


def _nodes(value: Any) -> list[Node]:
    if isinstance(value, Node):
        return [value]
    return [v for v in value if isinstance(v, Node)] if isinstance(value, (list, tuple)) else []


def written(node: Node) -> list[Node]:
    """The nodes whose memory this one writes to."""
    if not is_call(node):
        return []
    found = [n for f, v in arguments(node) if f.alias_info is not None and f.alias_info.is_write for n in _nodes(v)]
    if node.target in BATCH_NORMS:
        found += [n for f, v in arguments(node) if f.name in ("running_mean", "running_var") for n in _nodes(v)]
    return found


def aliased(node: Node) -> list[Node]:
    """The nodes whose memory this one's result may share."""
    if node.target is operator.getitem:
        return [node.args[0]]  # type: ignore[list-item]
    if not is_call(node):
        return []
    if node.target in ALIASES:
        return [node.args[0]]  # type: ignore[list-item]
    shares = any(r.alias_info is not None for r in node.target._schema.returns)  # type: ignore[union-attr]
    return [n for f, v in arguments(node) if shares and f.alias_info is not None for n in _nodes(v)]


def roots(node: Node) -> set[Node]:
    """The nodes that own the memory which this one's result may share."""
    found, stack = set(), [node]
    while stack:
        last = stack.pop()
        above = aliased(last)
        stack.extend(above)
        if not above:
            found.add(last)
    return found


def is_view(node: Node) -> bool:
    """Whether the node only looks at the memory of another, without writing to it."""
    return node.target is not operator.getitem and bool(aliased(node)) and not written(node)

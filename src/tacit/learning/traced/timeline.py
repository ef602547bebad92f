"""When each memory of a captured graph is used last and written last: what a rewrite must know to move anything."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor
from torch.fx import Graph, Node

from tacit.learning.traced.operators import aliased, is_call, roots, written


class Timeline:
    """Places of a graph's nodes. Nodes inserted later take the place of the one that they stand for (`stand_in`)."""

    def __init__(self, graph: Graph) -> None:
        self.place = {node: i for i, node in enumerate(graph.nodes)}
        self._writes: dict[Node, list[int]] = {}
        for node in graph.nodes:
            self._note(node)

    def _note(self, node: Node) -> None:
        for root in (r for target in written(node) for r in roots(target)):
            self._writes.setdefault(root, []).append(self.place[node])

    def stand_in(self, new: Node, old: Node) -> None:
        """Puts `new` at the place of `old`."""
        self.place[new] = self.place[old]
        self._note(new)

    def last_use(self, node: Node) -> int:
        """Place of the last use of the node's memory, through views as well."""
        ends = [self.last_use(u) if node in aliased(u) else self.place[u] for u in node.users]
        return max([self.place[node], *ends])

    def ends_at(self, node: object, user: Node) -> bool:
        """Whether `node` has memory of its own, filled anew in every step, that nothing reads after `user`."""
        if not isinstance(node, Node):
            return False
        owner = node
        while len(written(owner)) == 1 and written(owner) == aliased(owner):
            owner = written(owner)[0]
        fresh = is_call(owner) and bool(owner.all_input_nodes) and not aliased(owner)
        return fresh and isinstance(owner.meta.get("val"), Tensor) and self.last_use(owner) <= self.place[user]

    def steady(self, nodes: Iterable[Node], since: Node, until: Node) -> bool:
        """Whether nothing writes to the memory of `nodes` between two places: they may be read at either."""
        writes = [w for root in {r for n in nodes for r in roots(n)} for w in self._writes.get(root, ())]
        return not any(self.place[since] <= w <= self.place[until] for w in writes)

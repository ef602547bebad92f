"""Named slices of one flat vector: how a report, a broadcast or a model is laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import prod

import torch
from torch import Tensor

Shape = tuple[int, ...]
Parts = dict[str, Tensor]


@dataclass(frozen=True)
class Layout:
    """Names and shapes, in order, of the parts of one flat vector of `size` numbers.

    The laws: `unpack(pack(**parts)) == parts`, and `unpack` returns views (writing to a part writes to the vector).
    All methods act on the last axis, so the leading `(...)` may be empty (one client) or `(K,)` (a block).

    >>> layout = Layout.of(weight=(2, 3), bias=(2,))
    >>> layout.size, layout["bias"]
    (8, slice(6, 8, None))
    """

    names: tuple[str, ...]
    shapes: tuple[Shape, ...]

    @classmethod
    def of(cls, **shapes: Shape) -> Layout:
        """A layout from `name=shape` pairs, in the order given."""
        return cls(tuple(shapes), tuple(tuple(s) for s in shapes.values()))

    @classmethod
    def like(cls, parts: Mapping[str, Tensor]) -> Layout:
        """The layout of existing tensors, in the mapping's order."""
        return cls(tuple(parts), tuple(tuple(p.shape) for p in parts.values()))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each part holds."""
        return tuple(prod(s) for s in self.shapes)

    @cached_property
    def size(self) -> int:
        """Length of the flat vector."""
        return sum(self.sizes)

    @cached_property
    def slices(self) -> tuple[tuple[str, slice, Shape], ...]:
        """Each part's name, its place in the vector and its shape."""
        ends = list(accumulate(self.sizes, initial=0))
        places = [slice(start, end) for start, end in pairwise(ends)]
        return tuple(zip(self.names, places, self.shapes, strict=True))

    def __getitem__(self, name: str) -> slice:
        for candidate, place, _ in self.slices:
            if candidate == name:
                return place
        raise KeyError(f"no part {name!r} in this layout; it has {', '.join(self.names)}")

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def extend(self, name: str, shape: Shape = ()) -> Layout:
        """This layout with one more part at its end.

        Raises:
            ValueError: `name` is taken.
        """
        if name in self.names:
            raise ValueError(f"the layout already has a part named {name!r}")
        return Layout((*self.names, name), (*self.shapes, tuple(shape)))

    def pack(self, parts: Mapping[str, Tensor], out: Tensor | None = None) -> Tensor:
        """Lays `parts`, each `(..., *shape)`, into one vector `(..., size)`; into `out` where it is given.

        Raises:
            ValueError: parts with other names or shapes than the layout's.
        """
        if set(parts) != set(self.names):
            raise ValueError(f"parts {sorted(parts)} do not fit the layout {sorted(self.names)}")
        first = parts[self.names[0]]
        lead = first.shape[: first.dim() - len(self.shapes[0])]
        vector = torch.empty(*lead, self.size, dtype=first.dtype, device=first.device) if out is None else out
        for name, target in self.unpack(vector).items():
            if parts[name].shape != target.shape:
                raise ValueError(f"part {name!r} is {tuple(parts[name].shape)}, the layout has {tuple(target.shape)}")
            target.copy_(parts[name].detach())
        return vector

    def unpack(self, vector: Tensor) -> Parts:
        """Views of `vector` `(..., size)`, one for each part `(..., *shape)`.

        Raises:
            ValueError: the last axis is not `size` long.
        """
        if vector.shape[-1] != self.size:
            raise ValueError(f"a vector of {vector.shape[-1]} numbers does not fit a layout of {self.size}")
        lead = vector.shape[:-1]
        return {name: vector[..., place].view((*lead, *shape)) for name, place, shape in self.slices}

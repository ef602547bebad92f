"""One client's parameters as the traced step holds them: flat, with convolution weights in channels-last order."""

from __future__ import annotations

import torch
from torch import Tensor

from tacit.learning.layout import Layout


class Storage:
    """A flat vector whose parts are the model's parameters, some of them laid out channels-last.

    The vector has the layout's length and the layout's slices; inside the slice of a weight named in `last` the numbers
    stand in the order (out, height, width, in) instead of (out, in, height, width). Elementwise algebra on whole
    vectors (corrections, momentum) is the same in either order as long as all of them share it.

    Args:
        layout: names and shapes of the parameters.
        dtype: of the vector.
        last: names of the 4-dimensional parameters kept channels-last.
    """

    def __init__(self, layout: Layout, dtype: torch.dtype, last: frozenset[str] = frozenset()) -> None:
        self.layout, self.last = layout, last
        self._moved = [(place, shape) for name, place, shape in layout.slices if name in last]
        self.flat = torch.zeros(layout.size, dtype=dtype)
        self.parts = self.views(self.flat)

    def views(self, vector: Tensor) -> list[Tensor]:
        """The parts of an inner vector (d,), each of its parameter's shape, in the layout's order."""
        found = layout_views = self.layout.unpack(vector)
        for name in self.last:
            o, i, h, w = layout_views[name].shape
            found[name] = layout_views[name].view(o, h, w, i).permute(0, 3, 1, 2)
        return list(found.values())

    def inward(self, vector: Tensor, out: Tensor) -> Tensor:
        """Copies a vector (d,) in the layout's order into the inner vector `out` (d,)."""
        out.copy_(vector)
        for place, (o, i, h, w) in self._moved:
            out[place].view(o, h, w, i).copy_(vector[place].view(o, i, h, w).permute(0, 2, 3, 1))
        return out

    def moved_from(self, start: Tensor, out: Tensor) -> None:
        """The parameters less `start`, an inner vector (d,), into `out` (d,) in the layout's order."""
        torch.sub(self.flat, start, out=out)
        for place, (o, i, h, w) in self._moved:
            out[place].view(o, i, h, w).copy_(out[place].clone().view(o, h, w, i).permute(0, 3, 1, 2))

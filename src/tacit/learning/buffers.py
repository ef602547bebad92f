"""The buffers of one copy of a model: some travel in a flat vector, the others begin anew with every client.

What travels are floating-point buffers that training writes (BatchNorm's statistics). Whole numbers, masks and tables
that no step writes never leave the model: a mean of them would mean nothing, and a mask may hold infinities.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from tacit.learning.layout import Layout, Parts


def travelling(model: nn.Module, names: Collection[str]) -> Layout:
    """The layout of the floating-point buffers among `names`, in the model's order."""
    return Layout.like({n: b for n, b in model.named_buffers() if n in names and b.is_floating_point()})


class Buffers:
    """A module's buffers, put back before every client.

    A module may write into its buffers or assign new tensors to them; both are undone.

    Args:
        module: a copy of the model, as the model stands.
        layout: the buffers that travel.
        moving: names of those that steps are known to write.
    """

    def __init__(self, module: nn.Module, layout: Layout, moving: Collection[str]) -> None:
        self.layout, self.moving = layout, moving
        self._homes = dict(module.named_buffers())
        # One buffer may have several places: modules share it.
        self._places = {n: (*_place(module, n), b) for n, b in module.named_buffers(remove_duplicate=False)}
        self._first = {n: b.detach().clone() for n, b in self._homes.items() if n not in layout}
        self._seen = {n: self._homes[n]._version for n in self._first}

    def push(self, vector: Tensor) -> None:
        """Begins a client: (b,) into the buffers that travel, the others as they were at first."""
        for module, leaf, home in self._places.values():
            module._buffers[leaf] = home
        values = self.layout.unpack(vector)
        for name, home in self._homes.items():
            if name in values:
                home.copy_(values[name])
            elif name in self.moving or home._version != self._seen[name]:
                home.copy_(self._first[name])
                self._seen[name] = home._version

    def pull(self, vector: Tensor) -> None:
        """What a client's steps have made of the buffers that travel, into (b,)."""
        for name, view in self.layout.unpack(vector).items():
            module, leaf, _ = self._places[name]
            now = module._buffers[leaf]
            if now is not None:
                view.copy_(now)


def _place(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf


def packed(model: nn.Module, layout: Layout, dtype: torch.dtype) -> Tensor:
    """The model's present buffers of `layout`, (b,), as a new vector."""
    parts: Parts = {n: b.detach().to(dtype) for n, b in model.named_buffers() if n in layout}
    return layout.pack(parts) if parts else torch.empty(0, dtype=dtype)

"""The part of a report that is compressed: the update. Everything else in it (weights, losses, buffers) stays."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tacit.learning.layout import Layout

UPDATE = "update"


def size_of(layout: Layout) -> int:
    """How many numbers the update has."""
    place = layout[UPDATE]
    return int(place.stop - place.start)


def with_size(layout: Layout, size: int) -> Layout:
    """The layout with an update of another length."""
    shapes = tuple((size,) if name == UPDATE else s for name, s in zip(layout.names, layout.shapes, strict=True))
    return replace(layout, shapes=shapes)


def exchanged(vector: Tensor, layout: Layout, update: Tensor) -> Tensor:
    """A vector (..., m) with another update (..., k) in the place of its own."""
    place = layout[UPDATE]
    return torch.cat([vector[..., : place.start], update.to(vector.dtype), vector[..., place.stop :]], dim=-1)


def beside(vector: Tensor, layout: Layout) -> Tensor:
    """What is no update, (..., m - d)."""
    place = layout[UPDATE]
    return torch.cat([vector[..., : place.start], vector[..., place.stop :]], dim=-1)


def joined(update: Tensor, others: Tensor, layout: Layout) -> Tensor:
    """The vector (m,) of which these are the update and the rest."""
    start = layout[UPDATE].start
    return torch.cat([others[:start], update, others[start:]])

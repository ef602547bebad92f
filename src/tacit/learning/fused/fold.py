"""Adds a block of clients to a running sum, in one pass over their parameters and without the GIL."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

    from tacit.learning.fused.jit import Real

STRIP = 1024
"""Coordinates taken at a time: their part of the sum stays in the first cache while all clients are added to it."""


@cache
def _compiled() -> Callable[[Real, int, Real, Real, Real], None]:
    from tacit.learning.fused.jit import jit_cached

    def add(y: Real, stride: int, x: Real, weight: Real, total: Real) -> None:
        for start in range(0, x.size, STRIP):
            stop = min(start + STRIP, x.size)
            origin, part = x[start:stop], total[start:stop]
            for k in range(weight.size):
                row, w = y[k * stride + start : k * stride + stop], weight[k]
                for i in range(part.size):
                    part[i] += w * (np.float64(row[i]) - np.float64(origin[i]))

    return jit_cached(add)


def fold(y: Tensor, x: Tensor, weight: Tensor, total: Tensor) -> None:
    """`total += sum over k of weight_k (y_k - x)`, in float64, client after client.

    Args:
        y: (K, d) parameters of K clients, float32 or float64; rows may lie apart.
        x: (d,) where they started.
        weight: (K,) float64.
        total: (d,) float64, changed in place.

    Raises:
        ValueError: shapes or types do not fit.
    """
    fits = y.shape == (len(weight), len(x)) and total.shape == x.shape and y.dtype == x.dtype
    if not fits or weight.dtype != torch.float64 or total.dtype != torch.float64 or not total.is_contiguous():
        raise ValueError(
            f"cannot fold y {tuple(y.shape)} {y.dtype}, x {tuple(x.shape)} {x.dtype}, weight {tuple(weight.shape)} "
            f"{weight.dtype} into total {tuple(total.shape)} {total.dtype}: give (K, d), (d,), float64 (K,) and (d,)"
        )
    if not len(y):
        return
    values, stride = spanned(y)
    _compiled()(values.numpy(), stride, x.contiguous().numpy(), weight.contiguous().numpy(), total.numpy())


def spanned(rows: Tensor) -> tuple[Tensor, int]:
    """A (K, d) tensor, whose rows may lie apart, as the vector that it spans, and the distance between its rows."""
    stride = rows.stride(0) if len(rows) > 1 else rows.shape[1]
    return rows.as_strided((stride * (len(rows) - 1) + rows.shape[1],), (1,)), stride

"""The weighted sum of a block of reports, compiled: one pass, in float64, in the order of the clients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tacit.learning.jit import Real, jit_cached

CHUNK = 2048
"""Columns added at a time, so that their running sums stay in the first-level cache."""


def _add(reports: Real, weights: Real, total: Real) -> None:
    for first in range(0, total.size, CHUNK):
        part = total[first : first + CHUNK]
        for k in range(weights.size):
            weight, row = weights[k], reports[k, first : first + CHUNK]
            for j in range(part.size):
                part[j] += weight * np.float64(row[j])


_compiled = jit_cached(_add)


def weighted_sum(reports: Tensor, weights: Tensor, into: Tensor | None = None) -> Tensor:
    """`sum_k weights[k] * reports[k]`.

    Args:
        reports: (K, m) float32 or float64.
        weights: (K,).
        into: (m,) float64 to be overwritten with the sum; new memory when None.

    Returns:
        (m,) float64, the same bits on every call: each column is added in the order of the rows.
    """
    total = torch.empty(reports.shape[1], dtype=torch.float64) if into is None else into
    _compiled(reports.numpy(), weights.to(torch.float64).numpy(), total.zero_().numpy())
    return total

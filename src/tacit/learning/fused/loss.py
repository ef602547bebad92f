"""Losses, compiled: the sum over a batch of each example's loss, and the gradient of the batch's mean."""

from __future__ import annotations

import math

import numpy as np

from tacit.jit import Int, Real, jit, jit_summing
from tacit.learning.fused.activation import exponential, log_one_plus
from tacit.learning.fused.chain import Criterion

MSE, L1, HUBER = int(Criterion.MSE), int(Criterion.L1), int(Criterion.HUBER)
SMOOTH_L1, CROSS_ENTROPY = int(Criterion.SMOOTH_L1), int(Criterion.CROSS_ENTROPY)
IGNORED = -100
"""The label that torch's cross-entropy leaves out of the mean, unless it is told another."""


@jit_summing
def _square(z: Real, target: Real, share: float) -> float:
    total, factor = 0.0, z.dtype.type(2.0 * share)
    for j in range(z.size):
        gap = z[j] - target[j]
        total += np.float64(gap) * np.float64(gap)
        z[j] = factor * gap
    return total


@jit
def _robust(code: int, delta: float, z: Real, target: Real, share: float) -> float:
    """L1, Huber's loss and smooth L1 (which is Huber's, divided by delta)."""
    total, scale = 0.0, 1.0 / delta if code == SMOOTH_L1 else 1.0
    for j in range(z.size):
        gap = np.float64(z[j] - target[j])
        size, sign = abs(gap), np.sign(gap)
        if code == L1:
            value, slope = size, sign
        elif size < delta:
            value, slope = 0.5 * gap * gap * scale, gap * scale
        else:
            value, slope = delta * (size - 0.5 * delta) * scale, delta * sign * scale
        total += value
        z[j] = slope * share
    return total


@jit_summing
def _binary(z: Real, target: Real, share: float) -> float:
    total = 0.0
    for j in range(z.size):
        x, t = np.float64(z[j]), np.float64(target[j])
        tail = exponential(-abs(x))
        total += (x if x > 0.0 else 0.0) - x * t + log_one_plus(tail)
        z[j] = ((1.0 if x > 0.0 else tail) / (1.0 + tail) - t) * share
    return total


@jit_summing
def _entropy(z: Real, label: int, share: float) -> float:
    """Cross-entropy of one example; `z` (classes,) are its logits."""
    highest = z[0]
    for j in range(1, z.size):
        highest = max(highest, z[j])
    chosen, total = np.float64(z[label] - highest), 0.0
    for j in range(z.size):
        value = exponential(np.float64(z[j] - highest))
        z[j] = value
        total += value
    factor = z.dtype.type(share / total)
    for j in range(z.size):
        z[j] *= factor
    z[label] -= z.dtype.type(share)
    return math.log(total) - chosen


@jit
def _entropies(z: Real, labels: Int, rows: Int) -> float:
    """Cross-entropy of a batch; NaN, as torch gives it, where every label is to be ignored."""
    n, batch, counted, total = z.size // rows.size, rows.size, 0, 0.0
    for b in range(batch):
        counted += labels[rows[b]] != IGNORED
    for b in range(batch):
        out = z[b * n : (b + 1) * n]
        if labels[rows[b]] != IGNORED:
            total += _entropy(out, labels[rows[b]], 1.0 / counted)
        else:
            for j in range(n):
                out[j] = 0
    if counted == batch:
        return total
    return total * batch / counted if counted else math.nan


@jit
def differentiate(code: int, delta: float, z: Real, target: Real, labels: Int, rows: Int) -> float:
    """Puts the gradient of the batch's mean loss in place of the outputs `z` (B n,).

    Args:
        code, delta: a `Criterion` and its parameter.
        z: (B n,) outputs.
        target: (R n,) targets, empty for class labels.
        labels: (R,) class labels or `IGNORED`, empty for others.
        rows: (B,) the batch's examples.

    Returns:
        The sum over the batch of each example's loss; an ignored one has the mean of the others.
    """
    if code == CROSS_ENTROPY:
        return _entropies(z, labels, rows)
    n, batch = z.size // rows.size, rows.size
    total, share = 0.0, 1.0 / z.size
    for b in range(batch):
        out = z[b * n : (b + 1) * n]
        wanted = target[rows[b] * n : (rows[b] + 1) * n]
        if code == MSE:
            total += _square(out, wanted, share) / n
        elif code == L1 or code == HUBER or code == SMOOTH_L1:
            total += _robust(code, delta, out, wanted, share) / n
        else:
            total += _binary(out, wanted, share) / n
    return total

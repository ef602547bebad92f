"""The kernel: every local step of every client of a block, in one compiled call that does not hold the GIL.

A client's parameters are its row of the result, so they stay in the core's cache from its first step to its last. With
plain SGD the step is fused into the product that makes the gradient (`W <- W - lr dz^T a` is one GEMM), and no gradient
is ever written. Nothing is allocated; nothing that a client computes depends on its neighbours in the block.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tacit.jit import Int, Real, jit, jit_cached, jit_summing
from tacit.learning.fused.activation import activate, add_bias, chain_rule
from tacit.learning.fused.loss import IGNORED, differentiate
from tacit.learning.fused.product import input_gradient, outputs, weight_gradient
from tacit.learning.fused.update import MOMENTUM, PLAIN, Rule, descend, pull

INPUTS, OUTPUTS, WEIGHT, BIAS, ACTIVATION, VALUE, SLOPE = range(7)


class Net(NamedTuple):
    """A chain of dense layers.

    Attributes:
        routine: address of the GEMM.
        tiled: see `product`.
        layers: (L, 7) int64, columns INPUTS ... SLOPE: widths, places of weight and bias in the flat vector (bias -1
            where there is none), `Activation`, places of value and slope in the workspace.
        shapes: (L, 2) float64, the activations' parameters.
        criterion, delta: the loss.
    """

    routine: int
    tiled: bool
    layers: Int
    shapes: Real
    criterion: int
    delta: float


class Space(NamedTuple):
    """Workspace of one worker.

    Attributes:
        rows: batch, values and slopes of all layers.
        near, far: gradients of a layer's outputs, in turns; where steps are private, `near` has room for all layers'.
        g: gradient of the largest tensor.
        m, v: (d,) the solver's state, or empty.
    """

    rows: Real
    near: Real
    far: Real
    g: Real
    m: Real
    v: Real


class Data(NamedTuple):
    """Examples and batches of a block, all one-dimensional.

    Attributes:
        x: (R F,) inputs.
        target: (R n,) targets, or empty.
        labels: (R,) class labels, or empty.
        order, cut, client: see `Batches`.
    """

    x: Real
    target: Real
    labels: Int
    order: Int
    cut: Int
    client: Int


class Block(NamedTuple):
    """Parameters of a block.

    Attributes:
        x: (d,) where every client starts.
        y: its client k owns `y[k * stride : k * stride + d]`, where it trains and leaves its update.
        stride: at least d.
        offset, offset_stride: as `y`, or empty.
    """

    x: Real
    y: Real
    stride: int
    offset: Real
    offset_stride: int


@jit
def copy(source: Real, into: Real) -> None:
    """`into <- source`."""
    # Numba takes seconds to compile the assignment of a slice, and none for a loop.
    for i in range(into.size):
        into[i] = source[i]


@jit
def clear(vector: Real) -> None:
    """Zeros."""
    for i in range(vector.size):
        vector[i] = 0


@jit_summing
def leave(x: Real, y: Real) -> float:
    """Leaves in `y`, while it is in the cache, its distance from `x`; returns the Euclidean norm of that."""
    moved: float = y.dtype.type(0)
    for i in range(x.size):
        y[i] -= x[i]
        moved += y[i] * y[i]
    return math.sqrt(moved)


@jit
def forward(net: Net, space: Space, y: Real, batch: int) -> int:
    """Values and slopes of every layer; returns where the last layer's outputs are."""
    source = 0
    for index in range(net.layers.shape[0]):
        layer = net.layers[index]
        n_in, n_out, value, slope = layer[INPUTS], layer[OUTPUTS], layer[VALUE], layer[SLOPE]
        outputs(net.routine, net.tiled, y, layer[WEIGHT], space.rows, source, space.rows, value, batch, n_in, n_out)
        z = space.rows[value : value + batch * n_out]
        if layer[BIAS] >= 0:
            add_bias(z, y[layer[BIAS] : layer[BIAS] + n_out])
        shape = net.shapes[index]
        activate(layer[ACTIVATION], shape[0], shape[1], z, space.rows[slope : slope + batch * n_out])
        source = value
    return source


@jit
def part(vector: Real, start: int, size: int) -> Real:
    """A slice of a (d,) vector, or of an empty one."""
    return vector[start : start + size] if vector.size else vector


@jit
def _step_bias(rule: Rule, step: int, dz: Real, w: Real, x: Real, offset: Real, g: Real, m: Real, v: Real) -> None:
    """One step of a bias, whose gradient is the sum of `dz` (B n,) over the batch."""
    n = w.size
    if rule.kind == MOMENTUM:
        g = m
        for j in range(n):
            g[j] *= rule.beta1
    else:
        g = g[:n]
        clear(g)
    for start in range(0, dz.size, n):
        row = dz[start : start + n]
        for j in range(n):
            g[j] += row[j]
    descend(rule, step, g, w, x, offset, m, v)


@jit
def _step_weight(
    net: Net, rule: Rule, step: int, layer: Int, dz: Real, a: Real, ia: int, batch: int, y: Real, origin: Real,
    offset: Real, g: Real, m: Real, v: Real,
) -> None:  # fmt: skip
    """One step of a weight, whose gradient is `dz^T a`."""
    n_in, n_out, at = layer[INPUTS], layer[OUTPUTS], layer[WEIGHT]
    size = n_in * n_out
    w, x, pushed = y[at : at + size], origin[at : at + size], part(offset, at, size)
    if rule.kind == PLAIN:
        keep = 1.0 - rule.lr * rule.decay
        if rule.proximal != 0.0 or offset.size:
            pull(rule, w, x, pushed)
            keep = 1.0
        weight_gradient(net.routine, net.tiled, -rule.lr, dz, 0, a, ia, keep, w, 0, batch, n_in, n_out)
        return
    m, v = part(m, at, size), part(v, at, size)
    g, keep = (m, rule.beta1) if rule.kind == MOMENTUM else (g[:size], 0.0)
    weight_gradient(net.routine, net.tiled, 1.0, dz, 0, a, ia, keep, g, 0, batch, n_in, n_out)
    descend(rule, step, g, w, x, pushed, m, v)


@jit
def _backward(net: Net, rule: Rule, step: int, space: Space, batch: int, x: Real, y: Real, offset: Real) -> None:
    """Takes one local step from the gradient of the last layer's outputs, which is in `space.near`."""
    near, far = space.near, space.far
    for index in range(net.layers.shape[0] - 1, -1, -1):
        layer = net.layers[index]
        n_in, n_out, at, value, slope = layer[INPUTS], layer[OUTPUTS], layer[BIAS], layer[VALUE], layer[SLOPE]
        size, source = batch * n_out, 0
        dz = near[:size]
        chain_rule(layer[ACTIVATION], space.rows[value : value + size], space.rows[slope : slope + size], dz)
        if index:  # before the weights change
            source = net.layers[index - 1, VALUE]
            input_gradient(net.routine, net.tiled, y, layer[WEIGHT], dz, 0, far, 0, batch, n_in, n_out)
        if at >= 0:
            pushed, m, v = part(offset, at, n_out), part(space.m, at, n_out), part(space.v, at, n_out)
            _step_bias(rule, step, dz, y[at : at + n_out], x[at : at + n_out], pushed, space.g, m, v)
        _step_weight(net, rule, step, layer, dz, space.rows, source, batch, y, x, offset, space.g, space.m, space.v)
        near, far = far, near


@jit
def _client(
    net: Net, rule: Rule, space: Space, data: Data, first: int, last: int, x: Real, y: Real, offset: Real
) -> float:
    """Runs one client's steps `first` to `last`; returns its training loss."""
    width, n_out, total = net.layers[0, INPUTS], net.layers[-1, OUTPUTS], 0.0
    copy(x, y)
    clear(space.m)
    clear(space.v)
    for s in range(first, last):
        rows = data.order[data.cut[s] : data.cut[s + 1]]
        batch = rows.size
        for b in range(batch):
            copy(data.x[rows[b] * width : (rows[b] + 1) * width], space.rows[b * width : (b + 1) * width])
        end = forward(net, space, y, batch)
        dz = space.near[: batch * n_out]
        copy(space.rows[end : end + batch * n_out], dz)
        total += differentiate(net.criterion, net.delta, dz, data.target, data.labels, rows)
        _backward(net, rule, s - first, space, batch, x, y, offset)
    visited: int = max(data.cut[last] - data.cut[first], 1)
    return total / visited


@jit
def strange_label(data: Data, classes: int) -> int:
    """The first of the block's examples whose label is no class and not `IGNORED`, or -1."""
    if data.labels.size:
        for i in range(data.order.size):
            row: int = data.order[i]
            if (data.labels[row] < 0 or data.labels[row] >= classes) and data.labels[row] != IGNORED:
                return row
    return -1


def digest() -> int:
    """A positive number that changes with the sources of this package, and with how they are compiled."""
    above = Path(__file__).parents
    sources = [*sorted(above[0].glob("*.py")), above[1] / "perturb.py", above[2] / "jit.py"]
    return int.from_bytes(hashlib.sha256(b"".join(p.read_bytes() for p in sources)).digest()[:7], "big")


@cache
def compiled() -> Callable[[Net, Rule, Space, Data, Block, Real, Real], int]:
    """The kernel `train(net, rule, space, data, block, losses, moved)`, compiled or read from disk at its first call.

    It fills the rows of `block.y`, `losses` (K,) and `moved` (K,), see `Engine.run`, and returns a negative number; or,
    before computing anything, the row of an example whose class label is out of range.
    """
    # Numba renews a cached function when its own file changes, not when the files it calls into do. A variable of the
    # enclosing function is part of the cache's key, so the digest of all the sources is made one.
    done = -digest() - 1

    def train(net: Net, rule: Rule, space: Space, data: Data, block: Block, losses: Real, moved: Real) -> int:
        strange = strange_label(data, net.layers[-1, OUTPUTS])
        if strange >= 0:
            return strange
        d = block.x.size
        for k in range(losses.size):
            y = block.y[k * block.stride : k * block.stride + d]
            offset = part(block.offset, k * block.offset_stride, d)
            losses[k] = _client(net, rule, space, data, data.client[k], data.client[k + 1], block.x, y, offset)
            moved[k] = leave(block.x, y)
        return done

    return jit_cached(train)

"""Private steps of a chain of dense layers: every example's gradient cut, without ever being written.

The gradient of a dense layer for example i is the product of what flows back to its output and of what it read, so its
norm is the product of theirs. One backward pass finds all of them; then each layer's flow is scaled, example by
example, and one product makes the sum of the cut gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from tacit.jit import Real, jit, jit_cached, jit_summing
from tacit.learning.fused.activation import chain_rule
from tacit.learning.fused.kernel import (
    ACTIVATION,
    BIAS,
    INPUTS,
    OUTPUTS,
    SLOPE,
    VALUE,
    WEIGHT,
    Block,
    Data,
    Net,
    Space,
    clear,
    copy,
    digest,
    forward,
    leave,
    part,
    strange_label,
)
from tacit.learning.fused.loss import differentiate
from tacit.learning.fused.product import input_gradient, weight_gradient
from tacit.learning.fused.update import MOMENTUM, Rule, descend
from tacit.learning.perturb import perturb

TINY, HUGE = 1e-30, 1e36
"""See `tacit.learning.dp_sgd.engine`."""


class Private(NamedTuple):
    """How the steps of one client are made private.

    Attributes:
        norm: that gradients are cut to.
        scale: standard deviation of the noise.
        expected: examples in a batch on average.
        noise: (S d,) float64 standard normal draws of the S steps that are to be taken.
        places: (L,) int64, where the flow of each layer begins in `Space.near`.
        squares: (B,) float64, workspace.
        sums: float64, workspace as long as the widest layer.
    """

    norm: float
    scale: float
    expected: float
    noise: Real
    places: Real
    squares: Real
    sums: Real


@jit_summing
def _square(row: Real) -> float:
    total = 0.0
    for j in range(row.size):
        total += np.float64(row[j]) * np.float64(row[j])
    return total


@jit
def _flow(net: Net, space: Space, private: Private, batch: int, y: Real) -> None:
    """Fills the flows of all layers from that of the last, and the squares of the examples' gradient norms."""
    squares = private.squares
    for b in range(batch):
        squares[b] = 0.0
    for index in range(net.layers.shape[0] - 1, -1, -1):
        layer = net.layers[index]
        n_in, n_out, value, slope = layer[INPUTS], layer[OUTPUTS], layer[VALUE], layer[SLOPE]
        place, size, source = private.places[index], batch * n_out, 0
        dz = space.near[place : place + size]
        chain_rule(layer[ACTIVATION], space.rows[value : value + size], space.rows[slope : slope + size], dz)
        if index:
            source = net.layers[index - 1, VALUE]
            into = private.places[index - 1]
            input_gradient(net.routine, net.tiled, y, layer[WEIGHT], dz, 0, space.near, into, batch, n_in, n_out)
        bias = 1.0 if layer[BIAS] >= 0 else 0.0
        for b in range(batch):
            read = _square(space.rows[source + b * n_in : source + (b + 1) * n_in])
            if read > HUGE:
                read = np.inf
            squares[b] += _square(dz[b * n_out : (b + 1) * n_out]) * (read + bias)


@jit
def _cut(net: Net, space: Space, private: Private, batch: int) -> None:
    """Scales each example's flows so that its gradient is within the norm; those that are not finite become zero."""
    for b in range(batch):
        square = private.squares[b]
        finite, factor = np.isfinite(square), 1.0
        if finite and square > private.norm * private.norm:
            factor = private.norm / math.sqrt(square)
            finite = factor > TINY
        for index in range(net.layers.shape[0]):
            n_in, n_out, place = net.layers[index, INPUTS], net.layers[index, OUTPUTS], private.places[index]
            source = net.layers[index - 1, VALUE] if index else 0
            dz = space.near[place + b * n_out : place + (b + 1) * n_out]
            if not finite:
                clear(dz)
                clear(space.rows[source + b * n_in : source + (b + 1) * n_in])
            elif factor < 1.0:
                real = dz.dtype.type(factor)
                for j in range(n_out):
                    dz[j] *= real


@jit
def _descend(
    rule: Rule, step: int, private: Private, at: int, place: int, g: Real, y: Real, x: Real, offset: Real, m: Real,
    v: Real,
) -> None:  # fmt: skip
    """One private step of the parameters from `place` on, from the sum `g` of their cut gradients."""
    n = g.size
    perturb(g, private.noise[at + place : at + place + n], private.scale, private.expected)
    m, v = part(m, place, n), part(v, place, n)
    if rule.kind == MOMENTUM:
        keep = m.dtype.type(rule.beta1)
        for j in range(n):
            m[j] = keep * m[j] + g[j]
        g = m
    descend(rule, step, g, y[place : place + n], x[place : place + n], part(offset, place, n), m, v)


@jit
def _step(
    net: Net, rule: Rule, step: int, space: Space, private: Private, at: int, batch: int, x: Real, y: Real, offset: Real
) -> None:
    """One local step, from the flows that are cut."""
    for index in range(net.layers.shape[0]):
        layer = net.layers[index]
        n_in, n_out, size = layer[INPUTS], layer[OUTPUTS], layer[INPUTS] * layer[OUTPUTS]
        source = net.layers[index - 1, VALUE] if index else 0
        place = private.places[index]
        dz = space.near[place : place + batch * n_out]
        g = space.g[:size]
        if batch:
            weight_gradient(net.routine, net.tiled, 1.0, dz, 0, space.rows, source, 0.0, g, 0, batch, n_in, n_out)
        else:
            clear(g)
        _descend(rule, step, private, at, layer[WEIGHT], g, y, x, offset, space.m, space.v)
        if layer[BIAS] >= 0:
            g, sums = space.g[:n_out], private.sums[:n_out]
            clear(sums)
            for b in range(batch):  # in double precision: large batches would be rounded by more than is allowed for
                row = dz[b * n_out : (b + 1) * n_out]
                for j in range(n_out):
                    sums[j] += np.float64(row[j])
            for j in range(n_out):
                g[j] = sums[j]
            _descend(rule, step, private, at, layer[BIAS], g, y, x, offset, space.m, space.v)


@cache
def compiled() -> Callable[[Net, Rule, Space, Data, Block, Private, int, int, int], float]:
    """The kernel `train(net, rule, space, data, block, private, client, first, last)`.

    It takes the steps `first` to `last` (of the client's own, from 0) of one client of the block: it begins anew where
    `first` is 0, and leaves the update in `block.y` after the client's last step. It returns the norm of the update, 0
    before the last step; or, before computing anything, a negative number: -1 less the row of an example whose class
    label is out of range.
    """
    none = 0.0 * digest()  # see `kernel.compiled`

    def train(
        net: Net, rule: Rule, space: Space, data: Data, block: Block, private: Private, client: int, first: int,
        last: int,
    ) -> float:  # fmt: skip
        strange = strange_label(data, net.layers[-1, OUTPUTS]) if client == 0 and first == 0 else -1
        if strange >= 0:
            return -1.0 - strange
        d, begins = block.x.size, data.client[client]
        y = block.y[client * block.stride : client * block.stride + d]
        offset = part(block.offset, client * block.offset_stride, d)
        if first == 0:
            copy(block.x, y)
            clear(space.m)
            clear(space.v)
        width, n_out, place = net.layers[0, INPUTS], net.layers[-1, OUTPUTS], private.places[-1]
        for s in range(first, last):
            rows = data.order[data.cut[begins + s] : data.cut[begins + s + 1]]
            batch = rows.size
            for b in range(batch):
                copy(data.x[rows[b] * width : (rows[b] + 1) * width], space.rows[b * width : (b + 1) * width])
            if batch:
                end = forward(net, space, y, batch)
                copy(space.rows[end : end + batch * n_out], space.near[place : place + batch * n_out])
                for b in range(batch):  # each example is a batch of its own
                    out = space.near[place + b * n_out : place + (b + 1) * n_out]
                    differentiate(net.criterion, net.delta, out, data.target, data.labels, rows[b : b + 1])
                _flow(net, space, private, batch, y)
                _cut(net, space, private, batch)
            _step(net, rule, s, space, private, (s - first) * d, batch, block.x, y, offset)
        return leave(block.x, y) if begins + last == data.client[client + 1] else none

    return jit_cached(train)

"""Local solvers, compiled: one step of one parameter tensor, with the same semantics as `solver.update`."""

from __future__ import annotations

import math
from typing import NamedTuple

from tacit.jit import Real, jit

PLAIN, MOMENTUM, NESTEROV, ADAM = 0, 1, 2, 3


class Rule(NamedTuple):
    """A solver with an algorithm's correction, as numbers.

    Attributes:
        kind: PLAIN (SGD without momentum), MOMENTUM, NESTEROV or ADAM.
        lr: learning rate.
        decay: weight decay.
        proximal: pull towards the broadcast model.
        beta1: momentum, or the decay of Adam's first moment.
        beta2, eps: Adam's.
    """

    kind: int
    lr: float
    decay: float
    proximal: float
    beta1: float
    beta2: float
    eps: float


@jit
def pull(rule: Rule, w: Real, x: Real, offset: Real) -> None:
    """What a plain step does besides the gradient: `w <- w - lr (decay w + proximal (w - x) + offset)`."""
    real = w.dtype.type
    keep, back, lr = real(1.0 - rule.lr * (rule.decay + rule.proximal)), real(rule.lr * rule.proximal), real(rule.lr)
    if rule.proximal != 0.0:
        for i in range(w.size):
            w[i] = keep * w[i] + back * x[i]
    elif rule.decay != 0.0:
        for i in range(w.size):
            w[i] *= keep
    if offset.size:
        for i in range(w.size):
            w[i] -= lr * offset[i]


@jit
def _correct(rule: Rule, g: Real, w: Real, x: Real, offset: Real) -> None:
    """`g <- g + proximal (w - x) + offset + decay w`."""
    real = w.dtype.type
    decay, proximal = real(rule.decay), real(rule.proximal)
    if rule.proximal != 0.0:
        for i in range(w.size):
            g[i] += proximal * (w[i] - x[i])
    if offset.size:
        for i in range(w.size):
            g[i] += offset[i]
    if rule.decay != 0.0:
        for i in range(w.size):
            g[i] += decay * w[i]


@jit
def _adam(rule: Rule, step: int, g: Real, w: Real, m: Real, v: Real) -> None:
    real = w.dtype.type
    fresh1, keep2, fresh2 = real(1.0 - rule.beta1), real(rule.beta2), real(1.0 - rule.beta2)
    spread = real(1.0 - rule.beta2 ** (step + 1))
    rate, eps = real(rule.lr / (1.0 - rule.beta1 ** (step + 1))), real(rule.eps)
    for i in range(w.size):
        m[i] += fresh1 * (g[i] - m[i])
        v[i] = keep2 * v[i] + fresh2 * g[i] * g[i]
        w[i] -= rate * m[i] / (math.sqrt(v[i] / spread) + eps)


@jit
def descend(rule: Rule, step: int, g: Real, w: Real, x: Real, offset: Real, m: Real, v: Real) -> None:
    """One step of a parameter tensor from its gradient.

    Args:
        rule: the solver and the correction.
        step: from 0, of the client's local run.
        g: the loss's gradient, overwritten; for MOMENTUM the velocity with the gradient already added (it is `m`).
        w, x: the parameters, and where the client started.
        offset: the correction's, or empty.
        m, v: the solver's state, or empty.
    """
    real = w.dtype.type
    lr, beta = real(rule.lr), real(rule.beta1)
    if rule.kind == PLAIN:
        pull(rule, w, x, offset)
    else:
        _correct(rule, g, w, x, offset)
    if rule.kind == ADAM:
        _adam(rule, step, g, w, m, v)
    elif rule.kind == NESTEROV:
        for i in range(w.size):
            m[i] = beta * m[i] + g[i]
            w[i] -= lr * (g[i] + beta * m[i])
    else:
        for i in range(w.size):
            w[i] -= lr * g[i]

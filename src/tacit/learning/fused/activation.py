"""Pointwise activations, compiled: the value in place of its argument, and the derivative beside it, in one pass.

Everything curved is computed in float64 and rounded once, with an exponential that the compiler can vectorise (libm's
cannot be), accurate to about 1e-15. ReLU's derivative is read off its value, so it stores none.
"""

from __future__ import annotations

import math
from typing import Any

import llvmlite.ir as ir  # type: ignore[import-untyped]
import numpy as np
from numba import types
from numba.extending import intrinsic

from tacit.jit import Real, jit, jit_contracting
from tacit.learning.fused.chain import Activation

IDENTITY, RELU, LEAKY_RELU = int(Activation.IDENTITY), int(Activation.RELU), int(Activation.LEAKY_RELU)
TANH, SIGMOID, SILU = int(Activation.TANH), int(Activation.SIGMOID), int(Activation.SILU)
GELU, GELU_TANH, ELU = int(Activation.GELU), int(Activation.GELU_TANH), int(Activation.ELU)
LOG2E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.6931471803691238, 1.9082149292705877e-10
ROUNDER = 6755399441055744.0
"""1.5 * 2^52: adding it rounds to the nearest integer, which then lies in the low bits."""
TAYLOR = tuple(1.0 / math.factorial(i) for i in range(14))
ARTANH = tuple(1.0 / (2 * i + 1) for i in range(17))
ROOT_HALF, DENSITY = 1.0 / math.sqrt(2.0), 1.0 / math.sqrt(2.0 * math.pi)
GELU_SCALE, GELU_CUBE = math.sqrt(2.0 / math.pi), 0.044715


def _scale(typing: Any, rounded: Any) -> Any:
    """2^n, where `rounded` is n + ROUNDER."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(64)
        bits = builder.add(builder.bitcast(args[0], wide), ir.Constant(wide, 1023))
        return builder.bitcast(builder.shl(bits, ir.Constant(wide, 52)), ir.DoubleType())

    return types.float64(types.float64), generate


_power_of_two: Any = intrinsic(_scale)


@jit_contracting
def exponential(x: float) -> float:
    """e^x in float64; NaN stays NaN."""
    x = 709.0 if x > 709.0 else x
    x = -708.0 if x < -708.0 else x
    rounded = x * LOG2E + ROUNDER
    n = rounded - ROUNDER
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    low = TAYLOR[0] + r * (TAYLOR[1] + r * (TAYLOR[2] + r * (TAYLOR[3] + r * (TAYLOR[4] + r * TAYLOR[5]))))
    high = TAYLOR[10] + r * (TAYLOR[11] + r * (TAYLOR[12] + r * TAYLOR[13]))
    high = TAYLOR[6] + r * (TAYLOR[7] + r * (TAYLOR[8] + r * (TAYLOR[9] + r * high)))
    cube = r * r * r
    value: float = (low + cube * cube * high) * _power_of_two(rounded)
    return value


@jit
def sigmoid(x: float) -> float:
    """The logistic function."""
    return 1.0 / (1.0 + exponential(-x))


@jit_contracting
def log_one_plus(t: float) -> float:
    """log(1 + t) for t in [0, 1], as 2 artanh(t / (2 + t))."""
    s = t / (2.0 + t)
    q = s * s
    low = ARTANH[0] + q * (ARTANH[1] + q * (ARTANH[2] + q * (ARTANH[3] + q * (ARTANH[4] + q * ARTANH[5]))))
    mid = ARTANH[6] + q * (ARTANH[7] + q * (ARTANH[8] + q * (ARTANH[9] + q * (ARTANH[10] + q * ARTANH[11]))))
    high = ARTANH[12] + q * (ARTANH[13] + q * (ARTANH[14] + q * (ARTANH[15] + q * ARTANH[16])))
    sixth = q * q * q * q * q * q
    return 2.0 * s * (low + sixth * (mid + sixth * high))


@jit
def add_bias(z: Real, bias: Real) -> None:
    """Adds `bias` (n,) to every row of `z` (B n,)."""
    for start in range(0, z.size, bias.size):
        row = z[start : start + bias.size]
        for j in range(bias.size):
            row[j] += bias[j]


@jit
def _piecewise(code: int, p: float, z: Real, slope: Real) -> None:
    zero, one, leak = z.dtype.type(0), z.dtype.type(1), z.dtype.type(p)
    if code == RELU:
        for i in range(z.size):
            z[i] = zero if z[i] <= zero else z[i]
    else:
        for i in range(z.size):
            slope[i] = one if z[i] > zero else leak
            z[i] *= slope[i]


@jit
def _saturating(code: int, z: Real, slope: Real) -> None:
    if code == TANH:
        for i in range(z.size):
            value = 1.0 - 2.0 * sigmoid(-2.0 * z[i])
            z[i], slope[i] = value, 1.0 - value * value
    else:
        for i in range(z.size):
            value = sigmoid(np.float64(z[i]))
            z[i], slope[i] = value, value * (1.0 - value)


@jit
def _gated(code: int, z: Real, slope: Real) -> None:
    if code == SILU:
        for i in range(z.size):
            x = np.float64(z[i])
            gate = sigmoid(x)
            z[i], slope[i] = x * gate, gate * (1.0 + x * (1.0 - gate))
    elif code == GELU_TANH:
        for i in range(z.size):
            x = np.float64(z[i])
            gate = sigmoid(2.0 * GELU_SCALE * (x + GELU_CUBE * x * x * x))
            bend = 2.0 * GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * x * x)
            z[i], slope[i] = x * gate, gate * (1.0 + x * (1.0 - gate) * bend)
    else:
        for i in range(z.size):
            x = np.float64(z[i])
            gate = 0.5 * math.erfc(-x * ROOT_HALF)
            z[i], slope[i] = x * gate, gate + x * DENSITY * exponential(-0.5 * x * x)


@jit
def _soft(code: int, p: float, q: float, z: Real, slope: Real) -> None:
    if code == ELU:
        for i in range(z.size):
            x = np.float64(z[i])
            tail = p * exponential(0.0 if x > 0.0 else x)
            z[i], slope[i] = x if x > 0.0 else tail - p, 1.0 if x > 0.0 else tail
    else:
        for i in range(z.size):
            x = np.float64(z[i])
            straight = x * p > q
            tail = exponential(-abs(x * p))
            value = ((x * p if x > 0.0 else 0.0) + log_one_plus(tail)) / p
            z[i] = x if straight else value
            slope[i] = 1.0 if straight else (1.0 if x > 0.0 else tail) / (1.0 + tail)


@jit
def activate(code: int, p: float, q: float, z: Real, slope: Real) -> None:
    """Puts f(z) in place of `z` and f'(z) into `slope` (not for IDENTITY and RELU).

    Args:
        code: an `Activation`.
        p, q: its parameters, float64.
        z, slope: (B n,).
    """
    if code == RELU or code == LEAKY_RELU:
        _piecewise(code, p, z, slope)
    elif code == TANH or code == SIGMOID:
        _saturating(code, z, slope)
    elif code == SILU or code == GELU or code == GELU_TANH:
        _gated(code, z, slope)
    elif code != IDENTITY:
        _soft(code, p, q, z, slope)


@jit
def chain_rule(code: int, a: Real, slope: Real, da: Real) -> None:
    """Turns the gradient `da` of an activation's value into the gradient of its argument, in place."""
    if code == RELU:
        zero = a.dtype.type(0)
        for i in range(da.size):
            da[i] = zero if a[i] <= zero else da[i]
    elif code != IDENTITY:
        for i in range(da.size):
            da[i] *= slope[i]

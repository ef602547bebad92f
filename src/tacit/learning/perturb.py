"""The last thing that is done to the gradient of a private step: noise, on a grid that hides how either was rounded.

Sum and noise are rounded to multiples of one power of two and added as such, so that the result is the rounding of
sum plus ideal noise: attacks on floating-point noise ([Mironov12] doi:10.1145/2382196.2382264) find nothing. The grid
is so fine that rounding the sum moves it by less than `2^-14` of the noise for up to a hundred million parameters.
"""

from __future__ import annotations

import math

import numpy as np

from tacit.jit import Real, jit, jit_cached

FINENESS = 2.0**-28
"""Steps of the grid, in standard deviations of the noise."""


@jit
def grid(scale: float) -> float:
    """The step of the grid for noise of this standard deviation."""
    step: float = 2.0 ** math.floor(math.log2(scale)) * FINENESS
    return step


@jit
def perturb(g: Real, noise: Real, scale: float, expected: float) -> None:
    """`g <- (g + scale noise) / expected`, on the grid; without noise where `scale` is 0.

    Args:
        g: (n,) sum of gradients, overwritten.
        noise: (n,) float64 standard normal draws.
        scale: standard deviation of the noise.
        expected: size of a batch on average.
    """
    if scale == 0.0:
        for i in range(g.size):
            g[i] /= expected
        return
    step = grid(scale)
    fine, loud, back = 1.0 / step, scale / step, step / expected
    for i in range(g.size):
        g[i] = (np.rint(np.float64(g[i]) * fine) + np.rint(noise[i] * loud)) * back


def _perturbed(g: Real, noise: Real, scale: float, expected: float) -> None:
    perturb(g, noise, scale, expected)


perturbed = jit_cached(_perturbed)
"""`perturb`, to be called from Python."""

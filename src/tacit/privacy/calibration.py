"""Calibration: the least noise with which a number of rounds stays within an epsilon."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import exp, inf, log

from tacit.privacy.accountant import COARSE, ROUGH, most
from tacit.privacy.event import Charges, Event, PoissonSampled, Truncated, charges

LEAST, MOST = log(1e-2), log(1e5)
"""Logarithms of the noise multipliers between which is searched."""
NEAR = 2e-4
"""Relative precision of a noise multiplier. It errs on the side of more noise."""
CLOSE, STEPS = 2e-3, 5
"""So near to its budget, relatively, a calibration is done; so many steps are made to come there."""


def noise_for(
    epsilon: float, event: Callable[[float], Event], rounds: int, delta: float, adjacency: str, before: Charges = ()
) -> float:
    """The noise multiplier z with which `rounds` events, after `before`, cost at most `epsilon`; infinite if none does.

    Args:
        epsilon: what may be spent.
        event: of one round, from its noise multiplier.
        rounds: how many.
        delta, adjacency: see `accountant.spent`.
        before: what was spent already.
    """

    @cache
    def excess(logarithm: float, interval: float) -> float:
        spent = [*before, (event(exp(logarithm)), rounds)]
        cost = most(charges(spent), delta, adjacency, interval=interval)
        return log(max(cost, 1e-9) / epsilon) if cost < inf else 50.0

    found = _root(lambda at: excess(at, ROUGH))
    if found in (inf, LEAST):
        return exp(found)
    # The rough grid asks for a little too much noise: one step along its slope, and back to the safe side.
    slope = min((excess(found + 0.01, ROUGH) - excess(found, ROUGH)) / 0.01, -0.1)
    better = excess(found, ROUGH / 2)
    if any(isinstance(e, PoissonSampled | Truncated) for e in (event(1.0), *(e for e, _ in before))):
        better -= (excess(found, ROUGH) - better) / 3  # the error of a grid falls with the square of its steps
    at = found - min(better, 0.0) / slope + NEAR
    for _ in range(STEPS):
        if excess(at, COARSE) > -CLOSE:
            break
        at -= excess(at, COARSE) / slope
    while (over := excess(at, COARSE)) > 0:
        at += NEAR - over / slope
    return exp(at)


def _root(excess: Callable[[float], float]) -> float:
    """Where a falling function becomes negative; `LEAST` where it is, everywhere, and infinity where it never is."""
    from scipy.optimize import brentq

    low = high = 0.0
    while excess(high) > 0:
        low, high = high, high + 1.0
        if high > MOST:
            return inf
    while excess(low) <= 0:
        low, high = low - 1.0, low
        if low < LEAST:
            return LEAST
    found: float = brentq(excess, low, high, xtol=NEAR)
    return found if excess(found) <= 0 else found + NEAR

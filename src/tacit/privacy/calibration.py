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
CLOSE, STEPS = 2e-3, 60
"""So near to its budget, relatively, a calibration is done; so many steps are made at most to come there."""
SECANTS = 5
"""Steps along a slope, before an interval in which the answer lies is halved: epsilon may leap to 0."""
ROOM = CLOSE / 4
"""What the first guess leaves free, for the error of the rough grid: mostly it then needs no second one."""
LEAP = 0.5
"""A step goes no farther, in logarithms: where delta alone pays for everything, epsilon falls to 0 at once."""
FIRST = 1e-2
"""Precision of the search on the rough grid, from which one step along the slope leads on."""


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
    slope = min((excess(found + FIRST, ROUGH) - excess(found, ROUGH)) / FIRST, -0.1)
    better, room = excess(found, ROUGH), NEAR
    if any(isinstance(e, PoissonSampled | Truncated) for e in (event(1.0), *(e for e, _ in before))):
        finer = excess(found, ROUGH / 2)
        better, room = finer - (better - finer) / 3, ROOM  # the error of a grid falls with the square of its steps
    return exp(_approached(lambda at: excess(at, COARSE), found - _leap((better + room) / slope), slope, room))


def _approached(excess: Callable[[float], float], at: float, slope: float, room: float) -> float:
    """Where a falling function is a little below 0, from a guess and its slope there; infinite if there is no such."""
    low, high, before = -inf, inf, None
    for step in range(STEPS):
        over = excess(at)
        low, high = (at, high) if over > 0 else (low, at)
        if -CLOSE < over <= 0 or high - low < NEAR:
            break
        if before is not None:
            slope = min((over - before[1]) / (at - before[0]), -0.1)
        before = at, over
        at -= _leap((over + room) / slope)
        if not low < at < high or (step >= SECANTS and high - low < inf):
            at = (low + high) / 2
    return high


def _leap(step: float) -> float:
    return max(-LEAP, min(step, LEAP))


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
    found: float = brentq(excess, low, high, xtol=FIRST)
    return found

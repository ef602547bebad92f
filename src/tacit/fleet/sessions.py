"""When phones charge, are idle and on an unmetered link: sessions by local hour, with heavy-tailed lengths.

A phone is asked to train only then ([Bonawitz19] arXiv:1902.01046, section 3). Most charge overnight, and some again by
day, for a short while. Fitted to one published figure, the swing of the number of phones that take part between the
hours of a day, fourfold in a population of few time zones ([Bonawitz19], section 9); the rest is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit import keys
from tacit.fleet.availability import DAY, Availability
from tacit.fleet.journey import HOUR

Float: TypeAlias = NDArray[np.float64]
Bool: TypeAlias = NDArray[np.bool_]

BLOCK = 4096
"""Phones drawn with one key: a phone's sessions do not depend on how many phones there are."""
LONGEST = 20.0
"""Hours of the longest session."""


@dataclass(frozen=True)
class Habit:
    """One session that a phone may have in a day.

    Attributes:
        chance: that it has it.
        hour: local hour around which it starts.
        spread: standard deviation of that hour.
        length: its median length in hours.
        tail: standard deviation of the logarithm of its length.
        idle: chance that nobody uses the phone meanwhile.
        unmetered: chance that it is on a home's network, for a phone that has one.
    """

    chance: float
    hour: float
    spread: float
    length: float
    tail: float
    idle: float
    unmetered: float


HABITS = (
    Habit(chance=0.68, hour=22.5, spread=2.0, length=7.0, tail=0.4, idle=0.9, unmetered=1.0),
    Habit(chance=0.55, hour=10.0, spread=3.0, length=2.0, tail=1.0, idle=0.7, unmetered=0.6),
    Habit(chance=0.7, hour=16.5, spread=3.0, length=2.0, tail=1.0, idle=0.7, unmetered=0.7),
)


def charging(
    seed: int, time_zone: Float, home: Bool, *, idle: bool = True, unmetered: bool = True, days: int = 7
) -> Availability:
    """The sessions of phones, repeated after `days`. What is demanded only removes sessions: the others stay.

    Args:
        seed: of the fleet.
        time_zone: (N,) hours ahead of UTC; virtual time 0 is midnight UTC.
        home: (N,) whether there is an unmetered network at home.
        idle: leave out sessions in which the phone is used.
        unmetered: leave out sessions on a metered link.
        days: in a period.

    Returns:
        Intervals in whole seconds.
    """
    blocks = []
    for lo in range(0, len(time_zone), BLOCK):
        part = slice(lo, lo + BLOCK)
        starts, stops = _sessions(seed, lo // BLOCK, time_zone[part], home[part], idle, unmetered, days)
        owners, on, off = _merged(starts, stops, days * DAY)
        blocks.append((owners + lo, on, off))
    owners, on, off = (np.concatenate([block[i] for block in blocks]) for i in range(3))
    return Availability.of_intervals(len(time_zone), owners, on, off, days * DAY)


def _sessions(
    seed: int, block: int, time_zone: Float, home: Bool, idle: bool, unmetered: bool, days: int
) -> tuple[Float, Float]:
    """Starts in the period and stops, (n, days * habits) seconds; those that do not take place are [inf, -inf)."""
    rng = keys.generator(seed, "fleet", "sessions", block)
    shape = (BLOCK, days, len(HABITS))
    comes, free, at_home = (rng.random(shape)[: len(home)] for _ in range(3))
    when, long = (rng.standard_normal(shape)[: len(home)] for _ in range(2))
    chance, hour, spread, length, tail, calm, network = (
        np.array([getattr(habit, name) for habit in HABITS]) for name in Habit.__dataclass_fields__
    )
    held = comes < chance
    held &= (free < calm) | (not idle)
    held &= ((at_home < network) & home[:, None, None]) | (not unmetered)
    local = 24.0 * np.arange(days)[:, None] + hour + spread * when
    starts = np.rint((local - time_zone[:, None, None]) * HOUR) % (days * DAY)
    lengths = np.rint(np.clip(length * np.exp(tail * long), 1 / 60, LONGEST) * HOUR)
    flat = (len(home), -1)
    return np.where(held, starts, np.inf).reshape(flat), np.where(held, starts + lengths, -np.inf).reshape(flat)


def _merged(starts: Float, stops: Float, period: float) -> tuple[NDArray[np.int64], Float, Float]:
    """Sessions of each row without overlap, in [0, period]: owners, starts and stops, (M,), ascending."""
    carried = stops.max(axis=1, keepdims=True) - period  # what reaches into the next period starts there at 0
    begins = np.where(carried > 0, 0.0, np.inf)
    starts = np.concatenate([begins, starts], axis=1)
    stops = np.concatenate([np.where(carried > 0, carried, -np.inf), np.minimum(stops, period)], axis=1)
    order = np.argsort(starts, axis=1)
    starts, stops = np.take_along_axis(starts, order, 1), np.take_along_axis(stops, order, 1)
    reach = np.maximum.accumulate(stops, axis=1)
    held = np.isfinite(starts)
    opens = held.copy()
    opens[:, 1:] &= starts[:, 1:] > reach[:, :-1]
    closes = held.copy()
    closes[:, :-1] &= opens[:, 1:] | ~held[:, 1:]
    return np.nonzero(opens)[0], starts[opens], reach[closes]

"""When each device can take part: intervals of time that repeat, searched without state.

A device is on in half-open intervals [start, stop) of a period, in seconds of virtual time, for ever. Every question is
a binary search on `t mod period`, for all devices at once: nothing is remembered between questions, so that virtual
time may jump over any number of intervals, and back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.errors import DataError, Problems

Float: TypeAlias = NDArray[np.float64]
Int: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]
Time: TypeAlias = "float | Float"
Ids: TypeAlias = "Sequence[int] | Int | None"

DAY = 86400.0
"""Seconds in a day."""
SHOWN = 100
"""Mistakes of one kind that are looked at."""
FEW = 50
"""Intervals per device up to which all of them are looked at, instead of searching."""
CHUNK = 1 << 15
"""Devices searched at a time, so that what is computed between stays in a processor's cache."""


@dataclass(frozen=True, eq=False)
class Availability:
    """The intervals of N devices, as columns; device i has those from `offsets[i]` to `offsets[i + 1]`.

    Made by `always` or `of_intervals`. The intervals of a device ascend and do not touch; the last may reach over the
    end of the period into the next one, and stops a whole period after its start if the device is always on.

    Attributes:
        starts: (M,) seconds in [0, period).
        stops: (M,) seconds, each above its start.
        offsets: (N + 1,) positions in both.
        period: seconds after which all repeats.

    Raises:
        DataError: columns that are not as said above.
    """

    starts: Float
    stops: Float
    offsets: Int
    period: float = DAY
    everybody: bool = field(init=False)
    """Whether every device is always on: then nothing is searched."""

    def __post_init__(self) -> None:
        for name, kind in (("starts", np.float64), ("stops", np.float64), ("offsets", np.int64)):
            column = np.array(getattr(self, name), kind)
            column.flags.writeable = False
            object.__setattr__(self, name, column)
        with Problems("the availability cannot be used", DataError) as problems:
            problems.extend(_problems(self))
        alone = bool((np.diff(self.offsets) == 1).all())
        object.__setattr__(self, "everybody", alone and bool((self.stops - self.starts >= self.period).all()))

    @staticmethod
    def always(count: int) -> Availability:
        """`count` devices that are always on."""
        return Availability(np.zeros(count), np.full(count, DAY), np.arange(count + 1))

    @staticmethod
    def of_intervals(count: int, owners: ArrayLike, starts: ArrayLike, stops: ArrayLike, period: float) -> Availability:
        """The intervals of `count` devices in any order. Those that touch are joined, over the period's end too.

        Args:
            count: N, how many devices there are.
            owners: (M,) whose interval it is: positions from 0 to N - 1.
            starts, stops: (M,) seconds, with 0 <= start < stop <= period.
            period: seconds after which all repeats.

        Raises:
            DataError: an owner, a start or a stop out of range, or two intervals of a device that overlap.
        """
        who, on, off = np.asarray(owners, np.int64), np.asarray(starts, np.float64), np.asarray(stops, np.float64)
        if not ((np.diff(who) > 0) | (np.diff(who) == 0) & (np.diff(on) > 0)).all():
            order = np.lexsort((on, who))
            who, on, off = who[order], on[order], off[order]
        with Problems("the intervals cannot be used", DataError) as problems:
            problems.extend(_wrong_intervals(count, who, on, off, period))
        same = who[1:] == who[:-1]
        touches = same & (on[1:] == off[:-1])
        first = np.concatenate([[True], ~touches])[: len(who)]
        last = np.concatenate([~touches, [True]])[-len(who) :] if len(who) else first
        return _wrapped(count, who[first], on[first], off[last], period)

    def __len__(self) -> int:
        """N, how many devices there are."""
        return len(self.offsets) - 1

    def take(self, ids: Int) -> Availability:
        """Only these devices, (K,) positions, in this order."""
        first, length = self.offsets[ids], self.offsets[np.asarray(ids) + 1] - self.offsets[ids]
        offsets = np.concatenate([[0], np.cumsum(length)])
        where = np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], length)
        return Availability(self.starts[where], self.stops[where], offsets, self.period)

    def available(self, ids: Ids, t: Time) -> Bool:
        """Who of `ids`, (K,) or None for all, is on at `t` seconds, one number or (K,)."""
        if ids is None and np.ndim(t) == 0 and len(self.starts) <= FEW * len(self):
            return np.ones(len(self), np.bool_) if self.everybody else self._scan(float(t))
        return self.until(ids, t) > t

    def until(self, ids: Ids, t: Time) -> Float:
        """When the interval stops in which each of `ids` is on at `t`, in seconds; `t` for those that are off.

        Args:
            ids: (K,) positions, or None for all.
            t: seconds, one number or (K,).

        Returns:
            (K,), infinite for devices that are always on.
        """
        now = self._times(ids, t)
        if self.everybody:
            return np.full(len(now), np.inf)
        return self._in_parts(self._until, ids, now)

    def next_on(self, ids: Ids, t: Time) -> Float:
        """The first time from `t` on at which each of `ids` is on: `t` itself for those that are; infinite for never.

        Args:
            ids: (K,) positions, or None for all.
            t: seconds, one number or (K,).

        Returns:
            (K,) seconds.
        """
        now = self._times(ids, t)
        if self.everybody:
            return np.array(now)
        return self._in_parts(self._next_on, ids, now)

    def share_on(self) -> Float:
        """The share of the period in which each device is on, (N,)."""
        total = np.concatenate([[0.0], np.cumsum(self.stops - self.starts)])
        share: Float = (total[self.offsets[1:]] - total[self.offsets[:-1]]) / self.period
        return share

    def _scan(self, now: float) -> Bool:
        """Who is on at one time: for all devices, looking at every interval is faster than searching for each."""
        cycle = np.floor(now / self.period) * self.period
        latest = now - cycle + 2.0 * np.spacing(now)
        on = np.empty(len(self), np.bool_)
        for lo in range(0, len(self), CHUNK):
            offsets = self.offsets[lo : lo + CHUNK + 1]
            part = slice(offsets[0], offsets[-1])
            stops = cycle + self.stops[part]
            held = np.zeros(len(stops) + 1, np.int64)
            np.cumsum((self.starts[part] <= latest) & (stops > now), out=held[1:])
            held = held[offsets - offsets[0]]
            some = offsets[1:] > offsets[:-1]
            begun = some.copy()  # in the period before, by the last interval
            begun[some] = cycle - self.period + self.stops[offsets[1:][some] - 1] > now
            on[lo : lo + CHUNK] = (held[1:] > held[:-1]) | begun
        return on

    def _times(self, ids: Ids, t: Time) -> Float:
        return np.broadcast_to(np.asarray(t, np.float64), (len(self) if ids is None else len(ids),))

    def _in_parts(self, ask: Callable[[slice | Int, Float], Float], ids: Ids, now: Float) -> Float:
        chosen = None if ids is None else np.asarray(ids, np.int64)
        answers = np.empty(len(now))
        for lo in range(0, len(now), CHUNK):
            part = slice(lo, min(lo + CHUNK, len(now)))
            answers[part] = ask(part if chosen is None else chosen[part], now[part])
        return answers

    def _until(self, who: slice | Int, now: Float) -> Float:
        first, end = self.offsets[:-1][who], self.offsets[1:][who]
        if not len(self.starts):
            return now
        cycle, after = self._search(first, end, now)
        none = after == first
        at = np.maximum(np.where(none, end, after) - 1, 0)
        # Before its first interval of the period, a device may still be in the last one of the period before.
        stop = cycle - none * self.period + self.stops[at]
        stop[self.stops[at] - self.starts[at] >= self.period] = np.inf
        return np.where((end > first) & (stop > now), stop, now)

    def _next_on(self, who: slice | Int, now: Float) -> Float:
        first, end = self.offsets[:-1][who], self.offsets[1:][who]
        if not len(self.starts):
            return np.full(len(now), np.inf)
        cycle, after = self._search(first, end, now)
        over = after == end
        coming = self.starts[np.minimum(np.where(over, first, after), len(self.starts) - 1)]
        begin = np.maximum(cycle + coming + over * self.period, now)
        return np.where(self._until(who, now) > now, now, np.where(end > first, begin, np.inf))

    def _search(self, first: Int, end: Int, now: Float) -> tuple[Float, Int]:
        """When the period of `now` began, and the first interval in it that starts after `now`: `end` for none.

        The interval before that is the only one that can hold `now`. The time at which an interval starts, as found by
        `next_on`, may be rounded down by a unit in the last place: it still belongs to the interval.
        """
        cycle = np.floor(now / self.period) * self.period
        return cycle, _first_above(self.starts, first, end, now - cycle + 2.0 * np.spacing(np.abs(now)))


def _first_above(values: Float, lo: Int, hi: Int, wanted: Float) -> Int:
    """For each k, the first position in [lo_k, hi_k) whose value is above wanted_k, or hi_k."""
    last = len(values) - 1
    for _ in range(int((hi - lo).max(initial=0)).bit_length()):
        middle = (lo + hi) >> 1
        up = (values[np.minimum(middle, last)] <= wanted) & (lo < hi)
        lo, hi = np.where(up, middle + 1, lo), np.where(up, hi, middle)
    return lo


def _wrapped(count: int, who: Int, on: Float, off: Float, period: float) -> Availability:
    """Joins a device's last interval, where it ends with the period, to one that starts with the period."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(who, minlength=count))]).astype(np.int64)
    some = np.flatnonzero(np.diff(offsets) > 0)
    first, last = offsets[some], offsets[some + 1] - 1
    joins = (on[first] == 0.0) & (off[last] == period) & (last > first)
    off = off.copy()
    off[last[joins]] += off[first[joins]]
    keep = np.ones(len(on), np.bool_)
    keep[first[joins]] = False
    fewer = np.zeros(count, np.int64)
    fewer[some[joins]] = 1
    offsets[1:] -= np.cumsum(fewer)
    return Availability(on[keep], off[keep], offsets, float(period))


def _wrong_intervals(count: int, who: Int, on: Float, off: Float, period: float) -> list[str]:
    outside = (who < 0) | (who >= count) | ~((on >= 0) & (on < off) & (off <= period))
    wrong = [
        f"interval from {on[i]:g} to {off[i]:g} of device {who[i]}: give a device from 0 to {count - 1} and "
        f"0 <= on < off <= {period:g} seconds"
        for i in np.flatnonzero(outside)[:SHOWN].tolist()
    ]
    overlaps = (who[1:] == who[:-1]) & (on[1:] < off[:-1])
    return wrong + [
        f"device {who[i]}: the interval from {on[i + 1]:g} starts before that from {on[i]:g} stops, at {off[i]:g}: "
        "join them"
        for i in np.flatnonzero(overlaps)[:SHOWN].tolist()
    ]


def _problems(table: Availability) -> list[str]:
    starts, stops, offsets, period = table.starts, table.stops, table.offsets, table.period
    if starts.ndim != 1 or starts.shape != stops.shape or offsets.ndim != 1 or not len(offsets):
        shapes = f"{starts.shape}, {stops.shape} and {offsets.shape}"
        return [f"starts, stops and offsets have shapes {shapes}: give (M,), (M,) and (N + 1,)"]
    if offsets[0] != 0 or offsets[-1] != len(starts) or (np.diff(offsets) < 0).any():
        return [f"offsets do not ascend from 0 to {len(starts)}: give the position of each device's first interval"]
    if not (np.isfinite(period) and period > 0):
        return [f"period is {period!r}: give a positive, finite number of seconds"]
    outside = ~((starts >= 0) & (starts < period) & (stops > starts) & (stops <= starts + period))
    found = [
        f"interval {i} is [{starts[i]:g}, {stops[i]:g}): give 0 <= start < {period:g}, and a stop above it, by one "
        "period at most"
        for i in np.flatnonzero(outside)[:SHOWN].tolist()
    ]
    return found + _meetings(starts, stops, offsets, period)


def _meetings(starts: Float, stops: Float, offsets: Int, period: float) -> list[str]:
    """Intervals of one device that overlap or touch, and last ones that run into the first."""
    inner = np.ones(max(len(starts) - 1, 0), np.bool_)
    inner[offsets[1:-1][(offsets[1:-1] > 0) & (offsets[1:-1] < len(starts))] - 1] = False
    found = [
        f"intervals {i} and {i + 1} of one device overlap or touch: join them"
        for i in np.flatnonzero(inner & (starts[1:] <= stops[:-1]))[:SHOWN].tolist()
    ]
    several = np.flatnonzero(np.diff(offsets) > 1)
    over = stops[offsets[several + 1] - 1] > starts[offsets[several]] + period
    return found + [f"device {i}: its last interval runs into its first: join them" for i in several[over][:SHOWN]]

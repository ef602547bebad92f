"""A fleet: the devices on which clients train, as a table of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import IntFlag
from functools import cached_property
from hashlib import sha256
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit import checks
from tacit.errors import DataError, Problems
from tacit.fleet.availability import Availability

Float: TypeAlias = NDArray[np.float64]
Int: TypeAlias = NDArray[np.int64]

REAL = ("seconds", "memory", "down", "up", "jitter", "time_zone", "dropout", "hazard")
RANGES = {
    "seconds": (0.0, np.inf, "give seconds above 0 for a unit of work"),
    "memory": (0.0, np.inf, "give megabytes above 0"),
    "down": (0.0, np.inf, "give bytes per second above 0"),
    "up": (0.0, np.inf, "give bytes per second above 0"),
    "jitter": (0.0, 3.0, "give the standard deviation of the logarithm of a transfer's time, from 0 to 3"),
    "time_zone": (-12.0, 14.0, "give hours ahead of UTC, from -12 to 14"),
    "dropout": (0.0, 1.0, "give the chance to fail in a round, from 0 to 1"),
    "hazard": (0.0, np.inf, "give failures per hour of taking part, from 0"),
}
"""Least and greatest value of a column. The first four may not be 0."""
POSITIVE = ("seconds", "memory", "down", "up")


class Flag(IntFlag):
    """What is true of a device for good, and may be asked for before it is chosen."""

    UNMETERED = 1
    """Bytes cost its owner nothing while it is available."""
    CHARGING = 2
    """It is on external power while it is available."""


@dataclass(frozen=True, eq=False)
class Fleet:
    """N devices. Made by `Fleet.of`, by a generator, or from a trace; immutable.

    A unit of work is one training example through a model of reference size. Which model that is, the profile says (in
    a trace, the one on which `ms_per_example` was measured); for one that costs c times as much, multiply the work
    given to the clock by c.

    Attributes:
        seconds: (N,) seconds per unit of work.
        memory: (N,) megabytes (10^6 bytes) free for training.
        down, up: (N,) bytes per second, in the median transfer.
        jitter: (N,) standard deviation of the logarithm of a transfer's time, a lognormal factor with median 1.
        time_zone: (N,) hours ahead of UTC.
        dropout: (N,) chance to fail in a round, however long it takes.
        hazard: (N,) further failures per hour of taking part.
        tier: (N,) whole numbers from 0, the tier with the fastest compute.
        flags: (N,) bits of `Flag`.
        version: (N,) of the participant's software, whole numbers from 0.
        availability: when each can take part.
        names: (N,) text, the client that each device belongs to; None where position is all that is known.

    Raises:
        DataError: columns of different lengths, or values out of range.
    """

    seconds: Float
    memory: Float
    down: Float
    up: Float
    jitter: Float
    time_zone: Float
    dropout: Float
    hazard: Float
    tier: Int
    flags: NDArray[np.uint8]
    version: Int
    availability: Availability
    names: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        for column in fields(self):
            value = getattr(self, column.name)
            if column.name == "availability" or value is None:
                continue
            object.__setattr__(self, column.name, _column(column.name, value))
        with Problems("the fleet cannot be used", DataError) as problems:
            problems.extend(_problems(self))

    @staticmethod
    def of(
        seconds: ArrayLike,
        *,
        memory: ArrayLike = 4000.0,
        down: ArrayLike = 1e6,
        up: ArrayLike = 1e6,
        jitter: ArrayLike = 0.0,
        time_zone: ArrayLike = 0.0,
        dropout: ArrayLike = 0.0,
        hazard: ArrayLike = 0.0,
        flags: ArrayLike = Flag.UNMETERED | Flag.CHARGING,
        version: ArrayLike = 0,
        tiers: int = 5,
        availability: Availability | None = None,
        names: Sequence[str] | NDArray[np.str_] | None = None,
    ) -> Fleet:
        """A fleet of these columns, each (N,) or one number for all.

        Args:
            seconds: (N,) seconds per unit of work.
            memory, down, up, jitter, time_zone, dropout, hazard, flags, version: as the attributes.
            tiers: how many tiers of equal size, by compute speed.
            availability: when each device can take part; always when None.
            names: the clients that the devices belong to.

        Raises:
            DataError: columns that are no numbers, do not fit each other, or are out of range.
        """
        with Problems("the fleet cannot be used", DataError) as problems:
            problems.extend(checks.count("tiers", tiers))
        speed = np.atleast_1d(_column("seconds", seconds))
        given = (memory, down, up, jitter, time_zone, dropout, hazard)
        columns: dict[str, Any] = {n: _spread(n, value, len(speed)) for n, value in zip(REAL[1:], given, strict=True)}
        return Fleet(
            speed,
            **columns,
            tier=tiers_of(speed, tiers),
            flags=_spread("flags", flags, len(speed)),
            version=_spread("version", version, len(speed)),
            availability=Availability.always(len(speed)) if availability is None else availability,
            names=None if names is None else _column("names", names),
        )

    def __len__(self) -> int:
        """N, how many devices there are."""
        return len(self.seconds)

    @property
    def tiers(self) -> int:
        """How many tiers there are."""
        return int(self.tier.max(initial=-1)) + 1

    def take(self, ids: ArrayLike) -> Fleet:
        """Only these devices, (K,) positions, in this order. They keep their tiers."""
        wanted = np.asarray(ids, np.int64)
        if wanted.ndim != 1 or ((wanted < 0) | (wanted >= len(self))).any():
            raise DataError(f"give positions from 0 to {len(self) - 1} of devices, as one vector")
        columns = {name: getattr(self, name)[wanted] for name in (*REAL, "tier", "flags", "version")}
        names = None if self.names is None else self.names[wanted]
        return Fleet(**columns, availability=self.availability.take(wanted), names=names)

    def aligned(self, clients: Sequence[str]) -> Fleet:
        """The devices of `clients`, in their order, by name: the fleet that fits a population.

        Raises:
            DataError: a fleet without names, or clients of whom it knows no device.
        """
        if self.names is None:
            raise DataError(f"the fleet has {len(self)} devices without names: give names, or match by position")
        place = {str(name): i for i, name in enumerate(self.names.tolist())}
        with Problems("the fleet does not fit the population", DataError) as problems:
            problems.extend(f"client {name!r} has no device" for name in clients if name not in place)
        return replace(self.take([place[name] for name in clients]), names=np.asarray(clients, np.str_))

    def has(self, flags: Flag) -> NDArray[np.bool_]:
        """Which devices have all of `flags`, (N,)."""
        has: NDArray[np.bool_] = (self.flags & int(flags)) == int(flags)
        return has

    @cached_property
    def digest(self) -> str:
        """By what a fleet is known again: 64 hexadecimal digits over all of its columns."""
        found = sha256()
        for name in (column.name for column in fields(self) if column.name not in ("availability", "names")):
            found.update(np.ascontiguousarray(getattr(self, name)).tobytes())
        when = self.availability
        for column in (when.starts, when.stops, when.offsets):
            found.update(np.ascontiguousarray(column).tobytes())
        names = [] if self.names is None else self.names.tolist()
        found.update(repr((len(self), when.period, names)).encode())
        return found.hexdigest()

    def describe(self) -> dict[str, Any]:
        """What there is in numbers, as JSON values: percentiles of each column, and shares of flags and versions."""
        rows: dict[str, Any] = {"devices": len(self), "tiers": self.tiers}
        named = {name: getattr(self, name) for name in REAL} | {"share_on": self.availability.share_on()}
        for name, column in named.items():
            at = np.percentile(column, [1, 10, 50, 90, 99])
            rows[name] = {f"p{p}": float(v) for p, v in zip((1, 10, 50, 90, 99), at, strict=True)}
        rows |= {str(flag.name).lower(): float(self.has(flag).mean()) for flag in Flag}
        versions, counts = np.unique(self.version, return_counts=True)
        shares = (counts / len(self)).tolist()
        return rows | {"version": {str(v): share for v, share in zip(versions.tolist(), shares, strict=True)}}


def tiers_of(seconds: Float, tiers: int) -> Int:
    """The tier of each device by its compute, (N,): equal shares, 0 the fastest. Equals may differ by one."""
    rank = np.empty(len(seconds), np.int64)
    rank[np.argsort(seconds, kind="stable")] = np.arange(len(seconds))
    return rank * min(tiers, max(len(seconds), 1)) // max(len(seconds), 1)


def _column(name: str, value: Any) -> NDArray[Any]:
    kind: Any = {"tier": np.int64, "flags": np.uint8, "version": np.int64, "names": np.str_}.get(name, np.float64)
    try:
        column = np.array(value, kind)
        if name == "version" and not np.array_equal(column, np.asarray(value)):
            raise ValueError("a fraction is none")
    except (TypeError, ValueError, OverflowError) as error:
        what = {"names": "text", "flags": "bits of Flag", "version": "whole numbers"}.get(name, "numbers")
        raise DataError(f"{name} cannot be read as {what} ({error})") from error
    column.flags.writeable = False
    return column


def _spread(name: str, value: Any, count: int) -> NDArray[Any]:
    column = _column(name, value)
    return np.full(count, column) if column.ndim == 0 else column


def _problems(fleet: Fleet) -> list[str]:
    count = len(fleet.seconds) if fleet.seconds.ndim == 1 else -1
    if count < 1:
        return [f"seconds has shape {fleet.seconds.shape}: give one number for each of at least one device"]
    found = []
    for name in (*REAL, "tier", "flags", "version", "names"):
        column = getattr(fleet, name)
        if column is not None and column.shape != (count,):
            found.append(f"{name} has shape {column.shape}, and seconds ({count},): give one value for each device")
        elif name in RANGES:
            found.extend(_outside(name, column))
    if len(fleet.availability) != count:
        found.append(f"the availability is of {len(fleet.availability)} devices, and the fleet has {count}")
    if (fleet.tier < 0).any():
        found.append(f"tier {int(fleet.tier.min())} is below 0: give whole numbers from 0, the fastest")
    odd = np.flatnonzero((fleet.version < 0) | (fleet.version > checks.MOST))
    if len(odd):
        at = fleet.version.flat[odd[0]]
        found.append(f"version of device {odd[0]} is {at}: give whole numbers from 0 to {checks.MOST:,}")
    if fleet.names is not None and len(np.unique(fleet.names)) != len(fleet.names):
        found.append("two devices have one name: give every client one device")
    return found


def _outside(name: str, column: Float) -> list[str]:
    least, most, remedy = RANGES[name]
    good = np.isfinite(column) & (column <= most) & ((column > least) if name in POSITIVE else (column >= least))
    bad = np.flatnonzero(~good)
    if not len(bad):
        return []
    others = f", and {len(bad) - 1} others" if len(bad) > 1 else ""
    return [f"{name} of device {bad[0]} is {column[bad[0]]:g}{others}: {remedy}"]

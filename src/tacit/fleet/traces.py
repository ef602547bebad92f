"""Fleets from and to files: profiles of real devices, and the sessions in which they can take part.

Profiles have the columns `id`, `ms_per_example`, `down_kbps`, `up_kbps`, and may have `memory_mb`, `jitter`,
`time_zone`, `hazard`, `dropout`, `unmetered` and `charging` (1 or 0), and `version` (whole numbers). Sessions have
`id`, `on` and `off`, in seconds of virtual time within a period that repeats.

- .csv: one table with a header line in each file;
- .json: `{"period": ..., "devices": [{...}, ...], "sessions": [{...}, ...]}`;
- .npz: one vector for each column of the profiles, and `sessions_id`, `sessions_on`, `sessions_off`, `period`.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit import checks
from tacit.checks import MOST
from tacit.errors import DataError, Problems, StorageError, UsageError
from tacit.fleet.availability import DAY, Availability
from tacit.fleet.device import POSITIVE, RANGES, Flag, Fleet
from tacit.fleet.tables import Table, read_tables

TABLES = ("devices", "sessions")
REQUIRED = ("id", "ms_per_example", "down_kbps", "up_kbps")
COLUMNS = {
    "ms_per_example": ("seconds", 1e-3, 0.0),
    "memory_mb": ("memory", 1.0, 4000.0),
    "down_kbps": ("down", 125.0, 0.0),
    "up_kbps": ("up", 125.0, 0.0),
    "jitter": ("jitter", 1.0, 0.0),
    "time_zone": ("time_zone", 1.0, 0.0),
    "hazard": ("hazard", 1.0, 0.0),
    "dropout": ("dropout", 1.0, 0.0),
}
"""Of each column of a file: the fleet's, what one of its units is in the fleet's, and what stands in its absence."""
FLAGS = {"unmetered": Flag.UNMETERED, "charging": Flag.CHARGING}
VERSION = "version"
SESSIONS = ("id", "on", "off")


def read(
    profiles: str | os.PathLike[str],
    sessions: str | os.PathLike[str] | None = None,
    *,
    period: float | None = None,
    tiers: int = 5,
) -> Fleet:
    """A fleet from files.

    Args:
        profiles: a .csv, .json or .npz file with a row for each device.
        sessions: a .csv file with a row for each session; those of the other formats are in the same file. Without
            sessions, devices are always on; with them, a device that has none is never on.
        period: seconds after which sessions repeat; what the file states, or whole days that hold all, when None.
        tiers: how many tiers the devices are put into, by compute.

    Returns:
        The fleet, with the `id`s as names.

    Raises:
        DataError: a file that cannot be read, or all of its mistakes, with their lines.
        UsageError: arguments out of range.
    """
    with Problems("the fleet cannot be read", UsageError) as problems:
        problems.check(checks.is_path(profiles), f"profiles is {profiles!r}: {checks.PATH}")
        problems.check(sessions is None or checks.is_path(sessions), f"sessions is {sessions!r}: {checks.PATH}")
        problems.extend([] if period is None else checks.positive("period", period, " number of seconds"))
        problems.extend(checks.count("tiers", tiers))
    tables, stated = read_tables(Path(profiles), TABLES[0], TABLES)
    if sessions is not None:
        extra, other = read_tables(Path(sessions), TABLES[1], TABLES)
        tables, stated = tables | {TABLES[1]: extra.get(TABLES[1], Table(Path(sessions), {}, str))}, other or stated
    if TABLES[0] not in tables or not len(tables[TABLES[0]]):
        raise DataError(f"{profiles} holds no devices: give a row for each, with {', '.join(REQUIRED)}")
    columns, names = _profiles(tables[TABLES[0]])
    availability = None
    if TABLES[1] in tables:
        availability = _sessions(tables[TABLES[1]], names, period if period is not None else stated)
    return Fleet.of(**columns, names=names, availability=availability, tiers=tiers)


def write(fleet: Fleet, profiles: str | os.PathLike[str], sessions: str | os.PathLike[str] | None = None) -> None:
    """Writes a fleet to files that `read` reads; devices without names are called by their position.

    Args:
        fleet: the devices.
        profiles: a .csv, .json or .npz file.
        sessions: a .csv file for the sessions, if `profiles` is one and they are to be kept.

    Raises:
        UsageError: another ending, or sessions in a file of their own where there is no need of one.
        StorageError: a file that cannot be written.
    """
    kinds = [Path(path).suffix.lower() for path in (profiles, sessions) if path is not None]
    if kinds not in ([".json"], [".npz"], [".csv"], [".csv", ".csv"]):
        raise UsageError(f"cannot write {kinds}: give one .json or .npz file, or one or two .csv files")
    devices, on = _devices(fleet), _intervals(fleet)
    always = fleet.availability.everybody
    try:
        if kinds[0] == ".npz":
            parts: dict[str, Any] = {} if always else {f"sessions_{key}": column for key, column in on.items()}
            parts |= devices | {"period": np.float64(fleet.availability.period)}
            np.savez(profiles, **parts)
        elif kinds[0] == ".json":
            content: dict[str, Any] = {"period": fleet.availability.period, "devices": _rows(devices)}
            Path(profiles).write_text(json.dumps(content | ({} if always else {"sessions": _rows(on)})), "utf-8")
        else:
            _write_csv(Path(profiles), devices)
            if sessions is not None:
                _write_csv(Path(sessions), on)
    except OSError as error:
        raise StorageError(f"the fleet cannot be written: {error}") from error


def _profiles(table: Table) -> tuple[dict[str, Any], list[str]]:
    known = {"id", VERSION, *COLUMNS, *FLAGS}
    with Problems(f"{table.file} cannot be used", DataError) as problems:
        problems.extend(f"column {name} is missing" for name in REQUIRED if name not in table.columns)
        unknown = [name for name in table.columns if name not in known]
        problems.extend(f"column {name!r} is unknown: give some of {', '.join(sorted(known))}" for name in unknown)
    columns: dict[str, Any] = {}
    with Problems(f"{table.file} cannot be used", DataError) as problems:
        for name, (column, unit, absent) in COLUMNS.items():
            columns[column] = absent
            if name in table.columns:
                columns[column] = _ranged(table, name, RANGES[column], unit, problems) * unit
        flags, version = _flags(table, problems), _versions(table, problems)
        names = _names(table, problems)
    return columns | {"flags": flags, "version": version.astype(np.int64)}, names


def _flags(table: Table, problems: Problems) -> NDArray[np.uint8]:
    flags = np.zeros(len(table), np.uint8)
    for name, flag in FLAGS.items():
        given = table.numbers(name, problems) if name in table.columns else np.ones(len(table))
        wrong = np.flatnonzero(~np.isin(given, (0.0, 1.0)) & ~np.isnan(given))
        problems.extend(f"{table.where(i)}: {name} is {given[i]:g}: give 1 or 0" for i in wrong.tolist())
        flags |= np.where(given == 1, int(flag), 0).astype(np.uint8)
    return flags


def _versions(table: Table, problems: Problems) -> NDArray[np.float64]:
    given = table.numbers(VERSION, problems) if VERSION in table.columns else np.zeros(len(table))
    wrong = np.flatnonzero(~((given >= 0) & (given <= MOST) & (given == np.floor(given))) & ~np.isnan(given))
    problems.extend(
        f"{table.where(i)}: {VERSION} is {given[i]:g}: give a whole number from 0 to {MOST:,}" for i in wrong.tolist()
    )
    return given


def _names(table: Table, problems: Problems) -> list[str]:
    names = table.texts("id")
    seen: dict[str, int] = {}
    for i, name in enumerate(names):
        if not name:
            problems.add(f"{table.where(i)}: id is empty: name the client")
        elif seen.setdefault(name, i) != i:
            problems.add(f"{table.where(i)}: id {name!r} is in {table.where(seen[name])} already: give it one device")
    return names


def _ranged(
    table: Table, name: str, limits: tuple[float, float, str], unit: float, problems: Problems
) -> NDArray[np.float64]:
    least, most, _ = limits
    values = table.numbers(name, problems)
    above = COLUMNS[name][0] in POSITIVE
    good = np.isfinite(values * unit) & (values <= most) & ((values > least) if above else (values >= least))
    remedy = "a finite number above 0" if above else f"a finite number from {least:g}"
    remedy += f" to {most:g}" if isfinite(most) else ""
    for i in np.flatnonzero(~good & ~np.isnan(values)).tolist():
        problems.add(f"{table.where(i)}: {name} is {values[i]:g}: give {remedy}")
    return values


def _sessions(table: Table, names: Sequence[str], period: float | None) -> Availability:
    place = {name: i for i, name in enumerate(names)}
    with Problems(f"{table.file} cannot be used", DataError) as problems:
        missing = [name for name in SESSIONS if name not in table.columns]
        problems.extend(f"column {name} is missing" for name in (missing if table.columns else ()))
        problems.check(period is None or period > 0, f"period is {period}: give a positive number of seconds")
    if not len(table):
        return Availability(np.zeros(0), np.zeros(0), np.zeros(len(names) + 1, np.int64), period or DAY)
    with Problems(f"{table.file} cannot be used", DataError) as problems:
        on, off = table.numbers("on", problems), table.numbers("off", problems)
        whose = table.texts("id")
        owners = np.array([place.get(name, -1) for name in whose], np.int64)
        for i in np.flatnonzero(owners < 0).tolist():
            problems.add(f"{table.where(i)}: id {whose[i]!r} is no device: give it a profile")
        finite = off[np.isfinite(off)]
        length = period or max(ceil(float(finite.max(initial=0.0)) / DAY), 1) * DAY
        for i in np.flatnonzero(~((on >= 0) & (on < off) & (off <= length)) & ~np.isnan(on + off)).tolist():
            problems.add(f"{table.where(i)}: on {on[i]:g}, off {off[i]:g}: give 0 <= on < off <= {length:g} seconds")
        order = np.lexsort((on, owners))
        before, after = order[:-1], order[1:]
        clash = (owners[before] == owners[after]) & (on[after] < off[before]) & (owners[after] >= 0)
        for i, j in zip(after[clash].tolist(), before[clash].tolist(), strict=True):
            problems.add(f"{table.where(i)}: overlaps with {table.where(j)}: join them")
    return Availability.of_intervals(len(names), owners, on, off, length)


def _devices(fleet: Fleet) -> dict[str, NDArray[Any]]:
    names = np.arange(len(fleet)).astype(str) if fleet.names is None else fleet.names
    columns = {name: getattr(fleet, column) / unit for name, (column, unit, _) in COLUMNS.items()}
    flags = {name: fleet.has(flag).astype(np.int64) for name, flag in FLAGS.items()}
    return {"id": names, **columns, **flags, VERSION: fleet.version}


def _intervals(fleet: Fleet) -> dict[str, NDArray[Any]]:
    """The sessions as columns, those over the end of the period in two parts."""
    table = fleet.availability
    names = np.arange(len(fleet)).astype(str) if fleet.names is None else fleet.names
    owners = np.repeat(np.arange(len(fleet)), np.diff(table.offsets))
    over = table.stops > table.period
    on = np.concatenate([table.starts, np.zeros(int(over.sum()))])
    off = np.concatenate([np.minimum(table.stops, table.period), table.stops[over] - table.period])
    who = np.concatenate([owners, owners[over]])
    order = np.lexsort((on, who))
    return {"id": names[who[order]], "on": on[order], "off": off[order]}


def _rows(columns: dict[str, NDArray[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*(c.tolist() for c in columns.values()), strict=True)]


def _write_csv(file: Path, columns: dict[str, NDArray[Any]]) -> None:
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))

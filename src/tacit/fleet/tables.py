"""Tables of a trace as they lie in CSV, JSON and npz files: columns of values, and where each row stands.

Nothing is unpickled, and no size that a file claims is believed beyond what the file holds.
"""

from __future__ import annotations

import csv
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.checks import is_number
from tacit.errors import DataError, Problems

DEFLATE_LIMIT = 1032
"""Bytes that deflate can make of one."""
UNREADABLE = (OSError, EOFError, ValueError, RecursionError, RuntimeError, csv.Error, zipfile.BadZipFile, zlib.error)
VERSIONS = ((1, 0), (2, 0))


@dataclass(frozen=True)
class Table:
    """Columns of equal length.

    Attributes:
        file: where it was read.
        columns: by name, each a list or an array of raw values.
        where: says where a row stands in the file: "line 7".
    """

    file: Path
    columns: dict[str, Sequence[Any] | NDArray[Any]]
    where: Callable[[int], str]

    def __len__(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), ()))

    def texts(self, name: str) -> list[str]:
        """A column as text."""
        return [str(value) for value in self.columns[name]]

    def numbers(self, name: str, problems: Problems) -> NDArray[np.float64]:
        """A column as numbers, NaN where there is none, which is a problem each."""
        raw = self.columns[name]
        if isinstance(raw, np.ndarray) and raw.dtype.kind in "iuf":
            values = raw.astype(np.float64)
        else:
            values = np.array([_number(value) for value in raw], np.float64)
        problems.extend(
            f"{self.where(i)}: {name} is {str(raw[i])!r}: give a number"
            for i in np.flatnonzero(np.isnan(values)).tolist()
        )
        return values


def read_tables(file: Path, kind: str, names: Sequence[str]) -> tuple[dict[str, Table], float | None]:
    """The tables of a file, and the period in seconds that it states.

    Args:
        file: a .csv file holds one table, .json and .npz files all of them.
        kind: the table that a .csv file holds.
        names: of the tables to read from the others, in the first of which the columns of npz files have no prefix.

    Raises:
        DataError: the file cannot be read.
    """
    readers = {".csv": _read_csv, ".json": _read_json, ".npz": _read_npz}
    if file.suffix.lower() not in readers:
        raise DataError(f"{file} is none of {', '.join(readers)}: convert it to one of them")
    try:
        return readers[file.suffix.lower()](file, kind, names)
    except DataError:
        raise
    except UNREADABLE as error:
        raise DataError(f"{file} cannot be read: {error}") from error


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return np.nan
    return float(value) if is_number(value) else np.nan


def _read_csv(file: Path, kind: str, names: Sequence[str]) -> tuple[dict[str, Table], float | None]:
    with (
        file.open(newline="", encoding="utf-8-sig") as stream,
        Problems(f"{file} cannot be used", DataError) as problems,
    ):
        reader = csv.reader(stream)
        header = [name.strip() for name in next(reader, [])]
        rows, lines = [], []
        for row in reader:
            if not row:
                continue
            if problems.check(
                len(row) == len(header), f"line {reader.line_num}: {len(row)} values for {len(header)} columns"
            ):
                rows.append(row)
                lines.append(reader.line_num)
        problems.check(len(set(header)) == len(header), f"line 1: a column is named twice: {', '.join(header)}")
    columns: dict[str, Any] = {name: [row[i].strip() for row in rows] for i, name in enumerate(header)}
    return {kind: Table(file, columns, lambda i: f"line {lines[i]}")}, None


def _read_json(file: Path, kind: str, names: Sequence[str]) -> tuple[dict[str, Table], float | None]:
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not set(content) <= {*names, "period"}:
        raise DataError(f"{file} cannot be used: give an object with {', '.join(names)} and period")
    tables = {}
    with Problems(f"{file} cannot be used", DataError) as problems:
        period = content.get("period")
        problems.check(period is None or is_number(period), f"period is {period!r}: give a number of seconds")
        for name in names:
            rows = content.get(name)
            if rows is None:
                continue
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                problems.add(f"{name} is not a list of objects")
                continue
            header = list(rows[0]) if rows else []
            wrong = [i for i, row in enumerate(rows) if set(row) != set(header)]
            problems.extend(f"{name}[{i}] has other fields than {name}[0]: {', '.join(header)}" for i in wrong)
            if not wrong:
                tables[name] = Table(file, {key: [row[key] for row in rows] for key in header}, _entry(name))
    return tables, period


def _entry(name: str) -> Callable[[int], str]:
    return lambda i: f"{name}[{i}]"


def _read_npz(file: Path, kind: str, names: Sequence[str]) -> tuple[dict[str, Table], float | None]:
    with zipfile.ZipFile(file) as archive:
        arrays = {
            member.filename.removesuffix(".npy"): _array(archive, member, file.stat().st_size)
            for member in archive.infolist()
        }
    period = arrays.pop("period", None)
    tables: dict[str, Table] = {}
    with Problems(f"{file} cannot be used", DataError) as problems:
        if period is not None and not problems.check(
            period.size == 1 and period.dtype.kind in "iuf", "period is not one number"
        ):
            period = None
        for name in reversed(names):  # those with a prefix first
            prefix = "" if name == names[0] else f"{name}_"
            mine = [key for key in arrays if key.startswith(prefix)]
            columns: dict[str, Any] = {key.removeprefix(prefix): arrays.pop(key) for key in mine}
            shapes = {column.shape for column in columns.values()}
            if columns and problems.check(
                len(shapes) == 1 and len(next(iter(shapes))) == 1,
                f"the arrays of {name} have shapes {sorted(shapes)}: give vectors of one length",
            ):
                tables[name] = Table(file, columns, _entry(name))
    return tables, None if period is None else float(period.reshape(-1)[0])


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> NDArray[Any]:
    if member.compress_size > size or member.file_size > DEFLATE_LIMIT * (member.compress_size + 1):
        raise ValueError(f"{member.filename} claims {member.file_size} bytes in a file of {size}")
    data = archive.read(member)
    stream = BytesIO(data)
    version = np.lib.format.read_magic(stream)
    if version not in VERSIONS:
        raise ValueError(f"{member.filename} is in version {version} of the format; 1.0 and 2.0 are read")
    header = np.lib.format.read_array_header_1_0 if version == VERSIONS[0] else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = header(stream)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects, which are never unpickled")
    flat = np.frombuffer(data, dtype, offset=stream.tell()) if stream.tell() < len(data) else np.zeros(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")

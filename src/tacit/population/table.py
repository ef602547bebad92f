"""A population from one table: CSV, TSV or Parquet, also compressed, or a DataFrame; a row an example."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from numbers import Real
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from tacit.checks import PATH, is_path
from tacit.errors import DataError, Problems, UsageError
from tacit.population.arrays import ArrayPopulation
from tacit.population.population import Int, as_tensor, checked_ids, some

SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
# What stands for a missing value in a delimited file, except in the column of clients.
MISSING = ["", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "NULL", "null", "None"]
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zip": "zip", ".xz": "xz", ".zst": "zstd"}
UNREADABLE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, RuntimeError)


@dataclass(frozen=True)
class Roles:
    """Which column plays which part.

    Attributes:
        client: whose row it is.
        targets: to predict.
        features: to predict from; None for all others.
        single: the target was one name and not a list of one, so y has shape (n,).
    """

    client: str
    targets: tuple[str, ...]
    features: tuple[str, ...] | None
    single: bool

    def among(self, columns: Sequence[str]) -> Roles:
        """These roles, the features named, in a table with `columns`.

        Raises:
            DataError: columns that are missing, repeated, or have two roles.
        """
        rest = tuple(c for c in columns if c != self.client and c not in self.targets)
        features = rest if self.features is None else self.features
        wanted = (self.client, *self.targets, *features)
        with Problems("the columns do not fit the table", DataError) as problems:
            absent = [c for c in dict.fromkeys(wanted) if c not in columns]
            problems.extend(f"there is no column {c!r}{_hint(c, columns)}" for c in absent)
            twice = [c for c in dict.fromkeys(wanted) if list(columns).count(c) > 1]
            problems.check(not twice, f"the table has several columns named {some(twice)}: rename them")
            both = [c for c in dict.fromkeys(wanted) if wanted.count(c) > 1]
            problems.check(not both, f"columns {some(both)} are named more than once: one as client, target or feature")
            problems.check(bool(self.targets), "no target is named: give at least one column to predict")
            problems.check(bool(features), "no column is left as a feature: give at least one")
        return Roles(self.client, self.targets, tuple(features), self.single)

    @property
    def columns(self) -> list[str]:
        """Every column that is needed."""
        return [self.client, *self.targets, *(self.features or ())]


def population_of(
    table: str | Path | pd.DataFrame, *, client: str, target: str | Sequence[str], features: Sequence[str] | None
) -> ArrayPopulation:
    """See `Population.from_table`."""
    targets, named = _names(target), None if features is None else _names(features)
    with Problems("no population can be built", UsageError) as problems:
        known = is_path(table) or isinstance(table, pd.DataFrame)
        problems.check(known, f"the table is a {type(table).__name__}: {PATH}, or a pandas DataFrame")
        problems.check(_is_name(client), f"client is {client!r}: give the name of one column")
        for role, given, names in (("target", target, targets), ("features", features, named)):
            good = names is not None or (role == "features" and given is None)
            problems.check(good, f"{role} is {given!r}: give the name of a column, or a list of names")
    roles = Roles(client, targets or (), named, single=isinstance(target, str))
    if isinstance(table, pd.DataFrame):
        roles, frame = roles.among(list(table.columns)), table
    else:
        roles, frame = _read(Path(table), roles)
    title = "the table" if isinstance(table, pd.DataFrame) else repr(str(table))
    return _Converter(frame, roles).population(f"no population can be built from {title}")


def _names(given: Any) -> tuple[str, ...] | None:
    """The columns that are meant by one name or several; None where it is neither."""
    if isinstance(given, str):
        return (given,)
    names = tuple(given) if isinstance(given, Iterable) else (None,)
    return names if all(map(_is_name, names)) else None


def _is_name(name: Any) -> bool:
    return name is not None and isinstance(name, Hashable)


class _Converter:
    """Turns the columns of one frame into tensors, collecting what is wrong with them."""

    def __init__(self, frame: pd.DataFrame, roles: Roles) -> None:
        self.frame, self.roles = frame, roles
        self.classes: tuple[str, ...] | None = None
        self.clients = frame[roles.client]

    def population(self, title: str) -> ArrayPopulation:
        with Problems(title, DataError) as problems:
            if not problems.check(len(self.frame) > 0, "it has no rows: give at least one example"):
                problems.raise_if_any()
            blank = self._blank_clients()
            if blank.any():
                problems.add(f"column {self.roles.client!r} names no client in {_rows(blank)}: drop or name them")
            x = [self._number(c, "feature", problems) for c in self.roles.features or ()]
            y = self._targets(problems)
            try:
                codes, values = pd.factorize(self.clients)
            except TypeError as error:
                problems.add(f"column {self.roles.client!r} names no clients ({error}): give text or numbers in it")
                problems.raise_if_any()
            ids = checked_ids(list(values), problems)
        order = np.argsort(codes, kind="stable").astype(np.int64)
        sizes = np.bincount(codes, minlength=len(ids)).astype(np.int64)
        wide = np.result_type(np.float32, *(column.dtype for column in x))
        inputs = torch.from_numpy(np.stack(x, axis=1, dtype=wide))
        return ArrayPopulation.gathered(ids, inputs, as_tensor(y), order, sizes, self.classes)

    def _blank_clients(self) -> NDArray[np.bool_]:
        return (self.clients.isna() | self.clients.isin([""])).to_numpy(dtype=bool)

    def _targets(self, problems: Problems) -> NDArray[Any]:
        """y: (n,) for a single target, (n, columns) for several."""
        first = self.frame[self.roles.targets[0]]
        if len(self.roles.targets) == 1 and _is_nominal(first):
            y = self._class_numbers(first, problems)
            return y if self.roles.single else y[:, None]
        columns = [self._number(c, "target", problems) for c in self.roles.targets]
        return columns[0] if self.roles.single else np.stack(columns, axis=1)

    def _class_numbers(self, column: pd.Series[Any], problems: Problems) -> Int:
        """(n,) numbers 0 .. C - 1 of the classes in sorted order."""
        self._report_missing(column, "target", problems)
        # Both truth values are classes even where the table holds one of them.
        values = [False, True] if pd.api.types.is_bool_dtype(column) else list(column.dropna().unique())
        try:
            values = sorted(values)
        except TypeError:
            values = sorted(values, key=str)
        self.classes = tuple(str(v) for v in values)
        return pd.Categorical(column.astype(object), categories=values).codes.astype(np.int64)

    def _number(self, name: str, role: str, problems: Problems) -> NDArray[Any]:
        """(n,) one numeric column; zeros where it was reported instead."""
        column = self.frame[name]
        if not _is_numeric(column):
            problems.add(_not_numbers(column, role))
            self._report_missing(column, role, problems)
            return np.zeros(len(column), dtype=np.float32)
        if self._report_missing(column, role, problems):
            return np.zeros(len(column), dtype=np.float32)
        values = column.to_numpy(dtype=_storage(column.dtype))
        infinite = ~np.isfinite(values)
        if infinite.any():
            where = f"{_rows(infinite)} {self._owners(infinite)}"
            problems.add(f"{role} {name!r} is infinite in {where}: replace or drop them")
        return values

    def _report_missing(self, column: pd.Series[Any], role: str, problems: Problems) -> bool:
        missing = column.isna().to_numpy(dtype=bool)
        if missing.any():
            where = f"{_rows(missing)} {self._owners(missing)}"
            problems.add(f"{role} {column.name!r} is missing (empty or NaN) in {where}: fill or drop them")
        return bool(missing.any())

    def _owners(self, rows: NDArray[np.bool_]) -> str:
        names = [str(c) for c in self.clients[rows].dropna().unique()]
        return f"of client{'s' if len(names) > 1 else ''} {some(names)}"


def _storage(dtype: Any) -> np.dtype[Any]:
    """The NumPy type of a numeric column of any pandas type; decimals become float64."""
    if dtype.kind == "b":
        return np.dtype(np.bool_)
    return np.dtype(f"{dtype.kind}{dtype.itemsize}") if dtype.kind in "iuf" else np.dtype(np.float64)


def _is_nominal(column: pd.Series[Any]) -> bool:
    """Whether a target names classes: text, categories or truth values."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return True
    return pd.api.types.is_string_dtype(dtype) and not _is_numbers(column)


def _is_numeric(column: pd.Series[Any]) -> bool:
    kinds = pd.api.types
    numeric = kinds.is_numeric_dtype(column) or kinds.is_bool_dtype(column) or _is_numbers(column)
    return numeric and not kinds.is_complex_dtype(column) and not isinstance(column.dtype, pd.CategoricalDtype)


def _is_numbers(column: pd.Series[Any]) -> bool:
    """Whether a column of Python objects holds numbers alone (decimals of a Parquet file, say)."""
    return column.dtype == object and all(isinstance(v, Real | Decimal) for v in column.dropna())


def _not_numbers(column: pd.Series[Any], role: str) -> str:
    texts = column.dropna().astype(str)
    bad = texts[pd.to_numeric(texts, errors="coerce").isna()]
    shown = some(list(bad.unique()) if len(bad) else list(texts.unique()))
    count = f"{len(bad)} of {len(column)} values" if len(bad) else f"values of type {column.dtype}"
    return f"{role} {column.name!r} holds {count} that are not numbers ({shown}): encode it as numbers, or leave it out"


def _rows(mask: NDArray[np.bool_]) -> str:
    count = int(mask.sum())
    first = int(np.argmax(mask)) + 1
    return f"row {first}" if count == 1 else f"{count} rows (the first is row {first})"


def _hint(column: str, columns: Sequence[str]) -> str:
    folded = {str(c).casefold(): str(c) for c in columns}
    near = get_close_matches(str(column).casefold(), folded, n=1)
    if near:
        return f": did you mean {folded[near[0]]!r}?"
    if len(columns) == 1 and any(sign in str(columns[0]) for sign in ";\t|"):
        return (
            f": the only one is {columns[0]!r}, so another separator seems to be used; "
            "read the file with pandas.read_csv(path, sep=...) and give the frame"
        )
    return f": the table has {some(list(columns))}"


def _read(path: Path, roles: Roles) -> tuple[Roles, pd.DataFrame]:
    """The columns that are needed of a file, by its extension, and their roles."""
    suffixes = [s.lower() for s in path.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1]) if suffixes else None
    kind = (suffixes[:-1] if compression else suffixes)[-1:]
    known = kind and (kind[0] in SEPARATORS or (kind[0] in PARQUET and not compression))
    if not known:
        raise DataError(
            f"{str(path)!r} has no extension of a table: give {', '.join([*SEPARATORS, *PARQUET])}, "
            f"the first ones also with {', '.join(COMPRESSIONS)}, or a DataFrame"
        )
    if not path.is_file():
        raise DataError(f"{str(path)!r} is not a file: check the path")
    try:
        if kind[0] in PARQUET:
            return _read_parquet(path, roles)
        return _read_text(path, SEPARATORS[kind[0]], compression, roles)
    except pd.errors.EmptyDataError:
        raise DataError(f"{str(path)!r} is empty: give a table with a line of column names") from None
    except UNREADABLE as error:
        reason = str(error).strip()
        raise DataError(f"{str(path)!r} cannot be read: {reason}; it may be truncated, or of another kind") from error


def _read_parquet(path: Path, roles: Roles) -> tuple[Roles, pd.DataFrame]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        roles = roles.among(file.schema_arrow.names)
        return roles, file.read(columns=roles.columns).to_pandas()


def _read_text(path: Path, separator: str, compression: str | None, roles: Roles) -> tuple[Roles, pd.DataFrame]:
    """Reads a delimited file. Client ids stay as they are written ("007", "NA")."""
    with _opened(path, compression) as source:
        header = pd.read_csv(source, sep=separator, header=None, nrows=1, dtype=str, keep_default_na=False)
    roles = roles.among([str(name) for name in header.iloc[0]])
    with _opened(path, compression) as source:
        # Naming the columns to use would make pandas accept rows with too many fields.
        frame = pd.read_csv(
            source,
            sep=separator,
            dtype={roles.client: str},
            na_values={column: MISSING for column in roles.columns if column != roles.client},
            keep_default_na=False,
            low_memory=False,
        )
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError(f"its rows have more fields than the {header.shape[1]} names in its first line")
    return roles, frame[roles.columns]


def _opened(path: Path, compression: str | None) -> AbstractContextManager[Any]:
    """The decompressed file, which pandas and pyarrow read as a stream."""
    if compression == "zstd":
        import pyarrow

        return cast("AbstractContextManager[Any]", pyarrow.input_stream(str(path), compression="zstd"))
    if compression == "zip":
        return _only_member(path)
    if compression is None:
        return nullcontext(path)
    openers: dict[str, Callable[[Path], Any]] = {"gzip": gzip.open, "bz2": bz2.open, "xz": lzma.open}
    return cast("AbstractContextManager[Any]", openers[compression](path))


def _only_member(path: Path) -> AbstractContextManager[Any]:
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/") and not n.startswith("__MACOSX/")]
        if len(names) != 1:
            raise ValueError(f"the archive holds {len(names)} files ({some(names)}) and not one table")
        return archive.open(names[0])

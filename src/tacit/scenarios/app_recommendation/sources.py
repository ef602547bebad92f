"""From a name or a file to an interaction log: the embedded generator, public datasets, and anybody's own table.

| source        | recognised by                                        | what is taken                            |
|---------------|------------------------------------------------------|------------------------------------------|
| "synthetic"   | the name                                             | generated openings of apps               |
| LSApp         | user_id, session_id, timestamp, app_name, event_type | openings of apps                         |
| Frappe        | user, item, cnt, daytime, weekday, ...               | uses without time, with context          |
| MovieLens     | userId, movieId, rating, timestamp                   | ratings as views; titles from movies.csv |
| your own file | `Columns(user=..., item=..., time=..., context=...)` | as mapped                                |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tacit.errors import DataError, Problems
from tacit.scenarios.app_recommendation.logs import Category, InteractionLog
from tacit.scenarios.app_recommendation.synthetic import SyntheticLogs
from tacit.scenarios.app_recommendation.tables import column_names, missing_columns, read_table
from tacit.scenarios.app_recommendation.times import wall_clock

if TYPE_CHECKING:
    import pandas as pd

LSAPP = ("user_id", "session_id", "timestamp", "app_name", "event_type")
FRAPPE = ("user", "item", "cnt", "daytime", "weekday")
FRAPPE_CONTEXT = ("daytime", "weekday", "isweekend", "homework", "weather", "country", "city")
MOVIELENS = ("userId", "movieId", "rating", "timestamp")
MAIN_FILE = {
    "lsapp": "lsapp.tsv.gz",
    "frappe": "frappe.csv",
    "movielens-latest-small": "ratings.csv",
    "movielens-latest-small-2018": "ratings.csv",
}


@dataclass(frozen=True)
class Columns:
    """Which columns of a table say who, what and when, and in which context."""

    user: str
    item: str
    time: str | None = None
    context: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (self.user, self.item, *((self.time,) if self.time else ()), *self.context)


def read_log(source: str | Path = "synthetic", columns: Columns | None = None, *, seed: int = 0) -> InteractionLog:
    """The log that `source` names.

    Args:
        source: "synthetic", the name of a dataset (`tacit data` lists them), or the path of a table.
        columns: how to read a table of your own; the known formats need none.
        seed: of the generator, and of any order that the data do not give.

    Raises:
        DataError: with every problem of the file.
    """
    if str(source) == "synthetic":
        return SyntheticLogs().log(seed)
    path = _path_of(str(source))
    present = column_names(path)
    if columns is not None:
        return _mapped(path, present, columns, seed)
    if set(LSAPP) <= set(present):
        return _lsapp(path, seed)
    if set(MOVIELENS) <= set(present):
        return _movielens(path, seed)
    if set(FRAPPE) <= set(present):
        return _frappe(path, present, seed)
    raise DataError(
        f"{path.name} is none of the known formats (LSApp, Frappe, MovieLens); it has the columns "
        f"{', '.join(map(repr, present))}. Say which is which: --user COLUMN --item COLUMN, and --time COLUMN and "
        "--context A,B where there are any"
    )


def _path_of(source: str) -> Path:
    """The file behind a dataset's name or a path."""
    from tacit.scenarios import datasets

    if source not in datasets.names():
        path = Path(source).expanduser()
        for name in MAIN_FILE.values():
            if path.is_dir() and (path / name).is_file():
                return path / name
            if path.is_dir() and (path / f"{name}.gz").is_file():
                return path / f"{name}.gz"
        if path.exists() or path.suffix or len(path.parts) > 1:
            return path
        known = ", ".join(["synthetic", *MAIN_FILE])
        raise DataError(f"no dataset and no file is called {source!r}. Datasets of this scenario: {known}")
    if source not in MAIN_FILE:
        raise DataError(f"{source} holds no interactions. Datasets of this scenario: synthetic, {', '.join(MAIN_FILE)}")
    return datasets.locate(source)[MAIN_FILE[source]]


def _lsapp(path: Path, seed: int) -> InteractionLog:
    names = ["user_id", "app_name"]
    table = read_table(path, [*names, "timestamp", "event_type"], names=names)
    opened = table["event_type"].astype(str).str.strip().str.lower() == "opened"
    if not opened.any():
        values = ", ".join(map(repr, table["event_type"].unique()[:5]))
        raise DataError(f"{path.name}: no event_type is 'Opened' (it has {values}): nothing says which app was opened")
    note = f"{int((~opened).sum()):,} of {len(table):,} records are not openings and were left out"
    table = table[opened]
    time, notes = _seconds(path, table["timestamp"])
    notes = [note, *notes]
    return InteractionLog.from_columns("LSApp", table["user_id"], table["app_name"], time, notes=notes, seed=seed)


def _movielens(path: Path, seed: int) -> InteractionLog:
    table = read_table(path, ["userId", "movieId", "timestamp"], names=["userId", "movieId"])
    time, notes = _seconds(path, table["timestamp"])
    notes = ["a rating of a film counts as one interaction, whatever its stars", *notes]
    log = InteractionLog.from_columns("MovieLens", table["userId"], table["movieId"], time, notes=notes, seed=seed)
    movies = path.with_name("movies.csv")
    if not movies.is_file():
        return log
    titles = read_table(movies, ["movieId", "title"], names=["movieId"])
    return log.with_item_names(dict(zip(titles["movieId"].astype(str), titles["title"].astype(str), strict=True)))


def _frappe(path: Path, present: list[str], seed: int) -> InteractionLog:
    context = [name for name in FRAPPE_CONTEXT if name in present]
    table = read_table(path, ["user", "item", *context], names=["user", "item", *context])
    note = (
        "'cost' was left out: it is a fact about the app to be predicted, not about the moment; so was the count 'cnt'"
    )
    return InteractionLog.from_columns(
        "Frappe",
        table["user"],
        table["item"],
        context={name: Category.of(table[name]) for name in context},
        notes=(note,),
        seed=seed,
    )


def _mapped(path: Path, present: list[str], columns: Columns, seed: int) -> InteractionLog:
    with Problems(f"{path.name} cannot be read as mapped", DataError) as problems:
        problems.extend(missing_columns(present, columns.all))
        twice = {name for name in columns.all if columns.all.count(name) > 1}
        problems.check(not twice, f"{', '.join(sorted(twice))} is mapped more than once: give each column one meaning")
    table = read_table(path, columns.all, names=[columns.user, columns.item, *columns.context])
    with Problems(f"{path.name} cannot be read as mapped", DataError) as problems:
        for role, name in (("user", columns.user), ("item", columns.item)):
            missing = np.flatnonzero(table[name].isna())
            if len(missing):
                problems.add(
                    f"{len(missing)} rows have no {role} in {name!r}, the first is row {missing[0] + 1}: drop them"
                )
        time, notes = (None, []) if columns.time is None else wall_clock(table[columns.time], problems)
    context = {name: Category.of(table[name]) for name in columns.context}
    return InteractionLog.from_columns(
        path.name, table[columns.user], table[columns.item], time, context=context, notes=notes, seed=seed
    )


def _seconds(path: Path, column: pd.Series) -> tuple[np.ndarray, list[str]]:
    problems = Problems(f"{path.name} cannot be read", DataError)
    seconds, notes = wall_clock(column, problems)
    problems.raise_if_any()
    return seconds, notes

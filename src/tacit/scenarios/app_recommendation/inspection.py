"""What a look at a plan's data says before they are read: files, columns, and how many phones there can be."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tacit.errors import DataError, TacitError
from tacit.plan import Conflict, Plan, build
from tacit.plan.field import listed
from tacit.scenarios.app_recommendation.sources import FRAPPE, LSAPP, MOVIELENS, Columns
from tacit.scenarios.app_recommendation.tables import column_names, missing_columns, read_table

COUNTED = 32 * 2**20  # bytes of a file whose users are counted; larger ones take too long for a check
USER = {LSAPP: "user_id", MOVIELENS: "userId", FRAPPE: "user"}
"""Who did something, by the columns that tell the format."""


def inspect(plan: Plan, path: Path, columns: Columns | None) -> list[Conflict]:
    """What keeps the table at `path` from being what `plan` says. Only one column is read, and that of small files."""
    try:
        present = column_names(path)
    except DataError as error:
        return [faulty(error)]
    user = _user(present, columns)
    if columns is not None:
        found = _columns(present, columns)
    elif user is None:
        known = f"{path.name} is none of the known formats (LSApp, Frappe, MovieLens); it has the columns"
        remedy = "name the columns of users and items: data.user and data.item"
        text = f"{known} {', '.join(map(repr, present))}: {remedy}"
        found = [Conflict(("data.source", "data.user", "data.item"), text, of_data=True)]
    else:
        found = []
    return found + _cohort(plan, path, user)


def faulty(error: TacitError) -> Conflict:
    """What an error says of the data."""
    return Conflict(("data.source",), "; ".join(listed(error)), of_data=True)


def digest(path: Path, known: Sequence[str] = ()) -> str:
    """sha256 of the file at `path`.

    Raises:
        DataError: it cannot be read; the names in `known` are given as others to try.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        more = f"; datasets of this scenario: {', '.join(known)}" if known else ""
        reason = error.strerror or str(error)
        raise DataError(f"{str(path)!r} cannot be read ({reason}): check the path{more}") from error


def taking_part(phones: int, unseen: float) -> int:
    """How many of `phones` are left when a share of them is kept apart as new ones."""
    return phones - max(1, round(unseen * phones))


def _user(present: Sequence[str], columns: Columns | None) -> str | None:
    """The column that says who, if the table has it."""
    if columns is not None:
        return columns.user if columns.user in present else None
    return next((name for head, name in USER.items() if set(head) <= set(present)), None)


def _columns(present: Sequence[str], columns: Columns) -> list[Conflict]:
    roles = [("user", columns.user), ("item", columns.item), *([("time", columns.time)] if columns.time else [])]
    roles += [("context", name) for name in columns.context]
    found = []
    for role, name in roles:
        keys = (f"data.{role}", "data.source")
        found += [Conflict(keys, text, of_data=True) for text in missing_columns(present, [name])]
    twice = sorted({name for name in columns.all if columns.all.count(name) > 1})
    if twice:
        text = f"{', '.join(twice)} is mapped more than once: give each column one meaning"
        found.append(Conflict(("data.user", "data.item", "data.time", "data.context"), text))
    return found


def _cohort(plan: Plan, path: Path, user: str | None) -> list[Conflict]:
    """A cohort that the users of the table cannot fill, however their events lie in time."""
    if user is None or "cohort" not in plan.selection.fields or path.stat().st_size > COUNTED:
        return []
    try:
        _, counts = np.unique(read_table(path, [user], names=[user])[user].dropna().astype(str), return_counts=True)
    except DataError as error:
        return [faulty(error)]
    cut = plan.data["split"]
    most = taking_part(int((counts >= cut["minimum"]).sum()), cut["unseen"])
    if most < 1:
        return []  # too few users for any cohort, which the run says of its data
    keys = ("selection.cohort", "selection.name", "data.source", "data.user", "data.split")
    problems = build.selection(plan).problems(most)
    return [Conflict(keys, f"{text}, or fewer, for immediate repeats are not dropped yet") for text in problems]

"""The place of a privacy ledger: as given, by the environment, or in the user's data folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from tacit.checks import PATH, is_path
from tacit.errors import StorageError, UsageError

VARIABLE = "TACIT_LEDGER"


def place_of(given: str | Path | None) -> Path:
    """Where the ledger lies: as given, else as TACIT_LEDGER says, else in the user's data folder.

    Raises:
        UsageError: it is no path, or the URL of a database that is not an SQLite file.
        StorageError: the user has no home folder.
    """
    place = given if given is not None else os.environ.get(VARIABLE) or None
    try:
        place = _users_folder() / "tacit" / "ledger.sqlite" if place is None else place
        if isinstance(place, str) and "://" in place:
            place = _path_in(place)
        if not is_path(place) or not str(place):
            raise UsageError(f"the place of the ledger is {place!r}: {PATH}")
        path = Path(place).expanduser()
        if given is None and not path.is_absolute():
            raise UsageError(
                f"{VARIABLE} is {str(place)!r}, which is another file in every folder: give the whole path, "
                f"{path.absolute()}, say"
            )
        return path.absolute()
    except RuntimeError as error:
        raise StorageError(f"no home folder is known ({error}): set {VARIABLE} to the path of a file") from error


def _users_folder() -> Path:
    """Where programs keep a user's data on this system."""
    system: str = sys.platform
    if system == "darwin":
        return Path.home() / "Library" / "Application Support"
    if system == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    folder = Path(os.environ.get("XDG_DATA_HOME") or "")
    return folder if folder.is_absolute() else Path.home() / ".local" / "share"


def _path_in(text: str) -> str:
    try:
        url = make_url(text)
        shown = url.render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        raise UsageError(f"the place of the ledger is no path and no URL: {PATH}, or sqlite:///PATH") from None
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise UsageError(f"the ledger cannot be kept in {shown}: only SQLite files can hold one: {PATH}")
    if not url.database or url.database == ":memory:" or url.query or url.host:
        raise UsageError(f"the ledger cannot be kept in {shown}: it must outlive the process: give sqlite:///PATH")
    return url.database

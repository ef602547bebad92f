"""Times as somebody else wrote them: numbers since 1970, or dates as text; what counts is the clock on the wall.

Features read the hour and the weekday of the person, so an offset from UTC is dropped and the clock kept as written.
Where the offset of one table changes (summer time, a journey), two events may change places if they lie closer
together than the change; a note says by how much.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from tacit.errors import Problems

if TYPE_CHECKING:
    import pandas as pd

OFFSET = re.compile(r"(:\d{2}|T\d{4}|T\d{6})([.,]\d+)?\s*(Z|UTC|GMT|[+-]\d{2}(?::?\d{2})?)$", re.IGNORECASE)
"""What follows a time of day; the end of a plain date such as 05-01-2026 is none."""
UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))


def wall_clock(column: pd.Series, problems: Problems) -> tuple[np.ndarray, list[str]]:
    """Seconds since 1970 of numbers (s, ms, us or ns, told by their size) or of dates, by the clock on the wall.

    Args:
        column: (n,) numbers, dates, or text that holds either.
        problems: where times that are missing, or cannot be read, are noted.

    Returns:
        (n,) float64, and sentences about what was done to them.
    """
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    notes: list[str] = []
    if pd.api.types.is_datetime64_any_dtype(column) or numbers.notna().mean() < 0.5:
        dates, notes = _dates(column)
        seconds = (dates - pd.Timestamp(0)) / pd.Timedelta(seconds=1)
    else:
        size = float(numbers.abs().median())
        seconds = numbers / next((unit for limit, unit in UNITS if size > limit), 1.0)
    values = seconds.to_numpy(dtype=np.float64)
    _check(column, values, problems)
    return values, notes


def _dates(column: pd.Series) -> tuple[pd.Series, list[str]]:
    """Dates without a zone, NaT where there is none, and what was dropped from them."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column):
        return (column if column.dt.tz is None else column.dt.tz_localize(None)), []
    text = column.astype("str").str.strip()
    offsets = text.str.extract(OFFSET)[2].fillna("")
    dates = _read(text.str.replace(OFFSET, r"\1\2", regex=True))
    minutes = [_minutes(offset) for offset in offsets[dates.notna()].unique()]
    if len(set(minutes)) < 2:
        return dates, []
    return dates, [
        f"the times have {len(set(minutes))} offsets from UTC, which were dropped to keep the clock on the wall: where "
        f"one changes, events less than {max(minutes) - min(minutes)} minutes apart may have changed places"
    ]


def _read(text: pd.Series) -> pd.Series:
    """ISO 8601, each as long as it likes; or, if that fails, all in the format of the first."""
    import pandas as pd

    dates = pd.to_datetime(text, errors="coerce", format="ISO8601")
    if dates.notna().sum() == text.notna().sum():
        return dates
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a format that begins with the day, or is found for each
            others = pd.to_datetime(text, errors="coerce")
    except ValueError:  # zones that are not dropped above, and differ
        return dates
    if not pd.api.types.is_datetime64_any_dtype(others) or others.notna().sum() <= dates.notna().sum():
        return dates
    return others if others.dt.tz is None else others.dt.tz_localize(None)


def _minutes(offset: str) -> int:
    digits = re.sub(r"[^0-9]", "", offset).ljust(4, "0")
    return (-1 if offset.startswith("-") else 1) * (60 * int(digits[:2]) + int(digits[2:]))


def _check(column: pd.Series, values: np.ndarray, problems: Problems) -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        first = np.flatnonzero(missing)[0] + 1
        problems.add(f"{int(missing.sum())} rows have no time in {column.name!r}, the first is row {first}: drop them")
    bad = np.flatnonzero(~np.isfinite(values) & ~missing)
    if len(bad):
        example = str(column.iloc[bad[0]])
        problems.add(
            f"{len(bad)} times in {column.name!r} cannot be read, the first is {example!r} in row {bad[0] + 1}: "
            "give seconds since 1970 or dates such as 2026-01-05 08:30:00"
        )

"""The history of a run as it is read back from a file: one record a round. No file is trusted to have its shape."""

from __future__ import annotations

from typing import Any

NUMBERS = ("loss", "clients", "examples", "update_norm", "set_aside", "bytes_down", "bytes_up", "seconds")
"""Columns that every round has."""
TIMED = ("virtual_hours", "asked", "late", "dropped", "left", "unavailable", "given_up")
"""Columns that a round on a fleet has beside them, as far as they are not hidden."""
HIDDEN = ("loss", "examples", "set_aside", "seconds")
"""Those of them that a private run may keep to itself."""


def row_problems(rows: Any) -> list[str]:
    """What keeps `rows`, read from JSON, from being the records of a run's rounds, one after another."""
    if not isinstance(rows, list):
        return ["its rows are no list of rounds"]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or row.get("round") != number:
            return [f"entry {number} of its rows is not the record of round {number}"]
        hidden = HIDDEN if "epsilon" in row else ()
        bad = [n for n in NUMBERS if not _is_number(row.get(n)) and not (n in hidden and row.get(n) is None)]
        others = (n for n in row if n in TIMED or n.startswith(("test_", "seconds_")))
        measured = {n: row[n] for n in others if row[n] is not None}
        bad += [name for name, value in measured.items() if not _is_number(value)]
        if bad:
            return [f"round {number} has no number for {', '.join(bad)}"]
    return []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

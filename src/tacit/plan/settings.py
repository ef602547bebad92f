"""`--set key=value`: one field of the plan, by its path in the file."""

from __future__ import annotations

import tomllib
from typing import Any

from tacit.errors import UsageError


def setting(text: str) -> tuple[tuple[str, ...], Any]:
    """The path and the value of `solver.lr=0.05`. What is no TOML value is taken as text, so no quotes are needed.

    Raises:
        UsageError: there is no key, or no "=".
    """
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise UsageError(f"--set {text!r} is not KEY=VALUE: give for example --set solver.lr=0.05")
    try:
        return path, tomllib.loads(f"value = {value}")["value"] if "\n" not in value else value
    except (ValueError, RecursionError):
        return path, value.strip()

"""`tacit doctor`: what this machine offers, and what would stand in the way of a run."""

from __future__ import annotations

import json as json_format
from typing import Any

from tacit.cli.options import Json

EXAMPLES = """\b
Examples:
  tacit doctor
  tacit doctor --json

What would stand in the way of a run is said at the end, in lines that begin with "!".
"""


def doctor(json: Json = False) -> None:
    """Look at versions, cores, memory, disk, clock, GPU, folders, and what one client changes in a private run."""
    from tacit.cli import console
    from tacit.cli.machine import findings, looked_at

    seen = looked_at()
    problems = findings(seen)
    if json:
        print(json_format.dumps({**seen, "findings": problems}, indent=2, allow_nan=False))
        return
    console.facts((name.removesuffix("_bytes").replace("_", " "), _text(name, value)) for name, value in seen.items())
    print("\n".join(f"! {problem}" for problem in problems) or "nothing stands in the way of a run")


def _text(name: str, value: Any) -> str:
    from tacit.cli.console import size

    if isinstance(value, dict):
        ending = "_bytes" if name.endswith("_bytes") else ""
        return ", ".join(f"{key.replace('_', ' ')} {_text(key + ending, entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else size(value) if name.endswith("_bytes") else str(value)

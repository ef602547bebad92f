"""Laying what the user says over what the scenario says: defaults, then the file, then the options."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tacit.plan.parts import EITHER, KEPT, PARTS


def overlaid(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with everything that `over` says in its place.

    Tables are merged, with three exceptions: a section that names another class starts from that class's own defaults
    (but for the fields that mean the same in all, as a solver's batch size); a field that replaces another removes it
    (a number of steps, that of epochs); a schedule replaces a schedule.
    """
    merged = dict(base)
    for name, entry in over.items():
        below = merged.get(name)
        if isinstance(entry, Mapping) and isinstance(below, Mapping):
            kept = _still_meant(name, below, entry) if name in PARTS else below
            merged[name] = dict(entry) if "schedule" in entry else overlaid(kept, entry)
        else:
            merged[name] = copy.deepcopy(entry)
    return merged


def _still_meant(section: str, below: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(below)
    if "name" in over and over["name"] != below.get("name"):
        kept = {n: v for n, v in below.items() if n in KEPT.get(section, ())}
    for pair in EITHER.get(section, ()):
        for mine, other in (pair, pair[::-1]):
            if mine in over and other not in over:
                kept.pop(other, None)
    return kept

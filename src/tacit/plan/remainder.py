"""What is left of a plan without its faulty entries: a sound plan, in which conflicts of the other entries are seen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tacit.plan.checking import Checking, Path
from tacit.plan.overlay import overlaid
from tacit.plan.plan import Plan
from tacit.plan.section import Conflict, Own


def conflicts(
    given: Mapping[str, Any], own: Own, checking: Checking, here: Callable[[Plan], Iterable[Conflict]] | None = None
) -> list[tuple[Path, Conflict]]:
    """The problems between entries of `given` that are sound themselves, each with its place.

    Faulty entries give way to their defaults until a plan can be made, and what the scenario says of that plan, or
    `here` of the machine and the data at hand, counts only where it looked at none of them.
    """
    plan, replaced = _sound(given, own, checking)
    if plan is None:
        return []
    found = [*own.problems(plan), *(here(plan) if here else ())]
    paths = [[tuple(key.split(".")) for key in conflict.keys] for conflict in found]
    pairs = zip(paths, found, strict=True)
    return [(keys[0], conflict) for keys, conflict in pairs if not any(_within(key, replaced) for key in keys)]


def _sound(given: Mapping[str, Any], own: Own, checking: Checking) -> tuple[Plan | None, list[Path]]:
    """A plan, and the entries of `given` that are not in it; no plan where a fault cannot be taken out."""
    faults, left = checking.faults, given
    replaced: list[Path] = []
    while True:
        here: list[Path] = []
        for fault in faults:
            if any(fault[: len(gone)] == gone for gone in here):
                continue
            path = _present(left, fault)
            if not path:
                return None, replaced
            here.append(path)
            left = _without(left, path)
        replaced += here
        trial = Checking(checking.places)
        content = trial.document(overlaid(own.defaults(left), left), own)
        faults = trial.faults
        if not faults:
            return Plan.model_validate(content), replaced


def _present(tables: Mapping[str, Any], path: Path) -> Path:
    """The part of `path` that leads to an entry, as far as there is one."""
    inner: Any = tables
    for n, name in enumerate(path):
        if not isinstance(inner, Mapping) or name not in inner:
            return path[:n]
        inner = inner[name]
    return path


def _without(tables: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """`tables` without the entry at `path`, which is there."""
    if len(path) == 1:
        return {name: entry for name, entry in tables.items() if name != path[0]}
    return {**tables, path[0]: _without(tables[path[0]], path[1:])}


def _within(path: Path, replaced: Iterable[Path]) -> bool:
    """Whether one of `replaced` is the entry at `path`, lies in it, or holds it."""
    return any(path[: len(other)] == other[: len(path)] for other in replaced)

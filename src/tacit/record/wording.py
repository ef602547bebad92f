"""The facts of a run in words: what a report shows where `run.json` holds values and the texts of objects."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

LABELS = {
    "population": "digest of the clients' ids and sizes",
    "engine_declined": "engines that could not be taken",
    "engine_deviation": "largest difference from the eager engine when tried",
    "venue": "carried out by",
    "dtype": "type of numbers",
    "ended": "end of the run",
    "kept_round": "round of the model",
    "plan": "hash of the plan",
}
"""What facts are called whose own names say little to a reader."""


def label(name: str) -> str:
    """What a fact is called."""
    return LABELS.get(name, name.replace("_", " "))


def in_words(name: str, value: Any) -> str:
    """One fact as a reader understands it; empty where it says nothing."""
    if value is None or value in ("", "()", "[]", "{}") or value == {}:
        return ""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {in_words(str(key), entry) or 'none'}" for key, entry in value.items())
    if isinstance(value, bool):
        return _plain(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, int):
        return str(value) if name == "seed" else f"{value:,}"
    return _object(value) if isinstance(value, str) else str(value)


def span(hours: float) -> str:
    """A time in a readable unit."""
    seconds = 3600.0 * hours
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{hours:,.1f} h"


def _object(text: str) -> str:
    """`FedProx(solver=SGD(lr=0.1, steps=None), mu=1.0)` as "FedProx: mu 1.0; solver SGD: lr 0.1". Other text stays."""
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return text
    if isinstance(node, ast.Tuple | ast.List):
        return ", then ".join(_called(part) or ast.unparse(part) for part in node.elts)
    return _called(node) or text


def _called(node: ast.expr) -> str | None:
    """An object from its class and its fields by name; fields that are empty are left out. None for anything else."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.args:
        return None
    plain, held = [], []
    for field in node.keywords:
        name, inner = str(field.arg).replace("_", " "), _called(field.value)
        if inner is not None:
            held.append(f"{name} {inner}")
        elif not (isinstance(field.value, ast.Constant) and field.value.value is None):
            value = field.value
            plain.append(f"{name} {_plain(value.value) if isinstance(value, ast.Constant) else ast.unparse(value)}")
    own = f"{node.func.id}: {', '.join(plain)}" if plain else node.func.id
    return "; ".join([own, *held])


def _plain(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)

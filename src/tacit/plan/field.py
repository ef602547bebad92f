"""One field of a plan: the type that its dataclass declares, and whether a value from TOML fits it."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Lt

from tacit.errors import TacitError, UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

NONE = "none"  # TOML has no null: this text stands for it where a field may be empty
MISSING = dataclasses.MISSING


class Unfit(ValueError):
    """A value that does not fit its field; the message says what to give. `path` leads to it within the field."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


@dataclasses.dataclass(frozen=True)
class PlanField:
    """A field: its declared type, its default or `MISSING`, and what a number must reach and stay below."""

    name: str
    hint: Any
    default: Any
    least: int | None = None
    below: int | None = None

    @property
    def optional(self) -> bool:
        """Whether it may be empty."""
        return type(None) in get_args(self.hint)


@cache
def fields_of(kind: type) -> dict[str, PlanField]:
    """The fields of a dataclass that a plan can set, in order."""
    hints = get_type_hints(kind)
    found = {}
    for entry in dataclasses.fields(kind):
        default = entry.default
        if entry.default_factory is not MISSING:
            default = entry.default_factory()
        if entry.init:
            unlimited = default == math.inf  # which JSON lacks: a plan says "none"
            found[entry.name] = PlanField(entry.name, hints[entry.name], None if unlimited else default)
    return found


@cache
def unlimited(kind: type) -> frozenset[str]:
    """The fields of a dataclass that are infinite where a plan says "none"."""
    return frozenset(entry.name for entry in dataclasses.fields(kind) if entry.default == math.inf)


def fields_of_model(model: type[BaseModel], names: Iterable[str]) -> dict[str, PlanField]:
    """Fields of a pydantic model, with the limits of their numbers."""
    found = {}
    for name in names:
        info = model.model_fields[name]
        least = next((m.ge for m in info.metadata if isinstance(m, Ge)), None)
        below = next((m.lt for m in info.metadata if isinstance(m, Lt)), None)
        default = MISSING if info.is_required() else info.default
        found[name] = PlanField(name, info.annotation, default, least, below)  # type: ignore[arg-type]
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """Asks whether the nearest of `known` was meant, or lists them all."""
    known = list(known)
    near = get_close_matches(name.lower(), [k.lower() for k in known], n=1, cutoff=0.6)
    if near:
        return f"did you mean {next(k for k in known if k.lower() == near[0])!r}?"
    return f"known here: {', '.join(known)}" if known else "nothing can be set here"


def shown(value: Any) -> str:
    """A value as it would stand in the file."""
    from tacit.plan.toml import value_text

    return value_text(value)


def fitted(field: PlanField, value: Any) -> Any:
    """`value` in the type of `field`.

    Raises:
        Unfit: it is of another type.
    """
    fit = _fit(field.hint, value, field.name)
    if field.least is not None and fit is not None and fit < field.least:
        raise Unfit(f"{field.name} is {fit}: give at least {field.least}")
    if field.below is not None and fit is not None and fit >= field.below:
        raise Unfit(f"{field.name} is {fit}: give less than {field.below}")
    return fit


def _fit(hint: Any, value: Any, name: str) -> Any:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kinds = [option for option in options if option is not type(None)]
    if len(kinds) < len(options) and (value is None or value == NONE):
        return None
    if any(_is_rate(kind) for kind in kinds):
        return _fit_rate(value, name)
    kind = kinds[0]
    if get_origin(kind) is Literal:
        return _fit_choice(get_args(kind), value, name)
    if get_origin(kind) is tuple:
        return _fit_list(get_args(kind)[0], value, name)
    return _FITS[kind](value, name, f', or "{NONE}"' if len(kinds) < len(options) else "")


def _fit_bool(value: Any, name: str, more: str) -> bool:
    if not isinstance(value, bool):
        raise Unfit(f"{name} is {shown(value)}: give true or false{more}")
    return value


def _fit_int(value: Any, name: str, more: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Unfit(f"{name} is {shown(value)}: give a whole number{more}")
    if abs(value) >= 2**63:
        raise Unfit(f"{name} is {value}: give a whole number of at most 19 digits{more}")
    return value


def _fit_float(value: Any, name: str, more: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(float(value)):
        raise Unfit(f"{name} is {shown(value)}: give a finite number{more}")
    return float(value)


def _fit_str(value: Any, name: str, more: str) -> str:
    if not isinstance(value, str):
        raise Unfit(f"{name} is {shown(value)}: give text in quotes{more}")
    if any("\ud800" <= letter <= "\udfff" for letter in value):
        raise Unfit(f"{name} is {value!r}: give text that can be written as UTF-8{more}")
    return value


_FITS: dict[Any, Any] = {bool: _fit_bool, int: _fit_int, float: _fit_float, str: _fit_str}


def _fit_choice(choices: tuple[str, ...], value: Any, name: str) -> Any:
    if value in choices:
        return value
    hint = nearest(value, choices) if isinstance(value, str) else f"give one of {', '.join(choices)}"
    raise Unfit(f"{name} is {shown(value)}: {hint}")


def _fit_list(kind: Any, value: Any, name: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = [value]
    if not isinstance(value, list | tuple):
        example = "[256, 128]" if kind is int else '["a", "b"]'
        raise Unfit(f"{name} is {shown(value)}: give a list, such as {example}")
    if kind is int:
        value = [int(v) if isinstance(v, str) and v.isdecimal() and len(v) < 19 else v for v in value]
    return tuple(_fit(kind, entry, f"an entry of {name}") for entry in value)


def _is_rate(kind: Any) -> bool:
    from tacit.learning.rate import Rate

    return kind is Rate


def _fit_rate(value: Any, name: str) -> Any:
    """A number, or a schedule as a table with all of its fields."""
    from tacit.plan.build import value as value_of
    from tacit.plan.parts import SCHEDULES, part_class

    if not isinstance(value, Mapping):
        try:
            return _fit_float(value, name, "")
        except Unfit:
            example = '{schedule = "cosine", lr = 0.1, rounds = 50}'
            raise Unfit(f"{name} is {shown(value)}: give a number, or a schedule such as {example}") from None
    label = value.get("schedule")
    if label not in SCHEDULES:
        hint = nearest(label, SCHEDULES) if isinstance(label, str) else f"give one of {', '.join(SCHEDULES)}"
        raise Unfit(f"{name} has no schedule called {shown(label)}: {hint}", ("schedule",))
    known = fields_of(part_class(SCHEDULES[label]))
    for key in value:
        if key not in known and key != "schedule":
            raise Unfit(f"{name} has no {key!r}: {nearest(key, known)}", (key,))
    resolved: dict[str, Any] = {"schedule": label}
    for key, field in known.items():
        if key not in value and field.default is MISSING:
            raise Unfit(f"{name} lacks {key!r}: the schedule {label!r} needs it")
        try:
            resolved[key] = _fit(field.hint, value[key], f"{name}.{key}") if key in value else field.default
        except Unfit as unfit:
            raise Unfit(str(unfit), (key, *unfit.path)) from None
    try:
        value_of(resolved)
    except UsageError as error:
        raise Unfit(f"{name}: {'; '.join(listed(error))}") from None
    return resolved


def listed(error: TacitError) -> list[str]:
    """The problems that an error lists, one by one."""
    lines = [line.removeprefix("  - ") for line in str(error).splitlines() if line.startswith("  - ")]
    return lines or [str(error)]

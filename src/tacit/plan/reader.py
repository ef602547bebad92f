"""Reading a plan: from text and options to a `Plan`, or to every problem at once, each with its place and its fix."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tacit.errors import DataError, Problems, UsageError
from tacit.plan.checking import Checking
from tacit.plan.overlay import overlaid
from tacit.plan.plan import VERSION, Part, Plan
from tacit.plan.remainder import conflicts
from tacit.plan.section import Conflict, Own, Unknown
from tacit.plan.toml import Path, given_twice, lines_of

LONGEST = 1 << 20  # characters of a plan's text


@dataclass(frozen=True)
class Given:
    """What a user says: values as nested tables, and the place of each for error messages."""

    values: Mapping[str, Any] = field(default_factory=dict)
    places: Mapping[Path, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Iterable[tuple[Path, Any, str]]) -> Given:
        """From (path, value, place) of each option; later ones win."""
        values: dict[str, Any] = {}
        places: dict[Path, str] = {}
        for path, value, place in settings:
            table = values
            for name in path[:-1]:
                inner = table.get(name)
                table[name] = table = dict(inner) if isinstance(inner, Mapping) else {}
            table[path[-1]] = value
            places[path] = place
        return cls(values, places)


def given_in(text: str, name: str = "the plan") -> Given:
    """What a TOML text says.

    Args:
        text: the content of the file.
        name: of the file, for error messages.

    Raises:
        UsageError: it is not TOML, is empty of a version, or is of a version that this tacit does not read.
    """
    if len(text) > LONGEST:
        raise UsageError(f"{name} has {len(text):,} characters: a plan has at most {LONGEST:,}")
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML, a number of thousands of digits, deep nesting
        raise UsageError(f"{name} is not TOML: {given_twice(text, str(error)) or error}") from None
    version = values.get("version")
    if version is None:
        raise UsageError(f"{name} does not say which version of the format it is: begin it with version = {VERSION}")
    if version != VERSION or isinstance(version, bool):
        raise UsageError(
            f"{name} is a plan of version {version!r}, and this tacit reads version {VERSION}: "
            "use the tacit that wrote it, or write the plan anew (`tacit plan show SCENARIO` gives one to start from)"
        )
    return Given(values, {path: f"line {line}" for path, line in lines_of(text).items()})


def read(text: str, scenario: Callable[[str], Own], *, name: str = "the plan", settings: Given | None = None) -> Plan:
    """The plan in a TOML text.

    Args:
        text: the content of the file.
        scenario: gives a scenario by name, or raises UsageError.
        name: of the file, for error messages.
        settings: options that win over the file.

    Raises:
        UsageError: with every problem, each with its line.
    """
    return settled([given_in(text, name), settings or Given()], scenario, name=name)


def settled(
    layers: Iterable[Given],
    scenario: Callable[[str], Own],
    *,
    name: str = "the plan",
    here: Callable[[Plan], Iterable[Conflict]] | None = None,
) -> Plan:
    """The plan that `layers` describe, later ones winning, with the scenario's defaults below them all.

    Args:
        layers: the file, then options.
        scenario: gives a scenario by name, or raises UsageError.
        name: of the plan, for error messages.
        here: what keeps a plan that is sound in itself from being carried out on this machine.

    Raises:
        UsageError: with every problem, each with its place (DataError where all of them are about data).
    """
    given: dict[str, Any] = {}
    places: dict[Path, str] = {}
    for layer in layers:
        given = overlaid(given, layer.values)
        places |= layer.places
    with Problems(f"{name} cannot be carried out", UsageError) as found:
        checking = Checking(places)
        own = _scenario(given, scenario, checking)
        if own is None:
            own, given = Unknown(), Unknown().within_reach(given)
            content = checking.document(overlaid(own.defaults(given), given), own)
        else:
            content = checking.document(overlaid(own.defaults(given), given), own)
            clashes = conflicts(given, own, checking, here)
            found.error = UsageError if checking.problems or not all(c.of_data for _, c in clashes) else DataError
            for path, conflict in clashes:
                checking.add(path, conflict.problem)
        found.extend(checking.in_order())
    return Plan.model_validate(content)


def settled_part(section: str, given: Given, *, name: str) -> Part:
    """One section of a plan, alone, with all of its fields.

    Args:
        section: one of `PARTS`.
        given: what is said of it, as of a whole plan.
        name: of what it is for, for error messages.

    Raises:
        UsageError: with every problem, each with its place.
    """
    with Problems(f"{name} cannot be carried out", UsageError) as found:
        checking = Checking(given.places)
        content = {section: checking.part(section, given.values.get(section, {}))}
        for other in given.values:
            if other != section:
                checking.add((other,), f"this is about {section} alone: give {section}.KEY=VALUE")
        checking.summing(content)
        found.extend(checking.in_order())
    return Part(**content[section])


def _scenario(given: Mapping[str, Any], scenario: Callable[[str], Own], checking: Checking) -> Own | None:
    name = given.get("scenario")
    if not isinstance(name, str):
        checking.add(("scenario",), 'the plan names no scenario: add scenario = "app-recommendation", say')
        return None
    try:
        return scenario(name)
    except UsageError as error:
        checking.add(("scenario",), str(error))
        return None

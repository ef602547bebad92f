"""The sections that a scenario adds to a plan: tables whose keys are the fields of its own dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tacit.plan.field import PlanField, fields_of
from tacit.plan.parts import PARTS, part_fields

OWN = ("data", "model")


@dataclass(frozen=True)
class Section:
    """One table.

    Attributes:
        kinds: dataclasses; the keys of the table are their fields.
        without: fields that are set elsewhere.
        tables: tables within this one.
        elsewhere: keys that exist under other conditions, with the condition, for the error message.
    """

    kinds: tuple[type, ...]
    without: frozenset[str] = frozenset()
    tables: Mapping[str, Section] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)

    @property
    def fields(self) -> dict[str, PlanField]:
        """Every key that is a value."""
        return {n: f for kind in self.kinds for n, f in fields_of(kind).items() if n not in self.without}

    def of(self, kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values of this table that are fields of `kind`."""
        return {n: values[n] for n in fields_of(kind) if n in values and n not in self.without and n not in self.tables}


@dataclass(frozen=True)
class Conflict:
    """Entries of a plan, each sound alone, that do not go together.

    Attributes:
        keys: every entry that was looked at, as "selection.cohort"; the problem is reported at the first.
        problem: what is wrong, and what to do.
        of_data: whether the data are to blame and not the plan.
    """

    keys: tuple[str, ...]
    problem: str
    of_data: bool = False


class Own(Protocol):
    """What a plan needs to know of a scenario. `given` holds the tables as they were written, unchecked."""

    def sections(self, given: Mapping[str, Any]) -> Mapping[str, Section]:
        """The tables `data` and `model`."""
        ...

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """What a plan of this scenario is where the user says nothing: a document with at least `rounds`."""
        ...

    def problems(self, plan: Any) -> list[Conflict]:
        """What is wrong with a plan as a whole and can be seen without reading data."""
        ...


class Unknown:
    """Stands in for a scenario that is not there, so that everything else in its plan can be checked."""

    def sections(self, given: Mapping[str, Any]) -> Mapping[str, Section]:
        """None: what the tables of the scenario may hold is not known."""
        return {}

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Some choice that no check objects to."""
        return {
            "rounds": 1,
            "algorithm": {"name": "FedAvg"},
            "solver": {"name": "SGD", "lr": 1.0},
            "selection": {"name": "Everyone"},
        }

    def problems(self, plan: Any) -> list[Conflict]:
        """None can be seen."""
        return []

    def within_reach(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """`given` without what only the scenario can tell: its own tables, and fields of a class that it would name."""
        kept = {name: entry for name, entry in given.items() if name not in OWN}
        for section, default in self.defaults(given).items():
            entry = kept.get(section)
            if section in PARTS and isinstance(entry, Mapping) and "name" not in entry:
                elsewhere = {n for name in PARTS[section] for n in part_fields(section, name)}
                mine = part_fields(section, default["name"])
                kept[section] = {n: v for n, v in entry.items() if n in mine or n not in elsewhere}
        return kept

"""Checking a plan's tables against what may stand in them, and collecting what does not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tacit.errors import UsageError
from tacit.plan import build
from tacit.plan.field import MISSING, NONE, PlanField, Unfit, fields_of, fields_of_model, fitted, listed, nearest, shown
from tacit.plan.parts import ABSENT, PARTS, STOPS, part_class, part_fields
from tacit.plan.plan import VERSION, Part, Plan, RunOptions
from tacit.plan.section import OWN, Own, Section

Path = tuple[str, ...]
NUMBERS = ("seed", "rounds")
SCALARS = ("scenario", *NUMBERS)
ABOVE = "it stands above all tables, as {0} = ..., or --{0} on the command line"
_UNMADE = (UsageError, TypeError, AttributeError)  # a part with problems, which are reported already
KEYS = ("hash", "version", *SCALARS, *OWN, *PARTS, "stop", "run")


class Checking:
    """Collects problems, each with the place of what it is about."""

    def __init__(self, places: Mapping[Path, str]) -> None:
        self.places = places
        self.problems: list[tuple[tuple[int, int], str]] = []
        self.faults: list[Path] = []

    def add(self, path: Path, problem: str) -> None:
        """Records a problem with the entry at `path`, or with the table around it."""
        place = self._place(path)
        self.faults.append(path)
        line = int(place[5:]) if place.startswith("line ") else 0
        self.problems.append(((line, len(self.problems)), f"{place}: {problem}" if place else problem))

    def _place(self, path: Path) -> str:
        """The place of `path`: of itself or what lies in it, else of the table around it or what lies in that.

        An option wins over a line, as it does where they say different things.
        """
        for n in range(len(path), 0, -1):
            around = path[:n]
            inside = n == len(path) or n > 1  # a whole section says too little of where in it
            found = [self.places[p] for p in self.places if p == around or (inside and p[:n] == around)]
            if found:
                return next(
                    (place for place in found if not place.startswith("line ")), self.places.get(around, found[0])
                )
        return ""

    def in_order(self) -> list[str]:
        """The problems as text: those of options first, then by line."""
        return [text for _, text in sorted(self.problems)]

    def document(self, given: Mapping[str, Any], own: Own) -> dict[str, Any]:
        """The content of `Plan`, every field filled in, from what was given."""
        for name in given:
            if name not in KEYS:
                self.add((name,), f"there is no {name!r} in a plan: {nearest(name, KEYS)}")
        version = given.get("version", VERSION)
        if version != VERSION or isinstance(version, bool):
            self.add(("version",), f"version is {shown(version)}: this tacit writes and reads version {VERSION}")
        fields = fields_of_model(Plan, SCALARS)
        content = self.table((), {n: v for n, v in given.items() if n in fields}, fields)
        sections = own.sections(given)
        for name in OWN:
            if name in sections:
                content[name] = self.section((name,), self._table((name,), given), sections[name])
            elif name in given:
                self.add((name,), f"this scenario has no section [{name}]: remove it")
        for name in PARTS:
            if name in ABSENT and given.get(name) in (None, NONE):
                content[name] = None
                continue
            first = {"name": PARTS[name][0]} if name in ABSENT else {}
            content[name] = self.part(name, first | dict(self._table((name,), given)))
        self.timing(content)
        content["stop"] = self.stop(self._table(("stop",), given))
        self.method(content)
        self.summing(content)
        options = fields_of_model(RunOptions, RunOptions.model_fields)
        content["run"] = self.table(("run",), self._table(("run",), given), options)
        return content

    def _table(self, path: Path, given: Mapping[str, Any]) -> Mapping[str, Any]:
        value = given.get(path[-1], {})
        if isinstance(value, Mapping):
            return value
        example = f'[{".".join(path)}] with name = "{value}"' if path[0] in PARTS else f"[{'.'.join(path)}]"
        self.add(path, f"{path[-1]} is {shown(value)}: make it a table, {example}")
        return {}

    def table(
        self,
        path: Path,
        given: Mapping[str, Any],
        fields: Mapping[str, PlanField],
        elsewhere: Mapping[str, str] = MappingProxyType({}),
    ) -> dict[str, Any]:
        """The entries of one table, in the order of `fields`; why a key is not there may stand in `elsewhere`."""
        for name in given:
            if name not in fields:
                hint = elsewhere.get(name) or (ABOVE.format(name) if name in NUMBERS else nearest(name, fields))
                self.add((*path, name), f"there is no {name!r} in [{'.'.join(path)}]: {hint}")
        resolved: dict[str, Any] = {}
        for name, field in fields.items():
            if name in given:
                try:
                    resolved[name] = fitted(field, given[name])
                except Unfit as unfit:
                    self.add((*path, name, *unfit.path), str(unfit))
            elif field.default is MISSING:
                self.add((*path, name), f"{'.'.join((*path, name))} is missing: add {name} = ...")
            else:
                resolved[name] = field.default
        return resolved

    def section(self, path: Path, given: Mapping[str, Any], section: Section) -> dict[str, Any]:
        """A table of the scenario, with the tables in it."""
        values = {n: v for n, v in given.items() if n not in section.tables}
        resolved = self.table(path, values, section.fields, section.elsewhere)
        for kind in section.kinds:
            unfit = {n for n in fields_of(kind) if n in section.fields and n not in resolved}
            self._try(path, kind, section.of(kind, resolved), unfit)
        for name, inner in section.tables.items():
            resolved[name] = self.section((*path, name), self._table((*path, name), given), inner)
        return resolved

    def part(self, section: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """A choice among tacit's classes, with all of its fields."""
        name = given.get("name")
        if name not in PARTS[section]:
            known = PARTS[section]
            hint = nearest(name, known) if isinstance(name, str) else f"give one of {', '.join(known)}"
            self.add((section, "name"), f"there is no {section} called {shown(name)}: {hint}")
            return {"name": "", "fields": {}}
        assert isinstance(name, str)
        fields = part_fields(section, name)
        values = self.table((section,), {n: v for n, v in given.items() if n != "name"}, fields)
        if section != "algorithm":
            self._class((section,), part_class(name), fields, given, values)
        return {"name": name, "fields": values}

    def stop(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The rules that end a run early; a rule that is "none" is no rule."""
        for name in given:
            if name not in STOPS:
                self.add(("stop", name), f"there is no {name!r} in [stop]: {nearest(name, STOPS)}")
        content: dict[str, Any] = {}
        for name, kind in STOPS.items():
            if name in given and given[name] not in (None, NONE):
                table, fields = self._table(("stop", name), given), fields_of(part_class(kind))
                content[name] = self.table(("stop", name), table, fields)
                self._class(("stop", name), part_class(kind), fields, table, content[name])
        return content

    def method(self, content: Mapping[str, Any]) -> None:
        """What the algorithm says about itself and its solver."""
        try:
            solver = build.made(Part(**content["solver"]))
            self._rates(solver.lr, content.get("rounds", 1))
        except _UNMADE:
            solver = part_class(content["solver"]["name"] or "SGD")(lr=1.0)  # so that the method itself can be heard
        try:
            problems = build.made(Part(**content["algorithm"]), solver).problems()
        except _UNMADE:
            return
        for problem in problems:
            self._named(("algorithm",), problem)
        self.private(content, solver)

    def summing(self, content: Mapping[str, Any]) -> None:
        """What keeps reports from being summed as they are to be, on that fleet, that can be seen in the plan."""
        for name in ("aggregation", "robust", "fleet", "closing", "pool"):
            if content.get(name) is None:
                continue
            try:
                how = build.made(Part(**content[name]))
            except _UNMADE:
                continue
            for problem in how.problems():
                self._named((name,), problem)

    def timing(self, content: dict[str, Any]) -> None:
        """A fleet has a rule by which rounds are closed, and without one there is no time to close them by."""
        if content["fleet"] is None and content["closing"] is not None:
            name = content["closing"]["name"] or "a rule"
            self.add(
                ("closing",),
                f"closing: {name} closes rounds by the time of devices, and there are none: add [fleet] with "
                'name = "Phones" (--fleet phones), or remove [closing]',
            )
        if content["fleet"] is None and content["by_tier"] is not None:
            self.add(("by_tier",), "by_tier: clients have no tiers without devices: add [fleet], or remove [by_tier]")
        if content["fleet"] is not None and content["closing"] is None:
            content["closing"] = self.part("closing", {"name": PARTS["closing"][0]})

    def private(self, content: Mapping[str, Any], solver: Any) -> None:
        """What keeps a run from being private that can be seen in its plan."""
        if content.get("privacy") is None:
            return
        try:
            level = build.made(Part(**content["privacy"]))
            algorithm = build.made(Part(**content["algorithm"]), solver)
        except _UNMADE:
            return
        for problem in level.problems():
            self._named(("privacy",), str(problem))
        for problem in level.clashes(algorithm):
            self._named(("algorithm",), str(problem))

    def _rates(self, rate: Any, rounds: int) -> None:
        from tacit.learning.rate import rate_at

        for round in dict.fromkeys((0, rounds // 2, rounds - 1)):
            try:
                lr = rate_at(rate, round)
            except UsageError as error:
                self.add(("solver", "lr"), str(error))
                return
            if not lr > 0:
                self.add(("solver", "lr"), f"lr is {lr!r} in round {round + 1} of {rounds}: it must stay above 0")
                return

    def _class(
        self,
        path: Path,
        kind: Any,
        fields: Mapping[str, PlanField],
        given: Mapping[str, Any],
        values: Mapping[str, Any],
    ) -> None:
        """Builds one of tacit's classes, as far as its values go. They take any value and report it."""
        unfit = set(fields) - set(values)
        needed = {n: given[n] for n in unfit if n in given and fields[n].default is MISSING}
        self._try(path, kind, needed | {n: build.value(v) for n, v in values.items()}, unfit)

    def _try(self, path: Path, kind: Any, values: Mapping[str, Any], unfit: set[str]) -> None:
        """Builds `kind` to hear what it says about its values; those of `unfit` fields are reported already."""
        try:
            kind(**values)
        except UsageError as error:
            for problem in listed(error):
                if not unfit & set(_words(problem)):
                    self._named(path, problem)
        except TypeError:  # a field that it needs is missing
            if not unfit:
                raise

    def _named(self, path: Path, problem: str) -> None:
        """A problem whose text names its field, mostly: it gets the place of the first field that it names."""
        words = _words(problem)
        where = next(((*path, word) for word in words if (*path, word) in self.places), (*path, "name"))
        self.add(where, f"{'.'.join(path)}: {in_plan(problem)}")


def in_plan(problem: str) -> str:
    """What a class says of None, in the words of a plan."""
    return re.sub(r"\bNone\b", f'"{NONE}"', problem)


def _words(problem: str) -> list[str]:
    return [word.strip(",:;'\"") for word in problem.replace("=", " ").split()]

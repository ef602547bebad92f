"""Writing TOML, and finding the line of every key in it: the two things that the standard library's reader lacks."""

from __future__ import annotations

import json
import re
import tomllib
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from tacit.plan.plan import Plan

Path = tuple[str, ...]
BARE = re.compile(r"[A-Za-z0-9_-]+")
TWICE = re.compile(r"^(Cannot overwrite a value|Duplicate .*) \(at (?:line (\d+), column (\d+)|end of document)\)$")
HEAD = "# Everything that this run is. `tacit run` with this file repeats it; [run] is not part of the hash.\n"


def written(plan: Plan) -> str:
    """The plan as TOML, with its hash. Reading it back gives an equal plan."""
    lines = [HEAD, f"hash = {value_text(plan.hash)}"]
    _write_table((), plan.document, lines)
    return "\n".join(lines) + "\n"


def _write_table(path: Path, table: Mapping[str, Any], lines: list[str]) -> None:
    inner = {n: v for n, v in table.items() if isinstance(v, dict) and "schedule" not in v}
    values = {n: v for n, v in table.items() if n not in inner}
    if path and (values or not inner):
        lines += ["", f"[{'.'.join(map(_key, path))}]"]
    lines += [f"{_key(name)} = {value_text(value)}" for name, value in values.items()]
    for name, value in inner.items():
        _write_table((*path, name), value, lines)


def _key(name: str) -> str:
    return name if BARE.fullmatch(name) else _text(name)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def value_text(value: Any) -> str:
    """A value as TOML; None, which TOML cannot say, as "none"."""
    if value is None:
        return '"none"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(value_text(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(n))} = {value_text(v)}" for n, v in value.items()) + "}"
    return repr(value) if isinstance(value, int | float) else str(value)


def lines_of(text: str) -> dict[Path, int]:
    """The line (from 1) of every key and table of `text`, which must be valid TOML."""
    return _Scanner(text).scan()


def given_twice(text: str, error: str) -> str | None:
    """Which key stands where in `text`, if `error`, what `tomllib` says of it, is that it was given before; or None."""
    place = TWICE.search(error)
    if place is None:
        return None
    scanner = _Scanner(text)
    if place[2]:  # the text is valid as far as there, but for that
        whole = text.replace("\r\n", "\n").split("\n")
        *before, last = whole[: int(place[2])]
        scanner = _Scanner("\n".join([*before, last[: int(place[3]) - 1]]))
    scanner.scan()
    key, line = scanner.last, scanner.line
    if scanner.found[key] == line and not place[1].startswith("Duplicate"):
        key = key[:-1]  # a value was given where now a table begins
    if key not in scanner.found:
        return None
    lines = f"in line {line}" if scanner.found[key] == line else f"in lines {scanner.found[key]} and {line}"
    return f"{'.'.join(map(_key, key))} is given twice, {lines}: keep one of them"


class _Scanner:
    """Walks through valid TOML and notes where keys stand. It need not refuse anything: `tomllib` has read the text."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.ends = [i for i, letter in enumerate(text) if letter == "\n"]
        self.found: dict[Path, int] = {}
        self.last: Path = ()
        self.line = 0

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self._skip():
            if self._peek() == "[":
                self.at += 2 if self.text.startswith("[[", self.at) else 1
                table = ()
                table = self._keys(table)
                self.at = self._line_end()
            else:
                path = self._keys(table)
                self.at += 1  # "="
                self._value(path)
        return self.found

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _line_end(self) -> int:
        end = self.text.find("\n", self.at)
        return len(self.text) if end < 0 else end

    def _skip(self, more: str = "") -> bool:
        """Goes on to the next thing that means something. False at the end."""
        while self.at < len(self.text):
            if self._peek() == "#":
                self.at = self._line_end()
            elif self._peek() in " \t\r\n" or self._peek() in more:
                self.at += 1
            else:
                return True
        return False

    def _keys(self, table: Path) -> Path:
        """A dotted key, noted with its line."""
        path = table
        while True:
            self._skip()
            line = bisect_right(self.ends, self.at - 1) + 1
            start = self.at
            if self._peek() in "\"'":
                self._string()
                path = (*path, tomllib.loads(f"key = {self.text[start : self.at]}")["key"])
            else:
                match = BARE.match(self.text, self.at)
                self.at = match.end() if match else self.at + 1
                path = (*path, self.text[start : self.at])
            self.found.setdefault(path, line)
            self.last, self.line = path, line
            self._skip()
            if self._peek() != ".":
                return path
            self.at += 1

    def _string(self) -> None:
        quote = self._peek()
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        self.at += len(mark)
        while not self.text.startswith(mark, self.at):
            self.at += 2 if quote == '"' and self._peek() == "\\" else 1
        self.at += len(mark)
        while len(mark) == 3 and self._peek() == quote:  # a text may end in quotes of its own
            self.at += 1

    def _value(self, path: Path) -> None:
        self._skip()
        if self._peek() in "\"'":
            self._string()
        elif self._peek() in "[{":
            table = self._peek() == "{"
            self.at += 1
            while self._skip(",") and self._peek() not in "]}":
                inner = path
                if table:
                    inner = self._keys(path)
                    self.at += 1
                self._value(inner)
            self.at += 1
        else:
            while self.at < len(self.text) and self._peek() not in ",]}\n#":
                self.at += 1

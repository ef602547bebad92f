"""Reading a policy: from TOML to a `Policy`, or to every problem at once, with its line; and a first one to edit."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tacit.errors import Problems, StorageError, UsageError
from tacit.network.consent.policy import Policy
from tacit.plan.toml import given_twice, lines_of

VERSION = 1
LONGEST = 1 << 18
"""Most characters of a policy."""
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "": {name: name for name in ("approval", "expires", "tasks", "plans", "authorities", "insecure_loopback")},
    "sums": {
        name: name
        for name in (
            *("secure", "minimum", "corrupt", "sigma", "mixed_models"),
            *("insecure_unsigned", "insecure_honest_server"),
        )
    },
    "privacy": {name: name for name in ("without", "dataset", "epsilon", "delta", "adjacency")},
    "limits": {
        "hours": "hours",
        "zone": "zone",
        "rounds": "rounds",
        "minutes_a_day": "minutes",
        "bytes_a_day": "sent",
        "memory_bytes": "memory",
        "threads": "threads",
    },
}
"""The keys of each table, with the field that each sets."""
FIRST = """\
# What this participant admits. No coordinator can change it; `tacit participant policy` checks it.
version = 1
approval = "ask"               # "ask": a person approves every plan; "policy": what is admitted here is approved
# expires = 2030-12-31         # from this day on nothing is admitted
# tasks = ["app-recommendation"]  # without this line, any task that is installed here
# plans = ["<hash>"]           # with this line, these plans and no others
# authorities = ["<key>"]      # who certifies the others; without this line, the one enrolled with

[sums]
secure = true                  # nobody sees a single report
minimum = 5                    # fewest participants in a sum
corrupt = 0.1                  # share of them that may work against this one
sigma = 40                     # a sum fails to hide it with a chance below 2^-40
# mixed_models = true          # rounds that overlap: sums of reports that began with several models

[privacy]
without = "ask"                # a plan without differential privacy: "refuse", "ask" a person, or "admit"
# dataset = "own"              # names the data, for the ledger: the same data, the same name, in every run
# epsilon = 4.0                # what all runs on one dataset may cost within 365 days
# delta = 1e-5
# adjacency = "zero-out"       # or "replace-one"

[limits]
# hours = ["22:00-06:00"]
# zone = "Europe/Berlin"       # "local" is the machine's own
# rounds = 500                 # of a plan
# minutes_a_day = 240
# bytes_a_day = 2000000000
# memory_bytes = 4000000000
# threads = 2
"""
"""A policy with all defaults, to be edited."""


def read(text: str, name: str = "the policy") -> Policy:
    """The policy in a TOML text.

    Args:
        text: the content of the file.
        name: of the file, for error messages.

    Raises:
        UsageError: with every problem, each with its line.
    """
    if len(text) > LONGEST:
        raise UsageError(f"{name} has {len(text):,} characters: a policy has at most {LONGEST:,}")
    try:
        given = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # no TOML, a number of thousands of digits, deep nesting
        raise UsageError(f"{name} is not TOML: {given_twice(text, str(error)) or error}") from None
    if given.pop("version", None) != VERSION:
        raise UsageError(f"{name} does not say which version of the format it is: begin it with version = {VERSION}")
    lines = lines_of(text)
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    with Problems(f"{name} cannot be kept", UsageError) as problems:
        for path, value in _entries(given):
            place, named = f"line {lines.get(path, 1)}", ".".join(path)
            field = SECTIONS.get("".join(path[:-1]), {}).get(path[-1])
            if field is None:
                problems.add(f"{place}: there is no {named}: {_known(path)}")
                continue
            values[field] = tuple(value) if isinstance(value, list) else value
            places[field] = f"{place}, {named}"
        unchecked = Policy.__new__(Policy)
        for field in Policy.__dataclass_fields__:
            object.__setattr__(unchecked, field, values.get(field, getattr(Policy, field)))
        problems.extend(f"{places.get(field, 'as a whole')}: {problem}" for field, problem in unchecked.problems())
    return Policy(**values)


def read_file(path: Path) -> Policy:
    """The policy in a file; all defaults where there is no file.

    Raises:
        UsageError: with every problem of it, each with its line.
        StorageError: it cannot be read.
    """
    try:
        return read(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return Policy()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text: {error}") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error


def _entries(given: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in given.items():
        if name in SECTIONS and isinstance(value, dict):
            yield from (((name, inner), entry) for inner, entry in value.items())
        else:
            yield (name,), value


def _known(path: tuple[str, ...]) -> str:
    if len(path) == 1:
        tables = ", ".join(f"[{section}]" for section in SECTIONS if section)
        return f"give {', '.join(SECTIONS[''])}, and tables {tables}"
    return f"[{path[0]}] has {', '.join(SECTIONS[path[0]])}"

"""What the verbs of the network share: the plan that is agreed on, its schema, keys in files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit.errors import StorageError, UsageError

if TYPE_CHECKING:
    from tacit.aggregation.secure.identity import Authority
    from tacit.plan import Plan
    from tacit.population.schema import Schema

LARGEST = 64 * 2**20
AUTHORITY = "authority.pem"


def agreed_plan(target: str, participants: int | None, settings: Sequence[str]) -> Plan:
    """The plan in a file, or of a scenario, with the number of participants in it.

    Raises:
        UsageError: with every problem of it.
    """
    from tacit.cli.run import given, planned

    return planned(target, given([("--participants", "network.participants", participants)], list(settings)))


def read_schema(path: Path | None, plan: Plan) -> Schema:
    """The schema in a file, or the one that the plan's own data make.

    Raises:
        UsageError: it cannot be read, or the plan's scenario makes none.
        DataError: the plan's data are not at hand.
    """
    from tacit.population.schema import Schema
    from tacit.scenarios.scenario import Deployable, scenario

    if path is None:
        found = scenario(plan.scenario)
        if not isinstance(found, Deployable):
            raise UsageError(f"the scenario {plan.scenario!r} is served from Python: tacit.Coordinator(...)")
        return found.schema(plan)
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than any schema ({LARGEST:,} bytes)")
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as a schema: {error}") from error
    return Schema.read(document)


def authority_of(path: Path | None, folder: Path) -> Authority:
    """Who certifies participants: the key in a file, or one that is made in the run's folder.

    Raises:
        StorageError: it cannot be read or made.
    """
    from tacit.network.identity.authority import new_authority, open_authority

    place = path or folder / AUTHORITY
    if path is None and not place.is_file():
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"the folder {folder} cannot be made: {error}") from error
        return new_authority(place)
    return open_authority(place)


def secret_in(path: Path | None) -> str | None:
    """The text in a file, without the end of its line; None without a file.

    Raises:
        UsageError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error

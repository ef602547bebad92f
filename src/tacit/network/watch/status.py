"""How a run on a network goes, as JSON values: the shape of what the dashboard shows, and the checks of it.

The shape is closed: it has no field for a participant's name or for anything that one participant sent, and what is
not in it is refused. Times are ms since 1970, durations seconds, sizes bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from tacit.errors import MalformedMessage

LARGEST = 64 * 2**20
"""Most bytes of a status: 100,000 rounds take a third of it."""
ATTEMPTS = 50
"""How many of the last attempts are shown."""
STATES = ("gathering", "training", "finished", "failed", "stopping")
COLUMNS = ("round", "loss", "clients", "seconds", "bytes_up", "bytes_down", "epsilon", "update_norm")
"""What a row of the history may hold, beside the metrics of the model on the coordinator's own examples."""
METRIC = re.compile(r"(test|validation|cohort)_[A-Za-z0-9_@.+-]{1,40}")
"""Names of metrics, as "test_HR@5"."""

Name = Annotated[str, Field(max_length=200)]
Text = Annotated[str, Field(max_length=100_000)]
Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
CLOSED = ConfigDict(extra="forbid", strict=True)


class Participants(TypedDict):
    """How many there are. `approved` have signed the terms; `online` have checked in lately."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    expected: Count | None
    enrolled: Count
    approved: Count
    online: Count
    withdrawn: Count
    revoked: Count
    versions: dict[Name, Count]


class Step(TypedDict):
    """One step of an attempt: how many were asked and have answered, and why others have not, by cause."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    kind: Name
    asked: Count
    answered: Count
    failed: dict[Name, Count]
    seconds: Amount | None


class Attempt(TypedDict):
    """One attempt at a round. `round` and `attempt` count from 0; `reason` is empty where nothing went wrong."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    round: Count
    attempt: Count
    state: Name
    reason: Text | None
    began: Count | None
    ended: Count | None
    steps: list[Step]


class Privacy(TypedDict):
    """What was spent so far, of what may be."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    epsilon: Amount | None
    delta: Amount | None
    limit: Amount | None
    unit: Name | None
    mechanism: Name | None


class Statement(TypedDict):
    """What the run protects, and what it does not, in both languages."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    en: Text
    zh: Text


class SecureSum(TypedDict):
    """The secure sum of a round: fewest reports in it, neighbours of each, shares that rebuild a secret, bits."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    minimum: Count
    neighbours: Count | None
    threshold: Count | None
    bits: Count | None


class Security(TypedDict):
    """How participants are reached and protected; `insecure` names the unsafe settings that are on."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    tls: Name | None
    mutual: bool
    secure_sum: SecureSum | None
    insecure: list[Name]


class Load(TypedDict):
    """What the coordinator's process does. `lag` is how late its event loop runs."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    requests: Count
    bytes_in: Count
    bytes_out: Count
    connections: Count
    rss: Count | None
    lag: Amount | None
    uptime: Amount


class Status(TypedDict):
    """Everything that is shown of a run. `round` rounds are done, of `rounds`."""

    __pydantic_config__ = CLOSED  # type: ignore[misc]
    tacit: Name
    run: Name
    terms: Name
    scenario: Name
    state: Literal["gathering", "training", "finished", "failed", "stopping"]
    reason: Text | None
    started: Count | None
    now: Count
    round: Count
    rounds: Count
    participants: Participants
    history: list[dict[Name, float | int | None]]
    attempts: Annotated[list[Attempt], Field(max_length=ATTEMPTS)]
    privacy: Privacy | None
    statement: Statement | None
    security: Security
    load: Load
    failures: dict[Name, Count]


@cache
def _shape() -> TypeAdapter[Status]:
    return TypeAdapter(Status)


def problems(status: Mapping[str, Any]) -> list[str]:
    """What is wrong with a status, a sentence each; empty where it may be shown."""
    try:
        _shape().validate_python(dict(status))
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in wrong]
    rows, found = status["history"], []
    strange = sorted(name for name in {name for row in rows for name in row} if not _public(name))
    if strange:
        known = ", ".join(COLUMNS)
        found.append(f"history has {', '.join(strange[:5])}: it holds {known} and metrics such as test_mrr")
    if any(type(row.get("round")) is not int for row in rows):
        found.append("history has a row without a round")
    return found


def public_row(row: Mapping[str, Any]) -> dict[str, float | int | None]:
    """What may be shown of a row of the history: sums and measures of the model, nothing that names a client.

    Numbers that are not finite become None.
    """
    return {name: _finite(value) for name, value in row.items() if _public(name) and _number(value)}


def as_json(status: Mapping[str, Any], after: int = 0) -> bytes:
    """A status in one line of JSON, numbers that are not finite as null.

    Args:
        status: of a run.
        after: rows of the history up to this round are left out: a reader has them.
    """
    rows = status["history"]
    if after > 0:
        rows = [row for row in rows if (row.get("round") or 0) > after]
    found: Any = {**status, "history": rows}
    try:
        text = _text(found)
    except (ValueError, TypeError):  # a number that is not finite, a mapping of another kind: slower, and seldom
        text = _text(_plain(found))
    return text.encode("utf-8", "replace")


def _text(found: Any) -> str:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def read(data: bytes) -> Status:
    """The status in bytes of a peer.

    Raises:
        MalformedMessage: they hold none.
    """
    if len(data) > LARGEST:
        raise MalformedMessage(f"a status of {len(data):,} bytes: it has {LARGEST:,} at most")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"the status is no JSON: {error}") from None
    wrong = problems(found) if isinstance(found, dict) else ["it is no object"]
    if wrong:
        raise MalformedMessage(f"this is no status of a tacit coordinator: {'; '.join(wrong[:5])}")
    status: Status = found
    return status


def _public(name: str) -> bool:
    return name in COLUMNS or METRIC.fullmatch(name) is not None


def _number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _finite(value: float | int | None) -> float | int | None:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return _finite(value) if isinstance(value, float) else value

"""The result of a run as `result.json` holds it: a stable schema, each field with what it means and its unit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tacit.checks import is_whole
from tacit.errors import DamagedFile, Problems, StorageError

VERSION = 1
SHOWN = 60  # characters of a wrong value
Scores = dict[str, float | None]
Table = dict[str, Scores | None]
Intervals = dict[str, tuple[float, float]]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DataFacts(_Model):
    """What the run learned from."""

    source: str = Field(description="what the data are, in words")
    synthetic: bool = Field(description="true if the data come from a generator and no person made them")
    fingerprint: str = Field(
        description="a digest of the clients' ids, numbers of examples and examples; empty in a private run"
    )
    notes: list[str] = Field(description="what was done to the data on the way in, in sentences")


class Result(_Model):
    """What a run of a scenario ends with. Strict JSON: what is not known, or not a finite number, is null."""

    version: Literal[1] = Field(default=1, description="of this schema; keys may be added within a version")
    tacit: str = Field(description="version of tacit that made the run")
    scenario: str = Field(description="name of the scenario")
    plan_hash: str = Field(description="sha256 of what determines the result, as in plan.toml")
    data: DataFacts = Field(description="what the run learned from")
    seed: int = Field(description="of every draw")
    rounds: int = Field(description="rounds done")
    rounds_planned: int = Field(description="rounds that the plan allows")
    kept_round: int | None = Field(
        default=None, description="round after which the model was as it is here: the last, or the best (Patience)"
    )
    ended: str = Field(description="why the run ended, in words")
    seconds: float = Field(description="seconds that the rounds took, evaluation in between included")
    seconds_by_phase: dict[str, float] = Field(description="the same by phase of a round")
    clients: int = Field(description="clients that may take part in a round (N)")
    parameters: int = Field(description="trained parameters of the model (d)")
    engine: str = Field(description="how local steps were run: fused, traced, ghost, vmapped or eager")
    device: str = Field(default="cpu", description="where local steps were run: cpu, or an accelerator")
    workers: int = Field(description="clients trained at once")
    dtype: str = Field(description="floating-point type of the parameters")
    bytes_down_per_client: int = Field(description="bytes one client receives in a round in which it takes part")
    bytes_up_per_client: int = Field(description="bytes one client sends in a round in which it takes part")
    bytes_down: int = Field(description="bytes all clients received in all rounds")
    bytes_up: int = Field(description="bytes all clients sent in all rounds")
    set_aside: int = Field(description="reports that were set aside, in all rounds; history.csv has the reasons")
    loss: float | None = Field(
        description="training loss of the last round, mean over the cohort; null where it is hidden"
    )
    privacy: dict[str, Any] | None = Field(
        default=None,
        description="the statement of a private run: epsilon, delta, unit, adjacency, noise_multiplier, sampling, "
        "epsilon_against_server, epsilon_population_total and what they rest on; null gives no formal privacy",
    )
    record_privacy: dict[str, Any] | None = Field(
        default=None,
        description="the statement of a run that protects every record of each client, as privacy: epsilon and delta "
        "are each the largest of all clients, strength is the weakest of theirs, and groups holds those of each; "
        "record, where it is not null, says what one record is; null protects none",
    )
    secure_aggregation: dict[str, Any] | None = Field(
        default=None,
        description="how reports were summed unseen: protocol (ideal, full or network), minimum, bits, neighbours, "
        "threshold, sigma, lost, bytes_up and bytes_down of one client by message; with a shared key protocol is "
        "shared-key BFV, and who_can_decrypt says by whom reports can be read; null where the server saw every report",
    )
    fleet: dict[str, Any] | None = Field(
        default=None,
        description="virtual time on the devices of the clients: closing, limit_seconds, devices, rehearsed, "
        "virtual_hours, device_hours and device_hours_by_phase, wasted_fraction and wasted_hours_by_phase (in no sum), "
        "bytes_down, bytes_up, bytes_wasted, participation_gini, participation_by_tier and devices_by_tier (shares, "
        "fastest first), failures by reason, rounds_abandoned by reason; null where no time is kept",
    )
    metrics: Scores = Field(description="the final model on the test part of the clients that took part")
    validation: Scores = Field(description="the last measures on the validation part up to kept_round")
    comparison: Table = Field(
        description="on the same test part: federated, federated_private, pooled, local and the naive methods; "
        "null for a method that the data do not allow (markov and most_recent without time) or that was not asked for "
        "(pooled and local with --no-compare)"
    )
    interval_metric: str = Field(description="the metric that has intervals")
    intervals: Intervals = Field(description="95 % bootstrap interval over clients of interval_metric, by method")
    cold_start: Table = Field(description="as comparison, on clients that no shared model was trained on")
    cold_start_intervals: Intervals = Field(description="as intervals, for cold_start")
    notes: list[str] = Field(description="sentences to be read with the comparison")
    model_sha256: str = Field(description="sha256 of model.safetensors")

    @property
    def json_text(self) -> str:
        """The content of result.json."""
        return json.dumps(finite(self.model_dump(mode="json")), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @staticmethod
    def of(text: str, name: str) -> Result:
        """Reads result.json.

        Raises:
            DamagedFile: it is not one; with everything that is wrong.
            StorageError: it is of another version.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedFile(f"{name} is damaged: it is not JSON ({error})") from None
        with Problems(f"{name} is damaged", DamagedFile) as problems:
            problems.check(isinstance(content, dict), "it is no table of results")
        version = content.get("version")
        if is_whole(version) and version != VERSION:
            raise StorageError(f"{name} is of version {version}: this tacit reads {VERSION}")
        try:
            return Result.model_validate(content)
        except ValidationError as error:
            with Problems(f"{name} is damaged", DamagedFile) as problems:
                problems.extend(map(_wrong, error.errors(include_url=False)))
            raise AssertionError("a validation error lists something") from error


def _wrong(found: Mapping[str, Any]) -> str:
    """What pydantic found wrong with one entry, in our words."""
    place = ".".join(map(str, found["loc"]))
    if found["type"] == "missing":
        return f"{place} is missing"
    text, fault = repr(found["input"]), found["msg"].lower().replace("input should", "it should")
    return f"{place} is {text if len(text) <= SHOWN else text[:SHOWN] + '...'}: {fault}"


def finite(value: Any) -> Any:
    """`value` with None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The result of a run as `result.json` holds it: a stable schema, each field with what it means and its unit."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tacit.errors import StorageError

VERSION = 1
Scores = dict[str, float | None]
Table = dict[str, Scores | None]
Intervals = dict[str, tuple[float, float]]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class DataFacts(_Model):
    """What the run learned from."""

    source: str = Field(description="what the data are, in words")
    synthetic: bool = Field(description="true if the data come from a generator and no person made them")
    fingerprint: str = Field(description="a digest of the clients' ids and numbers of examples")
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
    ended: str = Field(description="why the run ended, in words")
    seconds: float = Field(description="seconds that the rounds took, evaluation in between included")
    seconds_by_phase: dict[str, float] = Field(description="the same by phase of a round")
    clients: int = Field(description="clients that may take part in a round (N)")
    parameters: int = Field(description="trained parameters of the model (d)")
    engine: str = Field(description="how local steps were run: fused, traced or eager")
    workers: int = Field(description="clients trained at once")
    dtype: str = Field(description="floating-point type of the parameters")
    bytes_down_per_client: int = Field(description="bytes one client receives in a round in which it takes part")
    bytes_up_per_client: int = Field(description="bytes one client sends in a round in which it takes part")
    bytes_down: int = Field(description="bytes all clients received in all rounds")
    bytes_up: int = Field(description="bytes all clients sent in all rounds")
    set_aside: int = Field(description="reports that were set aside, in all rounds; history.csv has the reasons")
    loss: float | None = Field(description="training loss of the last round, mean over the cohort")
    metrics: Scores = Field(description="the final model on the test part of the clients that took part")
    validation: Scores = Field(description="the last measures on the validation part, as watched during the run")
    comparison: Table = Field(
        description="on the same test part: federated (equal to metrics), pooled, local and the naive methods; "
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
            StorageError: it is not one, or is of another version.
        """
        try:
            content = json.loads(text)
            if isinstance(content, dict) and content.get("version") != VERSION:
                raise StorageError(f"{name} is of version {content.get('version')!r}: this tacit reads {VERSION}")
            return Result.model_validate(content)
        except (ValueError, ValidationError, RecursionError) as error:
            raise StorageError(f"{name} is not the result of a run: {error}") from error


def finite(value: Any) -> Any:
    """`value` with None for every number that JSON does not have."""
    if isinstance(value, dict):
        return {name: finite(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""The plan as data: frozen, without I/O, with the hash of what determines a run's result."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

VERSION = 1
LEVELS = ("privacy", "record_privacy")
"""The sections that make a run private."""
OPTIONAL = (
    *("pool", *LEVELS, "aggregation", "robust", "rotation", "compression"),
    *("fleet", "closing", "by_tier", "network"),
)
"""Sections that a plan need not have."""
SEEDS = 2**63  # what a TOML integer holds


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return MappingProxyType({str(name): _frozen(entry) for name, entry in value.items()})
    return tuple(_frozen(entry) for entry in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(entry) for name, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


Values = Annotated[Mapping[str, Any], AfterValidator(_frozen)]
"""Named values: bool, int, float, str, None, tuples of them, and tables of the same. Frozen all the way down."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(_Frozen):
    """A choice among tacit's classes: its name and all of its fields."""

    name: str = Field(description="the class, as in `import tacit`: FedAvg, SGD, Uniform, ...")
    fields: Values = Field(default_factory=dict, description="its fields, every one of them")


class Stop(_Frozen):
    """When the run ends before its last round. Without rules it does not."""

    patience: Values | None = Field(default=None, description="the fields of tacit.Patience")
    converged: Values | None = Field(default=None, description="the fields of tacit.Converged")


class RunOptions(_Frozen):
    """How the run is carried out. None of this is part of the hash, for it does not change what is computed."""

    workers: int | None = Field(default=None, ge=1, description="clients trained at once; none takes every core")
    engine: Literal["auto", "fused", "traced", "ghost", "vmapped", "eager"] = Field(
        default="auto", description="how local steps are run"
    )
    device: str = Field(default="cpu", description="cpu, or an accelerator such as cuda")
    checkpoint_every: int = Field(default=5, ge=1, description="rounds between checkpoints")
    evaluate_every: int = Field(default=1, ge=1, description="rounds between evaluations")
    compare: bool = Field(default=True, description="train pooled and local models to hold the result against")


class Plan(_Frozen):
    """Everything that a run is, with nothing left to defaults.

    `data` and `model` belong to the scenario. A `sha256` in `data` stands for the content of its `source`.
    """

    version: Literal[1] = Field(default=1, description="of this format")
    scenario: str = Field(description="what is learned: `tacit scenarios` lists them")
    seed: int = Field(default=0, ge=0, lt=SEEDS, description="of every draw")
    rounds: int = Field(ge=1, description="rounds of federated learning, at most")
    data: Values = Field(default_factory=dict, description="the scenario's data")
    model: Values = Field(default_factory=dict, description="the scenario's model and loss")
    algorithm: Part = Field(description="the federated method")
    solver: Part = Field(description="how a client learns")
    selection: Part = Field(description="who takes part in a round")
    pool: Part | None = Field(default=None, description="from whom cohorts are drawn; none draws from all")
    privacy: Part | None = Field(default=None, description="differential privacy; none gives no formal privacy")
    record_privacy: Part | None = Field(
        default=None, description="differential privacy of every record of a client, inside of that client"
    )
    aggregation: Part | None = Field(
        default=None, description="how reports are summed; none lets the server see every report"
    )
    robust: Part | None = Field(default=None, description="what takes the place of the mean; none takes the mean")
    rotation: Part | None = Field(default=None, description="a random rotation of updates, before they are compressed")
    compression: Part | None = Field(default=None, description="what makes reports shorter; none sends them whole")
    fleet: Part | None = Field(default=None, description="the devices of the clients; none keeps no virtual time")
    closing: Part | None = Field(default=None, description="when a round on a fleet is closed")
    by_tier: Part | None = Field(default=None, description="what devices of each tier are asked to do; none: the same")
    network: Part | None = Field(
        default=None, description="how it takes place between machines; a simulation ignores it"
    )
    stop: Stop = Field(default_factory=Stop, description="when the run ends early")
    run: RunOptions = Field(default_factory=RunOptions, description="how it is carried out; not part of the hash")

    @staticmethod
    def frozen(values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Tables as a plan holds them, for `model_copy`."""
        kept: Mapping[str, Any] = _frozen(values)
        return kept

    @property
    def private(self) -> bool:
        """Whether the run promises differential privacy, of clients or of records."""
        return any(getattr(self, name) is not None for name in LEVELS)

    @property
    def document(self) -> dict[str, Any]:
        """The plan as nested tables in the order of the file, without the hash."""
        return {
            "version": self.version,
            "scenario": self.scenario,
            "seed": self.seed,
            "rounds": self.rounds,
            **({"aggregation": "none"} if self.aggregation is None else {}),
            "data": _plain(self.data),
            "model": _plain(self.model),
            **{name: self._part(name) for name in ("algorithm", "solver", "selection")},
            **{name: self._part(name) for name in OPTIONAL if getattr(self, name) is not None},
            "stop": {name: _plain(rule) for name, rule in self.stop if rule is not None},
            "run": self.run.model_dump(),
        }

    def _part(self, name: str) -> dict[str, Any]:
        part: Part = getattr(self, name)
        return {"name": part.name, **_plain(part.fields)}

    @property
    def determining(self) -> dict[str, Any]:
        """What determines the result: the document without `run` and `network`, and without the paths of files known by
        their sha256.

        How often the model is evaluated matters only to a rule that waits for a number of evaluations.
        """
        content = self.document
        run = content.pop("run")
        content.pop("network", None)  # the same plan in a simulation and between machines
        if content["data"].get("sha256"):
            content["data"].pop("source", None)
        if content.get("fleet", {}).get("sha256"):
            content["fleet"] |= dict.fromkeys(("profiles", "sessions"))
        if self.stop.patience:
            content["stop"]["evaluate_every"] = run["evaluate_every"]
        return content

    @property
    def hash(self) -> str:
        """sha256 of `determining` as canonical JSON, 64 hexadecimal digits."""
        text = json.dumps(self.determining, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return sha256(text.encode()).hexdigest()

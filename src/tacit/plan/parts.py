"""The classes that a plan chooses from by name. Their fields come from the classes themselves."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tacit.plan.field import PlanField, fields_of

PARTS: dict[str, tuple[str, ...]] = {
    "algorithm": (
        "FedAvg",
        "FedProx",
        "FedNova",
        "Scaffold",
        "FedAvgM",
        "FedAdam",
        "FedYogi",
        "FedAdagrad",
        "FedDyn",
    ),
    "solver": ("SGD", "Adam"),
    "selection": (
        "Everyone",
        "Uniform",
        "Poisson",
        "Separated",
        "OverSelected",
        "Tiers",
        "Oort",
        "PowerOfChoice",
        "Quota",
    ),
    "pool": ("Pool",),
    "rotation": ("Rotate",),
    "compression": ("Quantise", "RandomK", "CountSketch", "TopK"),
    "privacy": ("UserLevel", "LocalLevel"),
    "record_privacy": ("RecordLevel",),
    "aggregation": ("SecureSum", "SharedKeySum"),
    "robust": ("Median", "TrimmedMean", "GeometricMedian", "Krum"),
    "fleet": ("Phones", "Lognormal", "Silos", "Trace"),
    "closing": ("PartialWork", "Deadline", "FirstArrivals", "WaitForAll", "FedBuff", "FedAsync"),
    "by_tier": ("ByTier",),
    "network": ("Network",),
}
ABSENT = tuple(name for name in PARTS if name not in ("algorithm", "solver", "selection"))
"""Sections that a plan need not have. One that is there and names no class is of the first."""
SCHEDULES = {"cosine": "Cosine", "step_decay": "StepDecay", "exponential": "Exponential", "warmup": "Warmup"}
STOPS = {"patience": "Patience", "converged": "Converged"}
KEPT: dict[str, tuple[str, ...]] = {
    "solver": ("batch_size", "epochs", "steps"),
    "privacy": ("epsilon", "clip", "delta", "most_examples", "population_budget", "public_evaluation"),
}
"""Fields that mean the same in every class of a section: they stay when another class is named."""
EITHER: dict[str, tuple[tuple[str, str], ...]] = {
    "solver": (("epochs", "steps"),),
    "closing": (("seconds", "quantile"),),
}
"""Fields of which one replaces the other."""


HOMES = dict.fromkeys(PARTS["fleet"], "tacit.fleet.recipe") | {
    "Pool": "tacit.selection.pool",
    "Network": "tacit.plan.network",
}
"""Where classes lie that tacit does not offer under its own name."""
ELSEWHERE = ("solver", "weight")
"""Fields that a class's own section does not set: the solver has a section, and the grid of sums sets the weight."""


def part_class(name: str) -> Any:
    """The class that a plan means by `name`."""
    return getattr(import_module(HOMES.get(name, "tacit")), name)


def part_fields(section: str, name: str) -> dict[str, PlanField]:
    """The fields of a class that its own section sets."""
    return {n: f for n, f in fields_of(part_class(name)).items() if n not in ELSEWHERE}

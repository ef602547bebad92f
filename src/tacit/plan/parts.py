"""The classes that a plan chooses from by name. Their fields come from the classes themselves."""

from __future__ import annotations

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
    "selection": ("Everyone", "Uniform", "Poisson", "Separated"),
    "privacy": ("UserLevel", "LocalLevel"),
    "record_privacy": ("RecordLevel",),
    "aggregation": ("SecureSum", "SharedKeySum"),
    "robust": ("Median", "TrimmedMean", "GeometricMedian", "Krum"),
}
ABSENT = ("privacy", "record_privacy", "aggregation", "robust")
"""Sections that a plan need not have. One that is there and names no class is of the first."""
SCHEDULES = {"cosine": "Cosine", "step_decay": "StepDecay", "exponential": "Exponential", "warmup": "Warmup"}
STOPS = {"patience": "Patience", "converged": "Converged"}
KEPT: dict[str, tuple[str, ...]] = {
    "solver": ("batch_size", "epochs", "steps"),
    "privacy": ("epsilon", "clip", "delta", "most_examples", "population_budget", "public_evaluation"),
}
"""Fields that mean the same in every class of a section: they stay when another class is named."""
EITHER: dict[str, tuple[tuple[str, str], ...]] = {"solver": (("epochs", "steps"),)}
"""Fields of which one replaces the other."""


def part_class(name: str) -> Any:
    """The class that tacit offers under `name`."""
    import tacit

    return getattr(tacit, name)


def part_fields(section: str, name: str) -> dict[str, PlanField]:
    """The fields of a class that its own section sets; the solver has a section of its own."""
    return {n: f for n, f in fields_of(part_class(name)).items() if n != "solver"}

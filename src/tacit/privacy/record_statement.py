"""The statement of record-level privacy: what a run protects of each client's records, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import exp, isfinite
from typing import Any

from tacit.privacy.accountant import Spent
from tacit.privacy.event import Charges
from tacit.privacy.record_plan import Group, RecordPlan
from tacit.privacy.statement import strength

Standing = Mapping[Group, tuple[int, Sequence[Charges]]]
"""For each group, in how many rounds its busiest client takes part, and what its clients were charged before."""


def statement(plan: RecordPlan, rounds: int, standing: Standing, exempt: bool, secure: bool) -> dict[str, Any]:
    """What the first `rounds` rounds of a run promise.

    Args:
        plan: of the run.
        rounds: that were released.
        standing: who took part how often.
        exempt: whether the data are synthetic, so that no ledger is kept.
        secure: whether the noise came from the operating system's randomness.

    Returns:
        Numbers and texts only; epsilons are None where they are infinite. What stands at the top is that of the group
        with the largest epsilon.
    """
    costs = {group: plan.spent(group, count) for group, (count, _) in standing.items()}
    worst = max(costs, key=lambda group: costs[group].epsilon)
    cost, level = costs[worst], plan.level
    in_all = [plan.most(g, count, before) for g, (count, earlier) in standing.items() for before in earlier]
    return {
        "unit": "record",
        "adjacency": level.adjacency,
        "epsilon": _json(cost.epsilon) if secure else None,
        "delta": worst.delta,
        "clients": len(plan.sizes),
        "clip": level.clip,
        "noise_multiplier": worst.noise,
        "sampling": {"kind": "poisson", "rate": worst.rate, "of": worst.fewest, "size": worst.rate * worst.fewest},
        "public_evaluation": level.public_evaluation,
        "rounds": rounds,
        "rounds_planned": plan.rounds,
        "participations": standing[worst][0],
        "epsilon_pld": _json(cost.pld),
        "epsilon_rdp": None if cost.rdp is None else _json(cost.rdp),
        "epsilon_against_server": _json(cost.epsilon) if secure else None,
        "epsilon_population_total": None if exempt or not secure else _json(max([cost.epsilon, *in_all])),
        "population_budget": level.population_budget,
        "groups": [_row(group, costs[group], standing[group][0], secure) for group in plan.groups],
        "accountant": f"dp-accounting {version('dp-accounting')}",
        "synthetic": exempt,
        "secure_randomness": secure,
        "factor": _json(exp(min(cost.epsilon, 700.0))) if secure else None,
        "strength": strength(cost.epsilon if secure else None, worst.delta),
    }


def _row(group: Group, cost: Spent, rounds: int, secure: bool) -> dict[str, Any]:
    return {
        "clients": group.clients,
        "fewest_records": group.fewest,
        "most_records": group.most,
        "rate": group.rate,
        "steps": group.steps,
        "noise_multiplier": group.noise,
        "rounds": rounds,
        "delta": group.delta,
        "epsilon": _json(cost.epsilon) if secure else None,
    }


def _json(number: float) -> float | None:
    return float(number) if isfinite(number) else None

"""The statement of record-level privacy: what a run protects of each client's records, as JSON values."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from math import isfinite
from typing import TYPE_CHECKING, Any

from tacit.privacy.accountant import Spent
from tacit.privacy.event import Charges
from tacit.privacy.record_plan import Group, RecordPlan
from tacit.privacy.statement import factor, weakest

if TYPE_CHECKING:
    from tacit.population.population import Population

Standing = Mapping[Group, tuple[int, Mapping[Charges, int]]]
"""For each group, in how many rounds its busiest client takes part, and what its clients were charged by other runs,
each with the rounds of the busiest such client."""


def statement(
    plan: RecordPlan, rounds: int, standing: Standing, population: Population, secure: bool, others: int = 0
) -> dict[str, Any]:
    """What the first `rounds` rounds of a run promise.

    Args:
        plan: of the run.
        rounds: that were released.
        standing: who took part how often.
        population: whose records they are. Of one that is synthetic no ledger is kept.
        secure: whether the noise came from the operating system's randomness.
        others: runs that were charged for the same clients as a whole.

    Returns:
        Numbers and texts only; epsilons are None where they are infinite. Epsilon and delta at the top are each the
        largest of all groups, so that together they hold for every record; noise, sampling and what accountants say are
        those of the group with the largest epsilon.
    """
    costs = {group: plan.spent(group, count) for group, (count, _) in standing.items()}
    told = [cost for group, cost in costs.items() if standing[group][0]] or list(costs.values())
    worst = max(costs, key=lambda group: costs[group].epsilon)
    cost, level, exempt = costs[worst], plan.level, population.synthetic
    in_all = [plan.most(g, count, more) for g, (_, beside) in standing.items() for more, count in beside.items()]
    return {
        "unit": "record",
        "record": None if population.record is None else dict(population.record),
        "adjacency": level.adjacency,
        "epsilon": _json(cost.epsilon) if secure else None,
        "delta": max(one.delta for one in told),
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
        "user_runs": others,
        "population_budget": level.population_budget,
        "groups": [_row(group, costs[group], standing[group][0], secure) for group in plan.groups],
        "accountant": f"dp-accounting {version('dp-accounting')}",
        "synthetic": exempt,
        "secure_randomness": secure,
        "factor": factor(cost.epsilon) if secure else None,
        "strength": weakest((one.epsilon if secure else None, one.delta) for one in told),
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

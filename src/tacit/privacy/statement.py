"""The statement of a run: what it protects, from whom and how much, and what it does not; as JSON values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from math import exp, isfinite, sqrt
from typing import Any

from tacit.privacy.accountant import FINE
from tacit.privacy.event import Charges
from tacit.privacy.plan import PrivacyPlan

OFTEN = 0.02
"""A claim that may fail with a larger probability is called weak, whatever its epsilon."""
STRENGTHS = ("strong", "reasonable", "weak", "none")
LARGEST = 700.0
"""Of a larger epsilon double precision does not hold the exponential."""


def statement(
    plan: PrivacyPlan,
    rounds: int,
    lost: int,
    before: Charges,
    exempt: bool,
    secure: bool,
    interval: float = FINE,
    others: int = 0,
) -> dict[str, Any]:
    """What the first `rounds` rounds of a run promise.

    Args:
        plan: of the run.
        rounds: that were released.
        lost: rounds that were charged beside them, because the run was cut off.
        before: charges of earlier runs on the same population.
        exempt: whether the data are synthetic, so that no ledger is kept.
        secure: whether the noise came from the operating system's randomness.
        interval: grid of the privacy loss.
        others: runs that were charged for single records of the same population.

    Returns:
        Numbers and texts only; epsilons are None where they are infinite.
    """
    level, sampling = plan.level, plan.sampling
    cost = plan.spent(rounds, lost=lost, interval=interval)
    in_all = cost if not before else plan.spent(rounds, before, lost=lost, interval=interval)
    norms = {"update": level.clip, "loss": level.loss_bound, "within": 0.5, "metrics": sqrt(len(level.metrics))}
    return {
        "unit": "user",
        "adjacency": level.adjacency,
        "epsilon": _json(cost.epsilon) if secure else None,
        "delta": plan.delta,
        "clients": sampling.of,
        "clip": level.clip,
        "clip_quantile": level.clip_quantile,
        "mechanism": f"local-{level.mechanism}" if plan.local else level.mechanism,
        "bands": plan.bands,
        "public_evaluation": level.public_evaluation,
        "noise_multiplier": plan.noise,
        "sampling": {name: value for name, value in asdict(sampling).items() if value is not None},
        "rounds": rounds,
        "rounds_planned": plan.rounds,
        "rounds_lost": lost,
        "epsilon_pld": _json(cost.pld),
        "epsilon_rdp": None if cost.rdp is None else _json(cost.rdp),
        "epsilon_against_server": _json(plan.against_server(rounds, lost).epsilon) if secure else None,
        "participations": plan.participations(rounds) + lost if plan.by_clients else plan.participations(rounds + lost),
        "epsilon_population_total": _json(in_all.epsilon) if secure and not exempt else None,
        "earlier_charges": sum(count for _, count in before),
        "record_runs": others,
        "population_budget": level.population_budget,
        "weights_bounded_at": level.most_examples,
        "summed_by": plan.summed,
        "summed_at_least": plan.fewest,
        "honest": None if plan.shares is None else plan.shares.honest,
        "releases": [
            {"name": name, "norm": norms[name], "noise_multiplier": noise} for name, noise in plan.noises().items()
        ],
        "accountant": f"dp-accounting {version('dp-accounting')}",
        "synthetic": exempt,
        "secure_randomness": secure,
        "factor": factor(cost.epsilon) if secure else None,
        "strength": strength(cost.epsilon if secure else None, plan.delta),
    }


def factor(epsilon: float) -> float | None:
    """`e^epsilon`; None where no number holds it."""
    return exp(epsilon) if epsilon < LARGEST else None


def strength(epsilon: float | None, delta: float) -> str:
    """A word for a claim, by the tiers of [Ponomareva23] arXiv:2303.00654, section 5.2.1; weak where it often fails."""
    if epsilon is None or not isfinite(epsilon):
        return "none"
    if delta > OFTEN:
        return "weak"
    return "strong" if epsilon <= 1 else "reasonable" if epsilon <= 10 else "weak"


def weakest(claims: Iterable[tuple[float | None, float]]) -> str:
    """The word for the weakest of claims (epsilon, delta)."""
    return max((strength(*claim) for claim in claims), key=STRENGTHS.index)


def _json(number: float) -> float | None:
    return float(number) if isfinite(number) else None

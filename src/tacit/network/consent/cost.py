"""What a run costs one participant of its data's privacy, as the participant itself sees it.

The participant knows in which rounds its reports left, so it claims no credit for the chance of not being drawn:
a round of Gaussian noise costs it that noise, whatever the sampling. Everything else is the plan's own: the noise that
it was calibrated to, the number of rounds in which one client may take part, and who adds the noise. Where the
coordinator adds it (`UserLevel` without Skellam noise), the cost holds if the coordinator does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tacit.network.terms import Terms
from tacit.plan import build
from tacit.privacy.event import Charges, Event, Gaussian, LocalSteps, Reports, Skellam, Unbounded, charges
from tacit.privacy.plan import PrivacyPlan, participations
from tacit.privacy.record_plan import RecordPlan
from tacit.privacy.shares import Shares
from tacit.privacy.user_level import SKELLAM, UserLevel
from tacit.selection.claim import claimed
from tacit.selection.cohort import Sampling

USER, RECORD = "user", "record"


@dataclass(frozen=True)
class Cost:
    """What a run costs one participant.

    Attributes:
        unit: what is protected as one: "user", all that the participant ever sends; "record", each of its records.
        event: of one report that leaves; of all of them, where `at_once`. None where it is known only with the model.
        reports: how many leave at most, but for a chance of one in a million.
        at_once: whether the whole run is charged with its first report.
        promised: (epsilon, delta) that the plan says that all of it costs; None where it says nothing.
    """

    unit: str
    event: Event | None
    reports: int
    at_once: bool = False
    promised: tuple[float, float] | None = None

    @property
    def private(self) -> bool:
        """Whether anything bounds what reports tell."""
        return not isinstance(self.event, Unbounded)

    @property
    def whole(self) -> Charges:
        """What all reports are to the accountant; nothing where the event is not known."""
        return () if self.event is None else charges([(self.event, 1 if self.at_once else self.reports)])


def sampling_of(terms: Terms) -> Sampling:
    """How the plan draws cohorts.

    Raises:
        UsageError: the plan's selection is none that can be.
    """
    return claimed(build.selection(terms.plan).sampling(terms.participants), None, build.closing(terms.plan))


def groups_of(terms: Terms) -> int:
    """Into how many sums a cohort is split: a robust rule compares the sums of its groups, and the server sees each."""
    rule = build.robust(terms.plan)
    return 1 if rule is None else rule.groups or 1


def costs(terms: Terms, *, records: int | None = None, shares: Shares | None = None) -> tuple[Cost, ...]:
    """What the terms cost; one without any bound where the plan promises no differential privacy.

    Args:
        terms: of the run.
        records: how many this participant holds; without it the noise on its records is not known.
        shares: how participants share out noise that they add themselves, which follows from the model (Skellam noise).

    Raises:
        PrivacyError: the plan promises what cannot be had.
        UsageError: the plan's selection is none that can be.
    """
    level, beside, sampling = build.privacy(terms.plan), build.record_privacy(terms.plan), sampling_of(terms)
    times = participations(sampling, terms.plan.rounds)
    found = []
    if level is not None:
        found.append(_of_reports(level, sampling, terms.plan.rounds, times, shares))
    if beside is not None:
        claim = None if beside.epsilon is None or records is None else (beside.epsilon, beside.delta_for(records))
        event: Event | None = None
        if beside.insecure_seed is not None:
            event = Unbounded()
        elif records is not None:
            solver = build.solver(terms.plan)
            sizes = np.array([records], dtype=np.int64)
            (group,) = RecordPlan.of(beside, solver, sizes, terms.plan.rounds, times).groups
            event = LocalSteps(group.noise, group.rate, group.steps)
        found.append(Cost(RECORD, event, times, False, claim))
    return tuple(found) or (Cost(USER, Unbounded(), times),)


def _of_reports(level: UserLevel, sampling: Sampling, rounds: int, times: int, shares: Shares | None) -> Cost:
    """What protects all that one client sends."""
    promised = None if level.epsilon is None else (level.epsilon, level.delta_for(sampling.of))
    if level.mechanism == SKELLAM and shares is None:
        event = None if level.insecure_seed is None else Unbounded()
        return Cost(USER, event, times, False, promised)
    return cost_of(PrivacyPlan.of(level, sampling, rounds, shares=shares))


def cost_of(plan: PrivacyPlan) -> Cost:
    """What a run costs one participant by the plan of its privacy, where that is at hand."""
    event, times, level = plan.event, plan.participations(plan.rounds), plan.level
    promised = None if level.epsilon is None else (level.epsilon, plan.delta)
    if level.insecure_seed is not None:
        return Cost(USER, Unbounded(), times, False, promised)
    if isinstance(event, Reports | Skellam):
        return Cost(USER, replace(event, times=1), times, False, promised)
    if plan.at_once:
        return Cost(USER, event, times, True, promised)
    return Cost(USER, Gaussian(plan.noise), times, False, promised)

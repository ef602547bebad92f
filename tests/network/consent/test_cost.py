"""What a run costs a participant: by its own reports, without credit for not being drawn."""

from __future__ import annotations

import numpy as np
import pytest

from tacit.errors import PrivacyError
from tacit.network.consent.cost import Cost, cost_of, costs
from tacit.plan import build
from tacit.privacy.event import Gaussian, Laplace, LocalSteps, Reports, Skellam, Unbounded
from tacit.privacy.plan import PrivacyPlan, participations
from tacit.privacy.record_plan import RecordPlan
from tacit.privacy.shares import Shares
from tacit.selection.cohort import Sampling
from tests.network.consent.asked import terms

USER = {"name": "UserLevel", "epsilon": 4.0, "clip": 1.0}


def test_without_a_promise_nothing_bounds_the_cost():
    (cost,) = costs(terms())
    assert (cost.event, cost.promised, cost.private) == (Unbounded(), None, False)


def test_gaussian_noise_costs_itself_and_no_sampling_is_credited():
    (cost,) = costs(terms(privacy=USER))
    plan = PrivacyPlan.of(build.privacy(terms(privacy=USER).plan), Sampling("uniform", 10, 20), 10)
    assert cost == Cost("user", Gaussian(plan.noise), 10, False, (4.0, 1 / 200))
    assert cost.whole == ((Gaussian(plan.noise), 10),)


def test_a_client_that_is_rarely_drawn_sends_few_reports():
    few = terms(privacy=USER, participants=10_000, rounds=100, selection={"name": "Poisson", "expected": 100})
    (cost,) = costs(few)
    assert cost.reports == participations(Sampling("poisson", 100, 10_000, rate=0.01), 100)
    assert cost.reports < 20


def test_local_noise_is_charged_report_by_report():
    (cost,) = costs(terms(privacy={"name": "LocalLevel", "epsilon": 4.0, "clip": 1.0}))
    assert isinstance(cost.event, Reports)
    assert (cost.event.times, cost.reports, cost.private) == (1, 10, True)
    (cost,) = costs(terms(privacy={"name": "LocalLevel", "epsilon": 4.0, "clip": 1.0, "mechanism": "laplace"}))
    assert cost.whole == ((Laplace(cost.event.noise), 10),)


def test_separated_turns_are_charged_at_once():
    apart = terms(
        privacy=USER | {"mechanism": "bisr"},
        participants=40,
        rounds=12,
        selection={"name": "Separated", "cohort": 10},
    )
    (cost,) = costs(apart)
    plan = PrivacyPlan.of(build.privacy(apart.plan), build.selection(apart.plan).sampling(40), 12)
    assert (cost.at_once, cost.event, cost.whole) == (True, plan.event, ((plan.event, 1),))


def test_shared_noise_is_known_with_the_model_only():
    skellam = terms(privacy=USER | {"mechanism": "skellam"})
    (cost,) = costs(skellam)
    assert (cost.event, cost.private, cost.whole, cost.promised) == (None, True, (), (4.0, 1 / 200))
    shares = Shares(1000.0, 50_000.0, 5, 10, 32)
    (known,) = costs(skellam, shares=shares)
    assert isinstance(known.event, Skellam)
    assert (known.event.times, known.event.l2, known.reports) == (1, 1000.0, 10)
    plan = PrivacyPlan.of(build.privacy(skellam.plan), Sampling("uniform", 10, 20), 10, shares=shares)
    assert cost_of(plan) == known


def test_noise_on_records_follows_from_their_number():
    asked = terms(record_privacy={"name": "RecordLevel", "epsilon": 2.0, "clip": 1.0})
    (unknown,) = costs(asked)
    assert (unknown.unit, unknown.event, unknown.promised) == ("record", None, None)
    (cost,) = costs(asked, records=500)
    level, solver = build.record_privacy(asked.plan), build.solver(asked.plan)
    (group,) = RecordPlan.of(level, solver, np.array([500]), 10, 10).groups
    assert cost.event == LocalSteps(group.noise, group.rate, group.steps)
    assert cost.promised == (2.0, level.delta_for(500))


def test_both_promises_are_two_costs():
    both = terms(privacy=USER, record_privacy={"name": "RecordLevel", "epsilon": 2.0, "clip": 1.0})
    assert [cost.unit for cost in costs(both, records=500)] == ["user", "record"]


@pytest.mark.parametrize("mechanism", ["gaussian", "skellam"])
def test_noise_from_a_seed_bounds_nothing(mechanism):
    (cost,) = costs(terms(privacy=USER | {"insecure_seed": 7, "mechanism": mechanism}))
    assert (cost.event, cost.private) == (Unbounded(), False)
    (cost,) = costs(terms(record_privacy={"name": "RecordLevel", "epsilon": 2.0, "clip": 1.0, "insecure_seed": 7}))
    assert (cost.unit, cost.event) == ("record", Unbounded())


def test_a_promise_that_cannot_be_kept_is_told():
    with pytest.raises(PrivacyError):
        costs(terms(privacy={"name": "UserLevel", "epsilon": 4.0, "noise_multiplier": 0.01, "clip": 1.0}))

"""Selections that look at clients, in whole runs: what they see, what it costs, and what they may not stand beside."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tacit
from tacit.errors import PrivacyError
from tacit.fleet import Deadline, FirstArrivals, Flag, Fleet, PartialWork, WaitForAll, lognormal
from tacit.rounds.schedule import Schedule
from tacit.selection.eligible import Eligible
from tacit.selection.oort import Oort
from tacit.selection.overselected import OverSelected
from tacit.selection.power_of_choice import PowerOfChoice
from tacit.selection.quota import Quota
from tacit.selection.spaced import Spaced
from tacit.selection.tiers import Tiers
from tests.rounds.test_schedule import N, federation, people, same

RULES = [
    Eligible(tacit.Uniform(8), memory=2000),
    Spaced(tacit.Uniform(8), gap=3),
    OverSelected(8),
    Tiers(6),
    Oort(8),
    PowerOfChoice(8, 20),
    PowerOfChoice(8, 20, stale=True),
    Quota(8),
    Spaced(Eligible(Oort(6), unreliable=0.1), gap=2, most=20),
]


def devices(seed: int = 2) -> Fleet:
    rng = np.random.default_rng(seed)
    return Fleet.of(np.exp(rng.normal(size=N)), memory=np.where(np.arange(N) % 3, 4000.0, 1000.0), dropout=0.1)


def run_and_calls(rounds: int, **options):
    calls, done = [], Schedule.done

    def noting(self, call, round, *more):
        calls.append((self.table, call))
        return done(self, call, round, *more)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(Schedule, "done", noting)
        return federation(**{"fleet": devices(), "closing": Deadline(), "minimum": 0.1, **options}).run(rounds), calls


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_a_run_that_was_cut_off_draws_the_same_cohorts(tmp_path, rule):
    options = {"selection": rule, "fleet": devices(), "closing": Deadline(), "minimum": 0.1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = federation(**options).run(7)
        federation(**options).run(4, checkpoint=tmp_path, checkpoint_every=2)
        resumed = federation(**options).run(7, checkpoint=tmp_path, resume=True)
    assert same(whole, resumed) and whole.facts["fleet"] == resumed.facts["fleet"]


@pytest.mark.parametrize("rule", [rule for rule in RULES if "Eligible" not in repr(rule)], ids=repr)
def test_a_rule_that_requires_nothing_of_devices_needs_no_fleet(rule):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, two = (federation(selection=rule).run(4) for _ in range(2))
    assert same(one, two)


def test_nobody_without_the_memory_is_asked():
    _, calls = run_and_calls(8, selection=Eligible(tacit.Uniform(8), memory=2000))
    assert all((call.cohort.clients % 3 > 0).all() and len(call.cohort.clients) == 8 for _, call in calls)


def test_nobody_is_asked_again_too_soon_and_none_too_often():
    _, calls = run_and_calls(12, selection=Spaced(tacit.Uniform(8), gap=4, most=3))
    turns = [set(call.cohort.clients.tolist()) for _, call in calls]
    for round, turn in enumerate(turns):
        assert not any(turn & turns[earlier] for earlier in range(max(0, round - 3), round))
    assert np.bincount([c for turn in turns for c in turn]).max() <= 3


def test_a_tier_is_guided_by_the_losses_of_its_rounds_alone():
    run, calls = run_and_calls(12, selection=Tiers(6), closing=WaitForAll())
    table = calls[-1][0]
    for round, ((_, call), row) in enumerate(zip(calls, run.rows, strict=True)):
        (tier,) = set(table.tier[call.cohort.clients].tolist())
        if table.tier_round[tier] == round:
            assert table.tier_loss[tier] == pytest.approx(row["loss"])
    assert np.isnan(table.loss).all()


def test_power_of_choice_takes_the_candidates_whose_losses_are_highest():
    """In the first round the losses are those of the initial model, which anybody can compute."""
    rule, first = PowerOfChoice(5, 15), federation()
    model, loss = first.task.model, first.task.loss
    _, calls = run_and_calls(1, selection=rule, fleet=None, closing=None, minimum=0.5)
    from tacit.selection.table import ClientTable

    who = rule.candidates_of(ClientTable.of(N, examples=people().sizes), 5, 0)
    known = {
        c: float(loss(model(x.float()), y)) for c in who.tolist() for x, y in [people().examples(np.array([c])).of(0)]
    }
    best = sorted(sorted(known, key=known.get)[-5:])
    assert calls[0][1].cohort.clients.tolist() == best


def test_asking_candidates_takes_time_and_bytes():
    alike = Fleet.of(np.ones(N), down=1e9, up=1e9)
    rule = PowerOfChoice(5, 15)
    run, _ = run_and_calls(2, selection=rule, fleet=alike, closing=WaitForAll())
    training, evaluation = 12 * 2 * 1.0, 12 / 3
    assert run.rows[-1]["virtual_hours"] * 3600 == pytest.approx(2 * (training + evaluation), abs=0.01)
    assert run.facts["fleet"]["device_hours"] * 3600 == pytest.approx(2 * (5 * training + 15 * evaluation), abs=0.1)


def test_oort_prefers_those_it_learns_much_from():
    """Half of the clients have labels that nobody can learn: their losses stay high."""
    rng = np.random.default_rng(0)
    data = {}
    for k in range(N):
        x = rng.normal(size=(12, 6)).astype(np.float32)
        data[f"c{k:02d}"] = (x, (x[:, 0] > 0).astype(np.int64) if k % 2 else rng.integers(0, 2, 12))
    _run, calls = run_and_calls(
        60,
        population=tacit.Population.from_arrays(data),
        selection=Oort(8, least_exploration=0.1, decay=0.9),
        fleet=Fleet.of(np.ones(N)),
        closing=WaitForAll(),
    )
    late = np.concatenate([call.cohort.clients for _, call in calls[20:]])
    assert (late % 2 == 0).mean() > 0.6


def test_over_selection_closes_with_the_reports_that_are_wanted_and_forgets_slow_devices():
    run, calls = run_and_calls(
        30, selection=OverSelected(10, factor=1.3), closing=FirstArrivals(), fleet=lognormal(N, 3, dropout=0.0)
    )
    assert all(row["clients"] == 10 and row["asked"] == 13 for row in run.rows)
    table = calls[-1][0]
    slowest = np.argsort(table.seconds)[-N // 10 :]
    assert table.counted[slowest].sum() < 0.1 * table.counted.sum() / 10


def test_the_factor_is_measured_from_who_does_not_report():
    run, _ = run_and_calls(
        40, selection=OverSelected(10), closing=FirstArrivals(), fleet=Fleet.of(np.ones(N), dropout=0.4)
    )
    asked = np.array([row["asked"] for row in run.rows])
    assert asked[0] < asked[-1] and 14 <= asked[-1] <= 22


def test_a_quota_spreads_participation():
    from tacit.fleet import gini

    _, quota = run_and_calls(10, selection=Quota(8, share=1.0), closing=WaitForAll())
    _, chance = run_and_calls(10, selection=tacit.Uniform(8), closing=WaitForAll())
    assert gini(quota[-1][0].asked) < gini(chance[-1][0].asked) / 2


def test_poisson_from_a_pool_keeps_its_rate_and_its_claim():
    rule = Eligible(tacit.Poisson(20), memory=2000)
    level = tacit.UserLevel(noise_multiplier=1.0, clip=1.0, delta=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pooled = federation(selection=rule, fleet=devices(), closing=PartialWork(), privacy=level).run(3)
        whole = federation(selection=tacit.Poisson(20), privacy=level).run(3)
    assert pooled.facts["privacy"]["epsilon"] == pytest.approx(whole.facts["privacy"]["epsilon"])


@pytest.mark.parametrize(
    "rule", [Eligible(tacit.Uniform(20), memory=2000), Spaced(tacit.Uniform(20)), OverSelected(20), Quota(20)]
)
def test_no_other_rule_has_amplification_for_a_pool(rule):
    level = tacit.UserLevel(noise_multiplier=1.0, clip=1.0, delta=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mine = federation(selection=rule, fleet=devices(), privacy=level).run(1).facts["privacy"]["epsilon"]
        everyone = federation(privacy=level).run(1).facts["privacy"]["epsilon"]
    assert mine == pytest.approx(everyone)


@pytest.mark.parametrize("rule", [Oort(8), PowerOfChoice(8, 20), Spaced(Oort(8), gap=2)])
@pytest.mark.parametrize(
    "promise", [{"privacy": tacit.UserLevel(4.0, clip=1.0)}, {"record_privacy": tacit.RecordLevel(4.0, clip=1.0)}]
)
def test_rules_that_ask_for_losses_stand_beside_no_promise_of_privacy(rule, promise):
    with pytest.raises(PrivacyError, match="asks each client for its loss"):
        federation(selection=rule, **promise)


def test_correlated_noise_takes_turns_on_a_fleet():
    level = tacit.UserLevel(4.0, clip=1.0, delta=1e-3, mechanism="bisr")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = federation(
            selection=Spaced(tacit.Uniform(8), gap=4), fleet=devices(), closing=PartialWork(), privacy=level
        ).run(9)
    assert run.facts["privacy"]["epsilon"] <= 4.0


def test_requirements_on_flags():
    flags = np.where(np.arange(N) < 10, int(Flag.UNMETERED | Flag.CHARGING), int(Flag.CHARGING))
    _, calls = run_and_calls(
        3, selection=Eligible(tacit.Everyone(), unmetered=True, charging=True), fleet=Fleet.of(np.ones(N), flags=flags)
    )
    assert all(call.cohort.clients.tolist() == list(range(10)) for _, call in calls)

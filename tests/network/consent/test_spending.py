"""The participant's own ledger: charged before a report leaves, capped over any 365 days, by dataset."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from math import inf

import pytest

from tacit.errors import BudgetExceeded, LedgerTampered
from tacit.network.consent.cost import Cost
from tacit.network.consent.spending import YEAR, Spending
from tacit.privacy.accountant import gaussian_epsilon, most
from tacit.privacy.event import Gaussian, LocalSteps, Reports, Skellam, Unbounded, charges

DELTA = 1e-5
QUIET = Cost("user", Gaussian(5.0), 10)
SKELLAM = Cost("user", Skellam(5.0, 1000.0, 50_000.0), 10)


@pytest.fixture
def opened(tmp_path):
    made = []

    def open(dataset="icu", **more):
        made.append(Spending(tmp_path / "ledger.sqlite", dataset, **more))
        return made[-1]

    yield open
    for spending in made:
        spending.close()


def charge(spending, round, cost=QUIET, attempt=0, run="a" * 32, now=None):
    return spending.reserve(cost, run=run, plan="p" * 64, round=round, attempt=attempt, now=now)


def gaussian(times, noise=5.0):
    return gaussian_epsilon(times**0.5 / noise, DELTA)


def test_reports_add_up_as_gaussian_noise_does(opened):
    spending = opened()
    assert spending.epsilon() == 0.0
    for round in range(3):
        charge(spending, round)
        assert spending.epsilon() == pytest.approx(gaussian(round + 1), rel=1e-9)


def test_an_attempt_is_charged_once_also_after_a_restart(opened):
    first = charge(opened(), 0)
    again = opened()
    assert charge(again, 0) == first
    assert again.epsilon() == pytest.approx(gaussian(1))
    assert charge(again, 0, attempt=1) != first
    assert again.epsilon() == pytest.approx(gaussian(2))


def test_a_cap_may_be_reached_and_not_passed(opened):
    spending = opened(epsilon=gaussian(3))
    for round in range(3):
        charge(spending, round)
    with pytest.raises(BudgetExceeded, match="nothing was sent"):
        charge(spending, 3)
    assert spending.epsilon() == pytest.approx(gaussian(3))
    assert charge(spending, 2).round == 2  # what was charged stays charged


def test_a_run_that_fits_as_a_whole_is_let_through_to_its_end_and_no_further(opened):
    spending = opened(epsilon=gaussian(10))
    for round in range(10):
        charge(spending, round)
    with pytest.raises(BudgetExceeded):
        charge(spending, 10)
    with pytest.raises(BudgetExceeded):
        charge(spending, 9, attempt=1)


def test_a_second_run_sees_what_the_first_has_spent(opened):
    spending = opened(epsilon=gaussian(12))
    charge(spending, 0, run="a" * 32)
    for round in range(10):
        charge(spending, round, run="b" * 32)
    charge(spending, 1, run="a" * 32)
    with pytest.raises(BudgetExceeded):
        charge(spending, 2, run="a" * 32)


def test_what_another_process_has_spent_counts(opened):
    mine, other = opened(epsilon=gaussian(11)), opened(epsilon=gaussian(11))
    charge(mine, 0, run="a" * 32)
    for round in range(10):
        charge(other, round, run="b" * 32)
    with pytest.raises(BudgetExceeded):
        charge(mine, 1, run="a" * 32)


def test_datasets_have_nothing_to_do_with_each_other(opened):
    icu, lab = opened("icu", epsilon=gaussian(1)), opened("lab", epsilon=gaussian(1))
    charge(icu, 0)
    charge(lab, 0)
    with pytest.raises(BudgetExceeded, match="'icu'"):
        charge(icu, 1)
    assert lab.epsilon() == icu.epsilon() == pytest.approx(gaussian(1))


def test_a_charge_counts_for_365_days(opened):
    spending = opened(epsilon=gaussian(1))
    at = datetime.fromisoformat(charge(spending, 0).at)
    assert spending.epsilon(now=at + YEAR - timedelta(milliseconds=1)) == pytest.approx(gaussian(1))
    assert spending.epsilon(now=at + YEAR) == 0.0
    with pytest.raises(BudgetExceeded):
        charge(spending, 1, now=at + YEAR - timedelta(milliseconds=1))
    charge(spending, 1, now=at + YEAR)


def test_a_clock_that_was_set_back_makes_nothing_free(opened):
    spending = opened(epsilon=gaussian(1))
    charge(spending, 0)
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    assert spending.epsilon(now=long_ago) == pytest.approx(gaussian(1))
    with pytest.raises(BudgetExceeded):
        charge(spending, 1, now=long_ago)


def test_a_run_that_is_charged_at_once_is_charged_once(opened):
    spending = opened(epsilon=gaussian(1))
    whole = Cost("user", Gaussian(5.0), 4, at_once=True)
    for round in (0, 4, 8):
        charge(spending, round, whole)
    assert spending.epsilon() == pytest.approx(gaussian(1))
    with pytest.raises(BudgetExceeded):
        charge(spending, 0, whole, run="b" * 32)


def test_units_are_accounts_of_their_own(opened):
    spending = opened(epsilon=1.0)
    steps = Cost("record", LocalSteps(4.0, 0.01, 20), 5)
    charge(spending, 0, steps)
    expected = most(charges([(LocalSteps(4.0, 0.01, 20), 1)]), DELTA)
    assert spending.epsilon("record") == pytest.approx(expected)
    assert spending.epsilon("user") == 0.0


@pytest.mark.parametrize("event", [Reports(6.0, "gaussian", 1), Reports(20.0, "laplace", 1), SKELLAM.event])
def test_other_noise_is_charged_alike(opened, event):
    spending = opened()
    for round in range(2):
        charge(spending, round, Cost("user", event, 5))
    assert spending.epsilon() == pytest.approx(most(charges([(event, 2)]), DELTA))


def test_a_report_without_privacy_spends_all_for_a_year(opened):
    spending = opened()
    at = datetime.fromisoformat(charge(spending, 0, Cost("user", Unbounded(), 5)).at)
    assert spending.epsilon() == inf
    assert opened(epsilon=100.0).refusal(QUIET) is not None
    assert opened(epsilon=100.0).refusal(QUIET, at + YEAR) is None


def test_what_a_whole_run_would_cost_is_on_top_of_the_last_year(opened):
    spending = opened(epsilon=gaussian(12))
    assert spending.after(QUIET) == pytest.approx(gaussian(10))
    for round in range(2):
        charge(spending, round, run="b" * 32)
    assert spending.after(QUIET) == pytest.approx(gaussian(12))
    assert spending.refusal(QUIET) is None
    charge(spending, 2, run="b" * 32)
    assert "of which" in spending.refusal(QUIET)


def test_a_run_that_has_begun_is_not_counted_twice(opened):
    spending = opened(epsilon=gaussian(10))
    for round in range(9):
        charge(spending, round, run="a" * 32)
    assert spending.refusal(QUIET, run="a" * 32) is None
    assert spending.refusal(QUIET) is not None


def test_a_cost_that_is_not_known_yet_counts_by_its_own_claim(opened):
    spending = opened(epsilon=5.0)
    claimed = Cost("user", None, 10, promised=(4.0, 5e-6))
    assert spending.after(claimed) == 4.0
    charge(spending, 0)
    assert spending.after(claimed) == pytest.approx(4.0 + gaussian_epsilon(1 / 5.0, 5e-6))
    assert spending.after(Cost("user", None, 10, promised=(4.0, 2e-5))) == inf
    assert spending.after(Cost("user", None, 10, promised=(4.0, 1e-5))) == inf
    assert "follows from its model" in spending.refusal(Cost("user", None, 10))
    with pytest.raises(BudgetExceeded, match="is not known"):
        charge(spending, 1, claimed)


def test_without_a_cap_all_is_charged_and_nothing_refused(opened):
    spending = opened()
    loud = Cost("user", Gaussian(0.01), 1)
    charge(spending, 0, loud)
    assert spending.refusal(loud) is None
    assert spending.epsilon() > 1000


def test_a_ledger_that_was_changed_is_not_believed(opened, tmp_path):
    charge(opened(), 0)
    opened().close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as changed:
        changed.execute("UPDATE entries SET event = replace(event, '5.0', '50.0')")
    with pytest.raises(LedgerTampered, match="not as it was written"):
        opened().epsilon()

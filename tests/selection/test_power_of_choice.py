from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tacit.selection.cohort import Uniform
from tacit.selection.eligible import Eligible
from tacit.selection.power_of_choice import PowerOfChoice, to_evaluate
from tacit.selection.table import ClientTable
from tests.selection.tables import assert_frequent, tables


@given(tables, st.integers(0, 2**32), st.booleans())
def test_the_cohort_is_of_the_candidates_and_no_other_candidate_has_a_higher_loss(table, seed, stale):
    rule = PowerOfChoice(3, 6, stale)
    candidates, chosen = rule.candidates_of(table, seed, 4), rule.choose(table, seed, 4).clients
    assert len(candidates) == min(6, table.pool.sum())
    assert table.pool[candidates].all()
    assert set(chosen) <= set(candidates)
    assert len(chosen) == min(3, len(candidates))
    loss = np.where(np.isnan(table.loss), np.inf if stale else -np.inf, table.loss)
    others = np.setdiff1d(candidates, chosen)
    if len(others):
        assert loss[others].max() <= loss[chosen].min()


def test_candidates_come_up_in_proportion_to_their_examples():
    """Of 20 clients 4 candidates, by 1 to 20 examples; the chance is 4 n / 210. See `assert_frequent` for the error."""
    table, draws = ClientTable.of(20, examples=np.arange(1, 21)), 4000
    rule = PowerOfChoice(1, 4)
    counts = np.bincount(np.concatenate([rule.candidates_of(table, s, 0) for s in range(draws)]), minlength=20)
    assert_frequent(counts, 4 * np.arange(1, 21) / 210, draws)


def test_equals_are_chosen_at_random():
    table, rule = ClientTable.of(6), PowerOfChoice(2, 6)
    counts = np.bincount(np.concatenate([rule.choose(table, s, 0).clients for s in range(3000)]), minlength=6)
    assert_frequent(counts, np.full(6, 1 / 3), 3000)


def test_new_losses_of_the_candidates_decide():
    table, rule = ClientTable.of(10), PowerOfChoice(2, 5)
    candidates = rule.candidates_of(table, 7, 1)
    table.loss[candidates] = [0.1, 0.9, 0.2, np.nan, 0.8]
    assert rule.choose(table, 7, 1).clients.tolist() == sorted(candidates[[1, 4]].tolist())


def test_who_is_to_evaluate_is_known_inside_other_rules():
    table = ClientTable.of(8, memory=np.arange(8.0))
    rule = Eligible(PowerOfChoice(2, 4), memory=4)
    assert to_evaluate(rule, table, 1, 0).tolist() == [4, 5, 6, 7]
    assert to_evaluate(PowerOfChoice(2, 4, stale=True), table, 1, 0).tolist() == []
    assert to_evaluate(Uniform(2), table, 1, 0).tolist() == []


def test_too_few_or_too_many_candidates_are_a_problem():
    assert PowerOfChoice(3, 2).problems(9) == ["candidates is 2: give a whole number from 3 to 9"]
    assert PowerOfChoice(3, 10).problems(9) == ["candidates is 10: give a whole number from 3 to 9"]
    assert PowerOfChoice(3, 9).problems(9) == []
    assert PowerOfChoice(3, 9).uses == ("client losses",)

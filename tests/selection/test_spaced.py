from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.privacy.correlated import Turns
from tacit.selection.cohort import Poisson, Uniform
from tacit.selection.eligible import Eligible
from tacit.selection.oort import Oort
from tacit.selection.quota import Quota
from tacit.selection.spaced import Spaced
from tacit.selection.table import ClientTable
from tacit.selection.tiers import Tiers

INSIDE = [Uniform(3), Poisson(3), Quota(3), Eligible(Uniform(3), memory=1.0), Oort(3)]


@pytest.mark.parametrize("inner", INSIDE, ids=lambda rule: type(rule).__name__)
@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.one_of(st.none(), st.integers(1, 5)), st.integers(0, 2**32), st.floats(0.1, 1))
def test_neither_the_separation_nor_the_maximum_is_ever_violated(inner, gap, most, seed, there):
    """Over 60 rounds with random pools and failures, held against what the accounting holds cohorts against."""
    rng, rule = np.random.default_rng(seed), Spaced(inner, gap, most)
    table, turns, count = ClientTable.of(20, memory=np.full(20, 2.0)), Turns(gap), np.zeros(20, int)
    for round in range(60):
        table = replace(table, pool=rng.random(20) < there)
        who = rule.choose(table, seed, round).clients
        turns.take(round, who)
        count[who] += 1
        counted = who[rng.random(len(who)) < 0.8]
        table.observe(round, who, counted, rng.random(len(counted)))
    assert most is None or count.max() <= most
    assert count.sum() > 0


def test_a_round_that_is_given_up_and_tried_again_keeps_the_separation():
    table, rule = ClientTable.of(9), Spaced(Uniform(3), gap=3)
    first = rule.choose(table, 1, 0).clients
    table.observe(0, first, [])
    assert not set(first) & set(rule.choose(table, 1, 0).clients)


def test_everybody_has_a_turn_where_there_are_just_enough():
    table, rule = ClientTable.of(12), Spaced(Uniform(3), gap=4)
    for round in range(40):
        who = rule.choose(table, 5, round).clients
        assert len(who) == 3
        table.observe(round, who, who)
    assert (table.asked == 10).all()


def test_cohorts_without_a_table_are_those_of_a_run_in_which_all_are_there():
    table, rule, turns = ClientTable.of(10), Spaced(Uniform(2), gap=4), Turns(4)
    for round in range(12):
        who = rule.choose(table, 3, round).clients
        assert rule.draw(10, 3, round).clients.tolist() == who.tolist()
        turns.take(round, who)
        table.observe(round, who, who)


def test_a_table_that_was_saved_and_restored_goes_on_alike():
    table, rule = ClientTable.of(10), Spaced(Uniform(2), gap=4)
    for round in range(5):
        who = rule.choose(table, 3, round).clients
        table.observe(round, who, who)
    again = ClientTable.of(10).with_history(table.history())
    assert rule.choose(again, 3, 5).clients.tolist() == rule.choose(table, 3, 5).clients.tolist()


def test_separation_is_claimed_where_it_is_kept_and_chance_never():
    sampling = Spaced(Uniform(3), gap=4).sampling(30)
    assert (sampling.kind, sampling.gap, sampling.rate) == ("separated", 4, None)
    assert Spaced(Poisson(3), gap=2).sampling(30).rate is None
    for rule in (Spaced(Uniform(3)), Spaced(Poisson(3), most=2), Spaced(Oort(3), gap=4), Spaced(Tiers(3), gap=4)):
        assert rule.sampling(30).kind == "arbitrary"
        assert rule.sampling(30).gap is None


def test_what_is_inside_is_used_too():
    assert Spaced(Eligible(Uniform(2)), gap=2).uses == ("participation", "system")


def test_a_gap_for_which_there_are_too_few_clients_is_a_problem_with_two_ways_out():
    assert Spaced(Uniform(3), gap=3).problems(9) == []
    (problem,) = Spaced(Uniform(3), gap=4).problems(9)
    assert "a gap of 3, or for cohorts of 2" in problem

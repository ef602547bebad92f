"""What is true of every rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.selection.cohort import Everyone, Poisson, Separated, Uniform, drawn
from tacit.selection.eligible import Eligible
from tacit.selection.oort import Oort
from tacit.selection.overselected import OverSelected
from tacit.selection.quota import Quota
from tacit.selection.spaced import Spaced
from tacit.selection.table import ClientTable
from tacit.selection.tiers import Tiers
from tests.selection.tables import RULES, assert_frequent, assert_pearson, frequencies, random_table, tables


def by_name(value) -> str:
    return repr(value)[:40]


each_rule = pytest.mark.parametrize("rule", RULES, ids=by_name)


@each_rule
@settings(max_examples=25, deadline=None)
@given(table=tables, seed=st.integers(0, 2**40), round=st.integers(0, 60))
def test_a_cohort_is_ascending_of_the_pool_alone_and_the_same_every_time(rule, table, seed, round):
    cohort = rule.choose(table, seed, round)
    assert cohort.clients.dtype == np.int64
    assert (np.diff(cohort.clients) > 0).all()
    assert table.pool[cohort.clients].all()
    assert cohort.sampling == rule.sampling(len(table))
    again = rule.choose(table, seed, round)
    assert again.clients.tolist() == cohort.clients.tolist()
    if cohort.inclusion is not None:
        assert cohort.inclusion.shape == cohort.clients.shape
        assert ((cohort.inclusion > 0) & (cohort.inclusion <= 1)).all()


@each_rule
def test_nobody_is_drawn_where_nobody_is_there(rule):
    table = random_table(3, 20)
    cohort = rule.choose(replace(table, pool=np.zeros(20, np.bool_)), 1, 5)
    assert cohort.clients.tolist() == []
    assert cohort.inclusion is None or cohort.inclusion.tolist() == []


@each_rule
def test_a_rule_changes_nothing_in_the_table(rule):
    table = random_table(4, 25)
    before, pool = table.history(), table.pool.copy()
    rule.choose(table, 1, 31)
    assert (table.pool == pool).all()
    for name, column in table.history().items():
        assert np.array_equal(column, before[name], equal_nan=column.dtype.kind == "f")


@each_rule
def test_no_rule_finds_a_problem_in_itself_and_all_draw_without_a_table(rule):
    assert rule.problems(30) == []
    assert (np.diff(rule.draw(30, 0, 2).clients) > 0).all()


@pytest.mark.parametrize("rule", [r for r in RULES if not isinstance(r, Everyone | Separated)], ids=by_name)
def test_another_seed_and_another_round_draw_other_cohorts(rule):
    table = random_table(9, 400)
    cohorts = {tuple(rule.choose(table, seed, round).clients) for seed in range(4) for round in range(40, 44)}
    assert len(cohorts) > 8


CHANCE = [
    Uniform(5),
    Poisson(5),
    Eligible(Uniform(5), memory=1500),
    Eligible(Poisson(5), version=1, slowest=0.3),
    Spaced(Uniform(3), gap=4),
    OverSelected(4),
    Tiers(4),
    Oort(6),
    Oort(6, exploration=0.0, least_exploration=0.0),
    Quota(7, share=0.4),
    Quota(4, share=1.0),
]


@pytest.mark.parametrize("rule", CHANCE, ids=by_name)
def test_clients_come_up_as_often_as_their_declared_probability_says(rule):
    """4000 cohorts of 40 clients with a pool; see `assert_frequent` for the error."""
    draws, table = 4000, random_table(11, 40)
    declared, counts = frequencies(rule, table, draws)
    seen = ~np.isnan(declared)
    possible = rule.narrowed(table, 30).pool if hasattr(rule, "narrowed") else table.pool
    assert (possible[seen]).all()
    assert seen.sum() == possible.sum() or isinstance(rule, Tiers | Quota)
    assert_frequent(counts[seen], declared[seen], draws)


@pytest.mark.parametrize("rule", CHANCE[:6], ids=by_name)
def test_those_with_equal_chances_come_up_equally_often(rule):
    draws, table = 4000, random_table(13, 40)
    declared, counts = frequencies(rule, table, draws)
    seen = ~np.isnan(declared)
    chance, coins = declared[seen][0], rule.sampling(40).kind == "poisson"
    assert (declared[seen] == chance).all()
    assert_pearson(counts[seen], chance, draws, fixed=not coins)


@pytest.mark.parametrize("rule", CHANCE[5:], ids=by_name)
def test_declared_probabilities_add_up_to_the_cohort_on_average(rule):
    """A second hold on `inclusion`: the mean of 1 / p over a cohort estimates the number of those who can come up."""
    table = random_table(12, 40)
    cohorts = [rule.choose(table, seed, 30) for seed in range(2000)]
    estimates = np.array([(1 / cohort.inclusion).sum() for cohort in cohorts])
    possible = len(np.unique(np.concatenate([cohort.clients for cohort in cohorts])))
    assert abs(estimates.mean() - possible) < 5 * estimates.std() / np.sqrt(len(estimates)) + 1e-9


def _pairs(rule, table, draws) -> np.ndarray:
    pairs = np.zeros((len(table), len(table)))
    for seed in range(draws):
        who = rule.choose(table, seed, 0).clients
        pairs[np.ix_(who, who)] += 1
    return pairs


def _upper(square: np.ndarray, who: np.ndarray) -> np.ndarray:
    return square[np.ix_(who, who)][np.triu_indices(len(who), 1)]


@pytest.mark.parametrize("rule", [Poisson(4), Eligible(Poisson(4), memory=2500)], ids=repr)
def test_pairs_of_poisson_come_up_by_the_product_of_their_rates_whatever_the_pool(rule):
    """The cap is far off. The largest of 66 deviations is beyond 5 standard deviations with probability 4e-5."""
    draws, table = 6000, random_table(6, 20)
    who = (rule.narrowed(table, 0) if isinstance(rule, Eligible) else table).eligible
    counts, rate = _upper(_pairs(rule, table, draws), who), (4 / 20) ** 2
    assert len(counts) >= 15
    assert np.abs(counts - draws * rate).max() < 5 * np.sqrt(draws * rate * (1 - rate))


@pytest.mark.parametrize("rule", [Uniform(4), Eligible(Uniform(4), memory=1500)], ids=repr)
def test_pairs_of_uniform_come_up_as_in_draws_without_replacement_from_the_pool(rule):
    draws, table = 6000, random_table(6, 20)
    who = (rule.narrowed(table, 0) if isinstance(rule, Eligible) else table).eligible
    n = len(who)
    counts, rate = _upper(_pairs(rule, table, draws), who), 4 * 3 / (n * (n - 1))
    assert len(counts) >= 15
    assert np.abs(counts - draws * rate).max() < 5 * np.sqrt(draws * rate * (1 - rate))


@pytest.mark.parametrize("rule", [Uniform(1000), Poisson(1000), *RULES[4:]], ids=by_name)
def test_a_million_clients_are_no_problem(rule):
    rng = np.random.default_rng(0)
    size = 1_000_000
    seconds = np.exp(rng.normal(size=size))
    table = ClientTable.of(size, seconds=seconds, memory=seconds * 2000, tier=rng.integers(0, 5, size))
    table = replace(table, flags=np.full(size, 3, np.uint8), version=np.ones(size, np.int64))
    asked = np.arange(0, size, 3)
    table.observe(0, asked, asked[::2], rng.random(len(asked[::2])))
    cohort = drawn(rule, table, 1, 7)
    assert 0 < len(cohort.clients) <= 1300
    assert (np.diff(cohort.clients) > 0).all()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Eligible(Uniform(99), memory=-1, unmetered=1, version=-2, slowest=1.0, unreliable="x"), 6),
        (Eligible("uniform"), 1),
        (Eligible(Uniform), 1),
        (Spaced(Uniform(0), gap=0, most=0), 3),
        (Spaced(Uniform(5), gap=3), 1),
        (OverSelected(0, factor=0.5, margin=-1), 3),
        (Tiers(11, floor=0), 2),
        (Oort(0, exploration=2, decay=-1, penalty=-1, floor=0.1, clip="all"), 6),
        (Quota(0, share=1.5), 2),
    ],
    ids=by_name,
)
def test_all_that_is_wrong_with_a_rule_is_said_with_the_value_and_the_remedy(rule, said):
    problems = rule.problems(10)
    assert len(problems) == said
    assert all(": give " in text or ": 10 clients are enough for" in text for text in problems)


def test_a_rule_of_ones_own_without_a_table_can_be_inside_another():
    class First:
        def problems(self, clients):
            return []

        def sampling(self, clients):
            return Uniform(3).sampling(clients)

        def draw(self, clients, seed, round):
            return replace(Uniform(3).draw(clients, 0, 0), clients=np.arange(3), inclusion=None)

    table = ClientTable.of(9, memory=np.array([1.0, 9, 9, 9, 9, 9, 9, 9, 9]))
    rule = Eligible(First(), memory=5)
    assert rule.problems(9) == []
    assert rule.choose(table, 0, 0).clients.tolist() == [1, 2]
    assert rule.uses == ("system",)

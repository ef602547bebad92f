from __future__ import annotations

from math import ceil

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tacit.selection.cohort import Uniform
from tacit.selection.quota import Quota
from tacit.selection.table import ClientTable
from tests.selection.tables import tables


@given(tables, st.integers(1, 8), st.floats(0, 1), st.integers(0, 2**32))
def test_a_share_of_the_cohort_had_the_fewest_turns(table, cohort, share, seed):
    chosen = Quota(cohort, share).choose(table, seed, 0).clients
    size = min(cohort, table.pool.sum())
    assert len(chosen) == size
    first = ceil(share * size)
    assert np.sort(table.asked[chosen])[:first].tolist() == np.sort(table.asked[table.pool])[:first].tolist()


def test_turns_differ_by_one_at_most_where_the_whole_cohort_is_of_the_fewest():
    table = ClientTable.of(10)
    for round in range(31):
        who = Quota(3, share=1.0).choose(table, 0, round).clients
        table.observe(round, who, [])
        assert table.asked.max() - table.asked.min() <= 1


def test_a_quota_makes_turns_more_even_than_chance():
    spread = []
    for rule in (Uniform(4), Quota(4)):
        table = ClientTable.of(40)
        for round in range(100):
            who = rule.choose(table, 1, round).clients
            table.observe(round, who, who)
        spread.append(table.asked.std())
    assert spread[1] < spread[0] / 2


def test_without_a_share_it_is_a_uniform_draw():
    cohort = Quota(3, share=0.0).choose(ClientTable.of(12), 0, 0)
    assert cohort.inclusion.tolist() == [0.25] * 3
    assert Quota(3).uses == ("participation",)

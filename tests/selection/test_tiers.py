from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.selection.table import ClientTable
from tacit.selection.tiers import Tiers
from tests.selection.tables import tables


def three(losses, there=(4, 4, 4)) -> ClientTable:
    table = ClientTable.of(12, tier=np.repeat([0, 1, 2], 4), pool=np.concatenate([np.arange(4) < n for n in there]))
    table.tier_loss[:] = losses
    return table


@given(tables, st.integers(0, 2**32))
def test_a_cohort_is_of_one_tier(table, seed):
    cohort = Tiers(3).choose(table, seed, 0)
    assert len(np.unique(table.tier[cohort.clients])) == min(len(cohort.clients), 1)


@pytest.mark.parametrize(
    ("losses", "floor", "chances"),
    [
        ([1.0, 2.0, 1.0], 0.2, [0.8 / 4 + 0.2 / 3, 0.8 / 2 + 0.2 / 3, 0.8 / 4 + 0.2 / 3]),
        ([np.nan, 2.0, 1.0], 0.5, [0.5 * 0.4 + 0.5 / 3, 0.5 * 0.4 + 0.5 / 3, 0.5 * 0.2 + 0.5 / 3]),
        ([np.nan] * 3, 0.1, [1 / 3] * 3),
        ([0.0, 0.0, 0.0], 0.1, [1 / 3] * 3),
        ([-1.0, np.inf, 3.0], 0.3, [0.1, 0.1 + 0.35, 0.1 + 0.35]),
        ([9.0, 1.0, 1.0], 1.0, [1 / 3] * 3),
    ],
)
def test_tiers_with_higher_losses_come_up_more_often_and_none_falls_below_the_floor(losses, floor, chances):
    assert Tiers(3, floor).probabilities(three(losses)) == pytest.approx(chances)


def test_a_tier_with_too_few_is_passed_over_while_another_has_enough():
    assert Tiers(3, 0.5).probabilities(three([1.0, 1.0, 1.0], (4, 2, 3))) == pytest.approx([0.5, 0, 0.5])
    assert Tiers(3, 0.5).probabilities(three([1.0, 1.0, 1.0], (1, 2, 0))) == pytest.approx([0, 1, 0])
    assert Tiers(3).choose(three([1.0, 1.0, 1.0], (1, 2, 0)), 0, 0).clients.tolist() == [4, 5]


def test_losses_of_tiers_are_used_and_of_no_client():
    assert Tiers(3).uses == ("system", "tier losses")
    assert Tiers(3).sampling(9).kind == "arbitrary"

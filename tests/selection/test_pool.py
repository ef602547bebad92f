from __future__ import annotations

import pytest

from tacit.selection.cohort import Uniform
from tacit.selection.eligible import Eligible
from tacit.selection.pool import Pool
from tacit.selection.spaced import Spaced


def test_a_pool_that_asks_for_nothing_changes_nothing():
    assert Pool().around(Uniform(3)) == Uniform(3)
    assert Pool().problems() == Pool(gap=40, most=3, memory=2000).problems() == []


def test_requirements_stand_inside_of_turns():
    pool = Pool(memory=2000, slowest=0.1, gap=4, most=9)
    assert pool.around(Uniform(3)) == Spaced(Eligible(Uniform(3), memory=2000, slowest=0.1), 4, 9)
    assert Pool(unmetered=True).around(Uniform(3)) == Eligible(Uniform(3), unmetered=True)
    assert Pool(most=2).around(Uniform(3)) == Spaced(Uniform(3), 1, 2)


@pytest.mark.parametrize("wrong", [{"memory": -1}, {"slowest": 1.5}, {"unreliable": "x"}, {"gap": 0}, {"most": 0}])
def test_what_is_wrong_with_a_pool_is_said(wrong):
    (problem,) = Pool(**wrong).problems()
    assert next(iter(wrong)) in problem

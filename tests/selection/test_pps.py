from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.selection.pps import probabilities, sizes_of, systematic
from tacit.selection.table import ClientTable

sizes = st.lists(st.floats(0, 1e6, allow_subnormal=False), min_size=1, max_size=30).map(np.array)


def slowly(sizes, count, most):
    """The same by its definition: shares, those above the limit put to it, and again with what is left."""
    chances, open_ = [0.0] * len(sizes), set(range(len(sizes)))
    while open_:
        total = sum(sizes[i] for i in open_)
        left = count - sum(c for i, c in enumerate(chances) if i not in open_)
        for i in open_:
            chances[i] = left * sizes[i] / total
        above = {i for i in open_ if chances[i] > most}
        if not above:
            break
        for i in above:
            chances[i] = most
        open_ -= above
    return chances


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=30).map(np.array), st.floats(0.01, 1), st.floats(0.01, 0.99))
def test_probabilities_are_those_of_a_slow_loop(sizes, most, share):
    count = share * most * len(sizes)
    assert probabilities(sizes, count, most) == pytest.approx(np.array(slowly(sizes, count, most)), rel=1e-9)


@given(sizes, st.floats(0.01, 1), st.floats(0, 1))
def test_probabilities_add_up_and_keep_to_the_limit(sizes, most, share):
    count = share * most * len(sizes)
    chances = probabilities(sizes, count, most)
    assert chances.sum() == pytest.approx(count)
    assert (chances >= 0).all() and (chances <= most * (1 + 1e-12)).all()


def test_a_size_too_small_to_divide_by_is_none():
    assert probabilities(np.array([1e6, 1e6, 2.3e-308]), 2.5).tolist() == [1.0, 1.0, 0.5]


def test_those_without_a_size_share_what_the_others_cannot_take():
    assert probabilities(np.array([5.0, 0.0, 0.0]), 2.0).tolist() == [1.0, 0.5, 0.5]
    assert probabilities(np.zeros(4), 2.0).tolist() == [0.5] * 4
    assert probabilities(np.array([8.0, 1.0, 1.0]), 2.0).tolist() == [1.0, 0.5, 0.5]
    assert probabilities(np.zeros(0), 0.0).tolist() == []


@given(sizes, st.floats(0, 1), st.integers(0, 2**32), st.data())
def test_a_systematic_draw_has_its_size_in_all_and_in_each_group(sizes, share, seed, data):
    count = round(share * len(sizes))
    chances = probabilities(sizes, count)
    group = np.array(data.draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes))))
    for strata in (None, group):
        drawn = systematic(np.random.default_rng(seed), chances, strata)
        assert len(drawn) == count
        assert (np.diff(drawn) > 0).all()
        assert (chances[drawn] > 0).all()
    assert abs(group[drawn].sum() - chances[group].sum()) <= 1 + 1e-9


def test_a_size_that_is_not_told_is_the_mean_of_the_others():
    assert sizes_of(ClientTable.of(3, examples=np.array([2, 0, 4]))).tolist() == [2.0, 3.0, 4.0]
    assert sizes_of(ClientTable.of(2)).tolist() == [1.0, 1.0]

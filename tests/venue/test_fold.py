from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.venue.block_sum import BlockSum, SetAside
from tacit.venue.fold import Fold, Folds


def blocks_of(count, seed=0):
    """Block sums of very unlike magnitudes, so that another order of addition gives other bits."""
    rng = np.random.default_rng(seed)
    return [
        BlockSum(
            torch.from_numpy(rng.normal(size=4) * 10.0 ** rng.integers(-8, 8)),
            np.array([2 * k, 2 * k + 1]),
            [SetAside(f"client {k}", "why")],
            1.0,
        )
        for k in range(count)
    ]


@given(st.integers(1, 12).flatmap(lambda n: st.permutations(range(n))))
def test_the_order_of_arrival_changes_no_bit(order):
    blocks = blocks_of(len(order))
    expected, mine = Fold(4), Fold(4)
    for k, block in enumerate(blocks_of(len(order))):
        expected.add(k, block)
    for k in order:
        mine.add(k, blocks[k])
    one, other = mine.result(), expected.result()
    assert torch.equal(one.total, other.total)
    torch.testing.assert_close(one.total, torch.stack([b.total for b in blocks_of(len(order))]).sum(0))
    assert one.counted.tolist() == other.counted.tolist() == list(range(2 * len(order)))
    assert [a.client for a in one.set_aside] == [f"client {k}" for k in range(len(order))]


def test_the_bits_do_depend_on_the_order_of_addition():
    """Otherwise the test above could not fail."""
    totals = [b.total for b in blocks_of(12)]
    assert not torch.equal(sum(totals), sum(reversed(totals)))


def test_a_missing_block_is_noticed():
    fold = Fold(4)
    fold.add(1, blocks_of(2)[1])
    with pytest.raises(AssertionError, match="missing"):
        fold.result()


def test_an_empty_cohort_gives_zero():
    total = Fold(3).result()
    assert total.total.tolist() == [0, 0, 0]
    assert total.counted.tolist() == []


@pytest.mark.parametrize("count", [1, 2, 500, 1023])
def test_few_sums_wait_even_if_the_first_block_comes_last(count):
    fold, blocks, most, free = Fold(4), blocks_of(count), 0, 0
    for k in [*range(1, count), 0]:
        free += len(fold.add(k, blocks[k]))
        most = max(most, fold.waiting)
    assert most <= 2 * count.bit_length()
    assert free == count - count.bit_count()
    assert len(fold.result().counted) == 2 * count


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_groups_are_folded_each_by_itself_whatever_the_order_of_arrival(counts, chance):
    blocks = blocks_of(sum(counts))
    mine, order = Folds(counts, 4), list(range(len(blocks)))
    chance.shuffle(order)
    for k in order:
        mine.add(k, blocks_of(len(blocks))[k])
    totals, first = mine.results(), 0
    for count, total in zip(counts, totals, strict=True):
        alone = Fold(4)
        for k in range(count):
            alone.add(k, blocks[first + k])
        assert torch.equal(total.total, alone.result().total)
        assert total.counted.tolist() == list(range(2 * first, 2 * (first + count)))
        first += count


def test_the_memory_of_a_group_that_is_complete_is_given_back():
    blocks = blocks_of(5)
    given, folds = {b.total.data_ptr() for b in blocks}, Folds([3, 2], 4)
    free = [t.data_ptr() for k in (3, 0, 4, 2, 1) for t in folds.add(k, blocks[k])]
    assert sorted(free) == sorted(given)
    assert not given & {total.total.data_ptr() for total in folds.results()}

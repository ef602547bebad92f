"""Clipping on the integer grid: no report, whatever it holds, is longer than the bound; exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tacit.learning.layout import Layout
from tacit.privacy.bound import Bound
from tacit.privacy.clip import Clip

norms = st.floats(1e-6, 1e6)
kinds = st.sampled_from([torch.float32, torch.float64])


def clip(reports: torch.Tensor, norm: float) -> tuple[torch.Tensor, Bound]:
    """The integers of reports (K, m) that are one part."""
    stage = Clip((Bound("update", ("update",), norm),))
    layout = stage.bind(Layout.of(update=(reports.shape[1],)))
    return stage.encode(reports.clone(), layout, {}).long(), stage.bounds[0]


@settings(max_examples=60)
@given(st.data(), norms, kinds)
def test_the_integer_norm_never_exceeds_the_bound(data, norm, dtype):
    width = np.float32 if dtype == torch.float32 else np.float64
    anything = st.floats(width=32 if dtype == torch.float32 else 64, allow_nan=True, allow_infinity=True)
    rows = data.draw(arrays.arrays(width, (3, 17), elements=anything))
    integers, bound = clip(torch.from_numpy(rows), norm)
    assert ((integers**2).sum(1) <= bound.most).all()
    assert bound.most * bound.grid**2 <= norm**2 * (1 + 1e-15)
    assert 2**24 <= norm / bound.grid < 2**25


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_million_coordinates_that_each_round_up_stay_within_the_bound(dtype):
    """Scaled in floating point, about half of such vectors end above their bound."""
    rows = torch.randn(5, 1_000_003, generator=torch.Generator().manual_seed(0), dtype=dtype)
    integers, bound = clip(rows, 1.0)
    assert ((integers**2).sum(1) <= bound.most).all()
    assert ((integers**2).sum(1) > 0.99 * bound.most).all()


@settings(max_examples=30)
@given(st.floats(0.01, 100.0), st.floats(0.5, 3.0), kinds, st.integers(0, 99))
def test_what_is_short_passes_and_what_is_long_keeps_its_direction(norm, length, dtype, seed):
    row = torch.randn(1, 50, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    row *= norm * length / row.norm()
    integers, bound = clip(row, norm)
    expected = row.double() * min(1.0, norm / float(row.double().norm()))
    torch.testing.assert_close(integers.double() * bound.grid, expected, rtol=1e-6, atol=1.01 * bound.grid)
    assert (integers.double().abs() * bound.grid <= expected.abs() * (1 + 1e-6)).all(), "rounded towards zero"


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_report_that_is_not_finite_is_a_report_of_zeros_and_its_neighbours_are_not(bad):
    rows = torch.ones(3, 9000)
    rows[1, 8999] = bad
    integers, _ = clip(rows, 10.0)
    assert integers[1].count_nonzero() == 0
    assert (integers[[0, 2]] != 0).all()


def test_numbers_whose_squares_leave_the_range_of_numbers_count_as_not_finite():
    integers, _ = clip(torch.full((1, 3), 1e200, dtype=torch.float64), 1.0)
    assert integers.count_nonzero() == 0
    integers, bound = clip(torch.full((1, 3), 3e38), 1.0)
    assert (integers * bound.grid).norm() == pytest.approx(1.0, rel=1e-6)


def test_nothing_is_nothing():
    assert clip(torch.zeros(2, 5), 1.0)[0].count_nonzero() == 0
    assert clip(torch.zeros(0, 5), 1.0)[0].shape == (0, 5)


def test_parts_with_bounds_of_their_own_are_clipped_apart_and_fall_together():
    stage = Clip((Bound("update", ("update", "control"), 1.0), Bound("loss", ("loss",), 4.0)))
    layout = stage.bind(Layout.of(update=(2,), control=(2,), loss=()))
    rows = torch.tensor([[3.0, 0.0, 4.0, 0.0, 9.0], [0.3, 0.0, 0.0, 0.4, 2.0], [0.0, 0.0, 0.0, 0.0, torch.nan]])
    total = stage.encode(rows.clone(), layout, {}).long()
    values, _ = stage.decode(total[:2].sum(0), layout, {})
    torch.testing.assert_close(values, torch.tensor([0.9, 0.0, 0.8, 0.4, 6.0]).double(), rtol=1e-6, atol=1e-6)
    assert total[2].count_nonzero() == 0


def test_bounds_cover_all_of_a_report_or_are_refused():
    with pytest.raises(ValueError, match="do not cover"):
        Clip((Bound("update", ("update",), 1.0),)).bind(Layout.of(update=(2,), loss=()))

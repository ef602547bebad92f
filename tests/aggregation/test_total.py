"""The weighted sum of a block of reports."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.total import weighted_sum


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(count=st.integers(0, 11), size=st.sampled_from([1, 5, 2047, 2049, 9000]), seed=st.integers(0, 99))
def test_it_is_the_sum_of_weight_times_report(dtype, count, size, seed):
    draws = torch.Generator().manual_seed(seed)
    reports = torch.randn(count, size, generator=draws, dtype=dtype)
    weights = torch.rand(count, generator=draws, dtype=dtype)
    expected = (weights.double()[:, None] * reports.double()).sum(0)
    total, finite = weighted_sum(reports, weights)
    torch.testing.assert_close(total, expected, rtol=1e-12, atol=1e-12)
    assert finite


def test_columns_are_added_in_the_order_of_the_rows():
    """1e16 swallows a 1 that comes after it, and not one that comes before it and was joined by another."""
    column = torch.tensor([1e16, 1.0, 1.0, 1.0, -1e16, 1.0, 1.0], dtype=torch.float64)
    assert weighted_sum(column[:, None], torch.ones(7))[0].item() == 2.0


def test_what_lies_where_the_sum_is_to_go_is_overwritten_and_rows_may_lie_apart():
    into = torch.full((3,), torch.nan, dtype=torch.float64)
    wide = torch.arange(20.0).view(4, 5)
    assert weighted_sum(wide[:, :3], torch.ones(4), into)[0] is into
    assert into.tolist() == [30.0, 34.0, 38.0]
    assert weighted_sum(wide[:0, :3], torch.ones(0), into)[0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
def test_a_number_that_is_not_finite_shows_in_the_sum(bad):
    reports = torch.zeros(6, 20_000)  # several chunks, and not in the last
    reports[5, 1] = bad
    total, finite = weighted_sum(reports, torch.ones(6))
    assert total[0] == 0
    assert not finite
    assert not torch.isfinite(total[1])

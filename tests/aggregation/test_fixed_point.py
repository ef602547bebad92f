"""Reports as whole numbers: exact sums, and no number that wraps or is cut in silence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.aggregation.fixed_point import COARSE, LARGEST, MOST_CLIENTS, FixedPoint, centred
from tacit.errors import BitBudgetError
from tacit.learning.layout import Layout

LAYOUT = Layout.of(update=(5001,), tau=(), buffers=(3,), loss=(), weight=())
VECTORS = torch.tensor([*range(5001), *range(5002, 5005)])


def grid(bits: int = 64, range: float = 4.0, weight: float = 50.0, clients: int = 8) -> FixedPoint:
    found = FixedPoint(range, weight, clients, bits)
    found.bind(LAYOUT)
    return found


def reports(count: int, seed: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    torch.manual_seed(seed)
    return (torch.rand(count, LAYOUT.size, dtype=torch.float64) * 7.9 - 3.95).to(dtype)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.sampled_from([32, 64]), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 9))
def test_the_sum_is_the_sum_of_the_integers_and_they_are_the_nearest_on_the_grid(count, bits, dtype, seed):
    made, x = grid(bits), reports(count, seed, dtype)
    w = torch.randint(1, 51, (count,)).to(dtype)
    total, fine = made.total(x, w, w, None)
    integers = made.encode(x, w)
    assert fine and made.fits(x, w, w).all()
    assert torch.equal(total, integers.sum(0)) and torch.equal(centred(total, bits), total)
    exact = np.rint(x.double().numpy() * (w.double().numpy()[:, None] / made.step)).astype(np.int64)
    assert (integers[:, :5001].numpy() == exact[:, :5001]).all()
    assert (integers[:, 5005:5008].numpy() == exact[:, 5002:5005]).all()
    mean = made.decode(total)
    assert torch.allclose(
        mean, (x.double() * w.double()[:, None]).sum(0), atol=count * max(made.step, 2.0**-20), rtol=0
    )


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_largest_sum_that_the_budget_allows_fits_a_word(bits, sign):
    made = grid(bits, clients=8)
    x = torch.full((8, LAYOUT.size), sign * 4.0)
    w = torch.full((8,), 50.0)
    total, fine = made.total(x, w, w, None)
    assert fine
    assert torch.equal(centred(total, bits), total)
    assert made.decode(total)[0] == sign * 4.0 * 50 * 8
    assert int(total.abs().max()) < 2 ** (bits - 1)


@pytest.mark.parametrize("where", [0, 2047, 2048, 5000, 5002, 5001, 5005])
@pytest.mark.parametrize("value", [4.0000005, -1e30, float("nan"), float("inf"), -float("inf")])
def test_a_number_beyond_the_range_is_noticed_wherever_it_stands_and_whose_it_is(where, value):
    made, x, w = grid(), reports(3, 1), torch.tensor([1.0, 50.0, 7.0])
    scalar = LAYOUT.shapes[next(i for i, (_, s, _) in enumerate(LAYOUT.slices) if s.start <= where < s.stop)] == ()
    x[1, where] = LARGEST if scalar and np.isfinite(value) else value
    assert not made.total(x, w, w, None)[1]
    assert made.fits(x, w, w).tolist() == [True, False, True]


def test_the_edge_of_the_range_is_inside():
    made, x, w = grid(range=0.1), torch.zeros(2, LAYOUT.size), torch.ones(2)
    below = float(np.nextafter(np.float32(0.1), np.float32(0)))
    x[0, 3], x[1, 4] = below, -below
    assert made.total(x, w, w, None)[1] and made.fits(x, w, w).all()
    x[0, 3] = float(np.nextafter(np.float32(0.1), np.float32(1)))
    assert not made.total(x, w, w, None)[1] and not made.fits(x, w, w)[0]


def test_a_weighted_report_is_held_against_the_range_times_its_weight():
    """A stage has multiplied it by then."""
    made, x = grid(), torch.full((2, LAYOUT.size), 30.0)
    assert made.fits(x, torch.ones(2), torch.tensor([10.0, 7.0])).tolist() == [True, False]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-(2.0**41), 2.0**41, allow_nan=False, width=64), min_size=1, max_size=8))
def test_scalars_are_exact_to_twenty_bits_after_the_point_in_words_of_32_bits(values):
    made = grid(32)
    x = torch.zeros(len(values), LAYOUT.size, dtype=torch.float64)
    x[:, 5001] = torch.tensor(values, dtype=torch.float64)
    total, fine = made.total(x, torch.ones(len(values)), torch.ones(len(values)), None)
    assert fine and torch.equal(centred(total, 32), total)
    exact = sum(int(np.rint(v * 2.0**20)) for v in values) / 2**20
    assert made.decode(total)[5001] == exact


def test_limbs_of_as_many_clients_as_are_allowed_do_not_overflow():
    made = FixedPoint(1.0, 1.0, MOST_CLIENTS, 32)
    made.bind(Layout.of(update=(1,), loss=(), weight=()))
    x = torch.full((MOST_CLIENTS, 3), -(2.0**-20))  # all limbs but the highest are as large as they can be
    total, fine = made.total(x, torch.ones(len(x)), torch.ones(len(x)), None)
    assert fine and torch.equal(centred(total, 32), total)
    assert made.decode(total)[1] == -MOST_CLIENTS * 2.0**-20


def test_a_budget_that_does_not_suffice_is_an_error_that_names_the_missing_bits():
    with pytest.raises(BitBudgetError, match=r"need 3 more bits than a word of 32") as raised:
        FixedPoint(4.0, 2.0**12, 1000, 32)
    assert "most_examples" in str(raised.value) and "bits=64" in str(raised.value)
    FixedPoint(4.0, 2.0**9, 1000, 32)
    with pytest.raises(BitBudgetError, match="32768"):
        FixedPoint(1.0, 1.0, MOST_CLIENTS + 1, 64)


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1, 2**20), st.integers(3, MOST_CLIENTS), st.sampled_from([32, 64]))
def test_no_budget_is_overdrawn(range, weight, clients, bits):
    try:
        made = FixedPoint(range, weight, clients, bits)
    except BitBudgetError:
        return
    most = int(np.floor(range * weight / made.step)) + 1
    assert clients * most < 2 ** (bits - 1)
    assert range / made.step >= 2.0**COARSE


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("clients", [8192, 16384, 2**15])
@pytest.mark.parametrize(("range", "weight"), [(1.0, 1.0), (4.0, 1.0), (1.0, 4096.0), (0.1, 3.0)])
def test_a_sum_of_all_at_the_limit_does_not_wrap_by_one(clients, bits, range, weight):
    try:
        made = FixedPoint(range, weight, clients, bits)
    except BitBudgetError:
        return
    assert clients * round(range * weight / made.step) < 2 ** (bits - 1)


def test_words_of_32_bits_are_taken_where_they_are_fine_enough():
    assert FixedPoint.fitting(4.0, 1.0, 1000, None).bits == 32
    assert FixedPoint.fitting(4.0, 1000.0, 1000, None).bits == 64
    assert FixedPoint.fitting(4.0, 1.0, 1000, 64).bits == 64


def test_memory_that_is_given_is_used():
    made, x, w = grid(), reports(2, 3), torch.ones(2)
    into = torch.full((made.layout.size,), 7.0, dtype=torch.float64)
    total, _ = made.total(x, w, w, into)
    assert total.data_ptr() == into.data_ptr()
    assert torch.equal(total, made.total(x, w, w, None)[0])

"""Rounding at random: right on average, and never beyond its bound."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.privacy.rounding import FINEST, largest_absolute, round_rows, rounded_norm
from tacit.secret_draws import key_of


def keys(count, *parts):
    return [key_of(b"the tests of rounding", i, *parts) for i in range(count)]


def reports(count, length, norm, seed=0, kind=np.float64):
    x = np.random.default_rng(seed).standard_normal((count, length))
    return (x * norm / np.linalg.norm(x, axis=1, keepdims=True)).astype(kind)


def test_the_bound_is_the_published_one():
    """At beta = exp(-1/2) the root of `2 log(1 / beta)` is 1."""
    assert rounded_norm(100.0, 64) ** 2 == pytest.approx(100.0**2 + 16 + 104, rel=1e-12)
    assert rounded_norm(0.0, 64) ** 2 == pytest.approx(16 + 4, rel=1e-12)
    assert rounded_norm(3.0, 1) ** 2 == pytest.approx(9 + 0.25 + 3.5, rel=1e-12)
    assert rounded_norm(3.0, 4, beta=1e-9) ** 2 == pytest.approx(25.0, rel=1e-12), "never longer, whatever is drawn"


@given(c=st.floats(0.1, 1e6), length=st.integers(1, 10**7))
def test_the_bound_grows_with_norm_and_length_and_is_never_below_the_norm(c, length):
    here = rounded_norm(c, length)
    assert c < here <= (c + sqrt(length)) * (1 + 1e-12)
    assert rounded_norm(1.1 * c, length) > here
    assert rounded_norm(c, length + 1) > here
    assert largest_absolute(here, length) <= here * sqrt(length)


def test_the_largest_1_norm_is_that_of_equal_coordinates_or_of_ones():
    assert largest_absolute(10.0, 4) == 20.0, "(5, 5, 5, 5)"
    assert largest_absolute(3.0, 10**6) == 9.0, "nine ones"


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 400),
    steps=st.floats(0.5, 1e6),
    over=st.sampled_from([0.0, 0.3, 1.0, 1 + 1e-9, 40.0, 1e30]),
    kind=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 2**32),
)
def test_no_report_comes_out_longer_than_the_bound(length, steps, over, kind, seed):
    norm, grid = 1.7, 1.7 / steps
    rows = reports(3, length, norm * over, seed, kind)
    rounded = round_rows(rows, norm, grid, keys(3, seed))
    squares = (rounded.astype(object) ** 2).sum(axis=1)
    assert (squares <= rounded_norm(norm / grid, length) ** 2).all()
    absolute = np.abs(rounded.astype(object)).sum(axis=1)
    assert (absolute <= largest_absolute(rounded_norm(norm / grid, length), length) * (1 + 1e-12)).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_coordinate_goes_to_a_neighbour_on_the_grid(kind):
    rows = reports(4, 1000, 0.9, kind=kind)
    exact = rows.astype(np.float64) * 2.0**10
    rounded = round_rows(rows, 1.0, 2.0**-10, keys(4))
    assert np.abs(rounded - exact).max() < 1
    assert ((rounded == np.floor(exact)) | (rounded == np.ceil(exact))).all()
    assert (rounded != np.trunc(exact)).any()


def test_rounding_is_right_on_average_coordinate_by_coordinate():
    """20,000 copies, of a norm that leaves nothing to be drawn again; 4.5 deviations in 50 coordinates: 3e-4."""
    copies, row = 20_000, reports(1, 50, 0.5)
    rounded = round_rows(np.repeat(row, copies, axis=0), 1.0, 2.0**-5, keys(copies, "average"))
    exact = row[0] * 2.0**5
    share = exact - np.floor(exact)
    deviation = np.sqrt(share * (1 - share) / copies)
    assert (np.abs(rounded.mean(axis=0) - exact) <= 4.5 * deviation + 1e-9).all()
    drawn = rounded - np.floor(exact)
    correlation = np.corrcoef(drawn[:, share > 0.05].T)
    assert np.abs(correlation - np.eye(len(correlation))).max() < 5.5 / sqrt(copies)


def test_what_lies_on_the_grid_stays():
    rows = np.array([[3.0, -4.0, 0.0, 12.0]])
    np.testing.assert_array_equal(round_rows(rows.copy(), 13.0, 1.0, keys(1)), rows)
    np.testing.assert_array_equal(round_rows(rows / 8, 13.0, 0.125, keys(1)), rows)


def test_a_report_whose_outcomes_are_often_too_long_is_drawn_again_until_one_fits():
    """All coordinates at 1/2: outcomes have norms^2 around d / 2, those within the bound are the shorter ones."""
    length, copies = 400, 500
    rows = np.full((copies, length), 0.5)
    c = 0.5 * sqrt(length)
    rounded = round_rows(rows, c, 1.0, keys(copies, "again"))
    squares = (rounded**2).sum(axis=1)
    bound = rounded_norm(c, length) ** 2
    assert squares.max() <= bound
    assert squares.max() > bound - 5, "and those just within it are taken"
    assert squares.std() > 3


def test_where_no_outcome_at_random_fits_it_is_rounded_towards_zero(monkeypatch):
    monkeypatch.setattr("tacit.privacy.rounding.rounded_norm", lambda c, length: c)
    rows = np.full((2, 10_000), 2.5)
    rounded = round_rows(rows, 250.0, 1.0, keys(2, "never"))
    assert (rounded == 2).all()


def test_longer_reports_are_scaled_to_the_norm_and_shorter_ones_are_not():
    rows = np.concatenate([reports(1, 30, 100.0), reports(1, 30, 0.01)])
    exact = np.concatenate([rows[:1] / 100, rows[1:]]) * 2.0**20
    assert np.abs(round_rows(rows, 1.0, 2.0**-20, keys(2)) - exact).max() <= 1 + 1e-6


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_a_report_that_is_not_finite_becomes_zeros_and_no_other_does(bad):
    rows = reports(3, 20, 1.0)
    rows[1, 7] = bad
    rounded = round_rows(rows, 1.0, 2.0**-12, keys(3))
    assert (rounded[1] == 0).all()
    assert (rounded[[0, 2]] != 0).any(axis=1).all()


def test_a_report_of_zeros_adds_nothing():
    assert (round_rows(np.zeros((2, 9)), 1.0, 2.0**-12, keys(2)) == 0).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_row_and_its_key_alone_decide_the_outcome_in_the_memory_of_the_rows(kind):
    rows = reports(3, 1001, 1.0, kind=kind)
    alone = [round_rows(rows[i : i + 1].copy(), 1.0, 2.0**-12, [k]) for i, k in enumerate(keys(3))]
    rounded = round_rows(rows, 1.0, 2.0**-12, keys(3))
    np.testing.assert_array_equal(rounded, np.concatenate(alone))
    assert np.shares_memory(rounded, rows)
    assert rounded.dtype.itemsize == np.dtype(kind).itemsize
    assert (rounded != round_rows(reports(3, 1001, 1.0, kind=kind), 1.0, 2.0**-12, keys(3, "other"))).any()


@pytest.mark.parametrize(
    ("rows", "norm", "grid"),
    [
        (np.zeros((1, 5)), 1.0, 0.5 / FINEST),
        (np.zeros((1, 5)), 0.0, 1.0),
        (np.zeros((1, 5)), 1.0, 0.0),
        (np.zeros((1, 5)), float("nan"), 1.0),
        (np.zeros((2, 5)), 1.0, 0.1),
        (np.zeros(5), 1.0, 0.1),
        (np.zeros((1, 5), dtype=np.int64), 1.0, 0.1),
    ],
)
def test_grids_too_fine_and_shapes_that_do_not_fit_are_refused(rows, norm, grid):
    with pytest.raises(ValueError, match="give"):
        round_rows(rows, norm, grid, keys(1))

"""Rotations: orthonormal whatever the length, the same sums, and nothing left of a spike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard

from tacit.aggregation.rotation import BLOCK, Rotation
from tacit.secret_draws import key_of

KINDS = [(np.float32, 1e-6), (np.float64, 1e-12)]


def key(*parts):
    return key_of(b"the tests of rotations", *parts)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("kind", "near"), KINDS)
@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 13, 64, 100, 300])
def test_it_is_orthonormal(length, kind, near):
    matrix = np.eye(length, dtype=kind)
    Rotation(length, key(length)).apply(matrix)
    np.testing.assert_allclose(matrix.astype(np.float64) @ matrix.T.astype(np.float64), np.eye(length), atol=near)


@pytest.mark.parametrize("length", [2, 16, 256, BLOCK // 4])
def test_for_a_power_of_two_it_is_twice_the_hadamard_matrix_with_signs(length):
    """`R = H D2 H D1`: what H leaves of R is H again, but for the signs of rows and columns."""
    columns = np.eye(length)
    Rotation(length, key("twice")).apply(columns)
    h = hadamard(length) / np.sqrt(length)
    between = h @ columns.T
    first, second = np.sign(between[0]), np.sign(between[:, 0] * between[0, 0])
    np.testing.assert_allclose(between, second[:, None] * h * first, atol=1e-12)
    for signs in (first, second):
        assert length < 16 or 0.2 < (signs > 0).mean() < 0.8
    assert length < 16 or abs((first * second).mean()) < 0.6, "two sets of signs"


@pytest.mark.parametrize(("kind", "near"), KINDS)
@pytest.mark.parametrize("length", [7, 1000, BLOCK, BLOCK + 1, 3 * BLOCK - 5, 100_000])
def test_norms_and_angles_stay_and_the_inverse_brings_all_back(length, kind, near):
    x = normal(3, length).astype(kind)
    rotated = x.copy()
    rotation = Rotation(length, key(length))
    rotation.apply(rotated)
    before, after = x.astype(np.float64), rotated.astype(np.float64)
    scale = np.linalg.norm(before[0]) ** 2
    np.testing.assert_allclose(after @ after.T, before @ before.T, atol=near * scale)
    assert length < 8 or np.abs(after - before).max() > 0.5, "it turned"
    rotation.invert(rotated)
    np.testing.assert_allclose(rotated, x, atol=20 * near)


@settings(max_examples=30, deadline=None)
@given(length=st.integers(1, 5000), seed=st.integers(0, 2**32))
def test_a_sum_of_rotated_reports_rotates_back_to_the_sum(length, seed):
    reports = normal(5, length, seed=seed)
    rotation = Rotation(length, key(seed))
    rotated = reports.copy()
    rotation.apply(rotated)
    total = rotated.sum(axis=0, keepdims=True)
    rotation.invert(total)
    np.testing.assert_allclose(total[0], reports.sum(axis=0), atol=1e-11)


@pytest.mark.parametrize("length", [4096, 4097, 6000, 8191])
def test_of_a_spike_anywhere_nothing_is_left(length):
    rotation = Rotation(length, key("spikes"))
    places = np.unique(np.linspace(0, length - 1, 97).astype(int))
    spikes = np.zeros((places.size, length))
    spikes[np.arange(places.size), places] = 1.0
    rotation.apply(spikes)
    assert np.abs(spikes).max() <= rotation.largest(1e-9)
    assert rotation.largest(1e-9) < 0.17


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_largest_coordinate_exceeds_its_bound_at_most_as_often_as_it_says(share):
    """200 keys: more than 1.5 times as often would happen with a probability below 1e-6, were the bound tight."""
    length, beyond = 700, 0
    for i in range(200):
        x = np.ones((1, length)) / np.sqrt(length)
        rotation = Rotation(length, key("bound", i))
        rotation.apply(x)
        beyond += bool(np.abs(x).max() > rotation.largest(share))
    assert beyond <= 1.5 * share * 200


def test_the_bound_is_within_a_small_factor_of_what_happens():
    length = 50_000
    x = normal(4, length) / np.sqrt(length)
    rotation = Rotation(length, key("tight"))
    rotation.apply(x)
    assert 1.0 < rotation.largest(0.01) / np.abs(x).max(axis=1).mean() < 1.8


def test_a_key_decides_it_and_a_row_is_rotated_as_if_it_were_alone():
    x = normal(4, 777).astype(np.float32)
    together, alone, other = x.copy(), x.copy(), x.copy()
    Rotation(777, key("one")).apply(together)
    for i in range(4):
        Rotation(777, key("one")).apply(alone[i : i + 1])
    Rotation(777, key("another")).apply(other)
    np.testing.assert_array_equal(together, alone)
    assert np.abs(together - other).max() > 0.5


def test_rows_of_a_wider_table_are_rotated_and_the_rest_is_left_alone():
    table = normal(3, 200)
    part = table.copy()
    rotation = Rotation(100, key("part"))
    rotation.apply(part[:, 50:150])
    expected = table[:, 50:150].copy()
    rotation.apply(expected)
    np.testing.assert_array_equal(part[:, 50:150], expected)
    np.testing.assert_array_equal(part[:, :50], table[:, :50])
    np.testing.assert_array_equal(part[:, 150:], table[:, 150:])


def test_what_is_not_a_number_spreads_so_that_it_is_seen():
    x = normal(2, 300)
    x[0, 299] = np.nan
    Rotation(300, key("nan")).apply(x)
    assert not np.isfinite(x[0]).all()
    assert np.isfinite(x[1]).all()


def test_rows_of_another_length_or_kind_are_refused():
    rotation = Rotation(10, key("bad"))
    for rows in (np.zeros((2, 9)), np.zeros(10), np.zeros((2, 10), dtype=np.int64)):
        with pytest.raises(ValueError, match=r"\(K, 10\)"):
            rotation.apply(rows)
    with pytest.raises(ValueError, match="at least 1"):
        Rotation(0, key("bad"))

"""Measures of what came back, against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.attacks.similarity import cosine, matched, overlap, psnr, share_of_top, ssim

RNG = np.random.default_rng(0)


def test_cosine_is_one_along_zero_across_and_zero_for_nothing() -> None:
    rows = np.array([[2.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(cosine(rows, np.array([[5.0, 0.0], [0.0, 1.0]])), [[1, 0], [0, 0]])


@given(st.permutations(range(6)))
def test_rows_in_another_order_are_matched_with_themselves(order: list[int]) -> None:
    true = np.random.default_rng(1).normal(size=(6, 20))
    assert matched(true[list(order)], true).tolist() == list(order)


def test_fewer_rows_stand_for_as_many_different_ones() -> None:
    true = RNG.normal(size=(9, 4))
    assert len(set(matched(np.repeat(true[:1], 3, axis=0), true).tolist())) == 3


def test_psnr_is_that_of_its_formula() -> None:
    true = np.zeros((4, 4))
    assert psnr(true + 0.1, true) == pytest.approx(20.0)
    assert psnr(true + 0.1, true, span=10) == pytest.approx(40.0)
    assert psnr(true, true) == 100.0


def test_ssim_is_that_of_its_definition_window_by_window() -> None:
    a, b = RNG.random((12, 10)), RNG.random((12, 10))
    found = []
    for i in range(6):
        for j in range(4):
            x, y = a[i : i + 7, j : j + 7].ravel(), b[i : i + 7, j : j + 7].ravel()
            both = np.cov(x, y)
            c1, c2 = 0.01**2, 0.03**2
            top = (2 * x.mean() * y.mean() + c1) * (2 * both[0, 1] + c2)
            found.append(top / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (both[0, 0] + both[1, 1] + c2)))
    assert ssim(a, b) == pytest.approx(np.mean(found))
    assert ssim(a, a) == pytest.approx(1.0)
    assert ssim(a, b) == pytest.approx(ssim(b, a))


def test_the_share_of_the_top_counts_positive_entries_only() -> None:
    true = np.array([3.0, 2.0, 1.0, 0.0, 0.0])
    assert share_of_top(true, true) == 1.0
    assert share_of_top(np.array([1.0, 0, 0, 5, 5]), true) == pytest.approx(1 / 3)
    assert share_of_top(true, true, most=1) == 1.0
    assert share_of_top(true, np.zeros(5)) == 0.0


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20))
def test_labels_overlap_wholly_with_themselves_in_any_order(labels: list[int]) -> None:
    assert overlap(np.array(labels[::-1]), np.array(labels)) == pytest.approx(1.0)


def test_labels_are_compared_as_often_as_they_occur() -> None:
    assert overlap(np.array([1, 1, 1, 2]), np.array([1, 2, 2, 2])) == pytest.approx(0.5)
    assert overlap(np.array([1]), np.array([2])) == 0.0

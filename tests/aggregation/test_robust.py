"""Robust rules: what they compute, the laws that all of them keep, and how far false rows can move them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import trim_mean

import tacit
from tacit.aggregation.sorting import network

RULES = (tacit.Median(), tacit.TrimmedMean(0.2), tacit.GeometricMedian(), tacit.Krum(0.2), tacit.Krum(0.2, keep=3))
SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.integers(9, 40)


def drawn(seed, rows, columns=7):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, columns)))


def named(rule):
    return repr(rule)


@given(SEEDS, st.integers(3, 70), st.integers(1, 300))
def test_the_median_is_that_of_every_column(seed, rows, columns):
    given = drawn(seed, rows, columns)
    assert np.array_equal(tacit.Median().combine(given), np.median(given.numpy(), axis=0))


@given(SEEDS, st.integers(3, 70), st.integers(1, 45))
def test_the_trimmed_mean_is_that_of_every_column_with_the_share_rounded_up(seed, rows, percent):
    given, share, out = drawn(seed, rows), percent / 100, -(-percent * rows // 100)
    if 2 * out >= rows:
        assert "leave none" in tacit.TrimmedMean(share).unfit(rows)
        return
    expected = trim_mean(given.numpy(), (out + 1e-9) / rows, axis=0)
    assert np.allclose(tacit.TrimmedMean(share).combine(given), expected, rtol=0, atol=1e-12)


def test_a_tenth_of_thirty_rows_is_three():
    rows = torch.arange(30, dtype=torch.float64)[:, None] ** 2
    assert float(tacit.TrimmedMean(0.1).combine(rows)) == pytest.approx(float(rows[3:27].mean()))


@pytest.mark.parametrize("rows", [*range(1, 20), 64, 100])
def test_a_network_sorts_what_it_is_asked_for_with_values_that_repeat(rows):
    rng = np.random.default_rng(rows)
    for first, last in ((0, rows), (rows // 2, rows // 2 + 1)):
        given = rng.integers(0, 4, size=(rows, 200))
        found = given.copy()
        for low, high in network(rows, first, last):
            found[[low, high]] = np.sort(found[[low, high]], axis=0)
        assert np.array_equal(found[first:last], np.sort(given, axis=0)[first:last])


@given(SEEDS, ROWS)
@settings(max_examples=25)
def test_no_point_has_a_smaller_sum_of_distances_than_the_geometric_median(seed, rows):
    given = drawn(seed, rows, 3).numpy()

    def distances(point):
        return np.linalg.norm(given - point, axis=1).sum()

    found = tacit.GeometricMedian().combine(torch.from_numpy(given)).numpy()
    best = minimize(distances, given.mean(axis=0), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    assert distances(found) <= best.fun + rows * 1e-6  # the smoothing


def test_the_geometric_median_of_three_corners_is_their_fermat_point():
    height = 3**0.5 / 2
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, height]], dtype=torch.float64)
    found = tacit.GeometricMedian().combine(corners)
    assert np.allclose(found, [0.5, height / 3], atol=1e-9)


@given(SEEDS, st.integers(9, 25), st.integers(1, 3))
def test_krum_keeps_the_rows_that_lie_closest_to_their_neighbours(seed, rows, keep):
    given, rule = drawn(seed, rows).numpy(), tacit.Krum(0.2, keep=keep)
    near = rows - int(np.ceil(rows / 5)) - 2
    scores = []
    for k in range(rows):
        others = np.delete(given, k, axis=0)
        scores.append(np.sort(((others - given[k]) ** 2).sum(axis=1))[:near].sum())
    best = np.argsort(scores)[:keep]
    assert np.allclose(rule.combine(torch.from_numpy(given)), given[best].mean(axis=0))


@pytest.mark.parametrize("rule", RULES, ids=named)
@given(seed=SEEDS, rows=ROWS)
@settings(max_examples=25)
def test_the_order_of_the_rows_does_not_matter(rule, seed, rows):
    given = drawn(seed, rows)
    mixed = given[torch.from_numpy(np.random.default_rng(seed).permutation(rows))]
    assert torch.allclose(rule.combine(given), rule.combine(mixed), rtol=0, atol=1e-9)


@pytest.mark.parametrize("rule", RULES, ids=named)
@given(seed=SEEDS, rows=ROWS)
@settings(max_examples=25)
def test_where_all_rows_are_moved_alike_so_is_the_result(rule, seed, rows):
    given, by = drawn(seed, rows), drawn(seed + 1, 1)
    assert torch.allclose(rule.combine(given + by), rule.combine(given) + by, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_rows_that_agree_are_the_result(rule):
    row = drawn(0, 1, 300)
    assert torch.allclose(rule.combine(row.expand(12, -1).contiguous()), row[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", RULES, ids=named)
@given(seed=SEEDS, rows=st.integers(11, 40), size=st.sampled_from([1e2, 1e5, 1e8]))
@settings(max_examples=25)
def test_a_fifth_of_false_rows_moves_no_result_far_from_the_true_ones(rule, seed, rows, size):
    given = drawn(seed, rows)
    false = rows // 5
    given[:false] = size * given[:1].sign()
    true = given[false:]
    reach = (rule.combine(given) - true.mean(dim=0)).norm()
    assert reach <= 3 * (true - true.mean(dim=0)).norm(dim=1).max()
    assert float((given.mean(dim=0) - true.mean(dim=0)).norm()) > reach  # the mean goes further, without bound


def test_more_false_rows_than_a_rule_stands_take_it_over():
    given = drawn(3, 10)
    given[:6] = 1e6
    for rule in (tacit.Median(), tacit.GeometricMedian(), tacit.TrimmedMean(0.4), tacit.Krum(0.3)):
        assert float(rule.combine(given).abs().max()) > 1e5


def test_krum_says_how_many_rows_it_needs():
    assert tacit.Krum(0.2).unfit(7) is None
    assert "more than 6 rows" in tacit.Krum(0.2).unfit(6)
    assert "at most 6" in tacit.Krum(0.2, keep=9).unfit(10)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (tacit.Median(groups=2), "groups is 2"),
        (tacit.Median(groups="many"), "groups is 'many'"),
        (tacit.TrimmedMean(0.5), "share is 0.5"),
        (tacit.TrimmedMean(float("nan")), "share is nan"),
        (tacit.GeometricMedian(0.0), "smoothing is 0"),
        (tacit.Krum(0.7), "corrupt is 0.7"),
        (tacit.Krum(keep=0), "keep is 0"),
    ],
)
def test_settings_that_make_no_sense_are_told_with_the_value(rule, words):
    assert any(words in problem for problem in rule.problems())


@pytest.mark.parametrize("rule", RULES, ids=named)
def test_two_rows_are_too_few_for_every_rule(rule):
    assert rule.unfit(2) is not None
    assert list(rule.problems()) == []

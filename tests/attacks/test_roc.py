"""Curves against counting by hand, and the region of differential privacy."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from tacit.attacks.roc import Roc, area, bound, curve, tpr_at

SCORED = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30)


@given(SCORED)
def test_the_area_is_the_share_of_pairs_in_the_right_order(scored: list[tuple[int, bool]]) -> None:
    scores, members = np.array([float(s) for s, _ in scored]), np.array([m for _, m in scored])
    inside, outside = scores[members], scores[~members]
    if not len(inside) or not len(outside):
        assert np.isnan(area(scores, members))
        return
    pairs = np.subtract.outer(inside, outside)
    assert area(scores, members) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    fpr, tpr = curve(scores, members)
    assert area(scores, members) == pytest.approx(np.trapezoid(tpr, fpr))


@given(SCORED)
def test_a_curve_rises_from_nobody_to_everybody(scored: list[tuple[int, bool]]) -> None:
    scores, members = np.array([float(s) for s, _ in scored]), np.array([m for _, m in scored])
    fpr, tpr = curve(scores, members)
    assert (np.diff(fpr) >= 0).all()
    assert (np.diff(tpr) >= 0).all()
    assert fpr[0] == tpr[0] == 0
    assert (fpr[-1], tpr[-1]) == (float((~members).any()), float(members.any()))


def test_the_true_positive_rate_is_that_of_the_best_threshold_allowed() -> None:
    fpr, tpr = curve(np.array([5.0, 4, 3, 2, 1]), np.array([True, True, False, True, False]))
    assert tpr_at(fpr, tpr, 0.0) == pytest.approx(2 / 3)
    assert tpr_at(fpr, tpr, 0.5) == 1.0


def test_scores_that_are_not_known_are_left_out_and_the_interval_holds_the_area() -> None:
    rng = np.random.default_rng(0)
    members = rng.random((6, 80)) < 0.5
    scores = rng.normal(size=members.shape) + members
    scores[0, :5] = np.nan
    found = Roc.of(scores, members)
    assert found.members + found.others == scores.size - 5
    assert found.interval[0] < found.auc < found.interval[1]
    # Two normals one apart: the area is Phi(1 / sqrt 2).
    assert found.auc == pytest.approx(float(norm.cdf(0.5**0.5)), abs=0.06)


def test_the_bound_is_that_of_pencil_and_paper() -> None:
    np.testing.assert_allclose(bound([0.0, 0.01, 0.5], 1.0, 0.02), [0.02, exp(1) * 0.01 + 0.02, 1 - exp(-1) * 0.48])
    np.testing.assert_allclose(bound([0.0, 0.3, 1.0], 0.0, 0.0), [0.0, 0.3, 1.0])
    assert bound([1.0], 1000.0, 0.1)[0] == 1.0


@given(st.floats(0, 10), st.floats(0, 0.5), st.floats(0, 1))
def test_the_bound_is_symmetric_between_members_and_others(epsilon: float, delta: float, fpr: float) -> None:
    tpr = float(bound([fpr], epsilon, delta)[0])
    assert fpr - 1e-12 <= tpr <= 1
    # Whoever calls everybody the opposite is bound as well: 1 - FPR <= e^eps (1 - TPR) + delta.
    assert 1 - fpr <= exp(epsilon) * (1 - tpr) + delta + 1e-9


def test_the_best_attack_on_a_gaussian_stays_within_what_its_epsilon_allows() -> None:
    shift, epsilon = 1.0, 2.0
    delta = norm.cdf(shift / 2 - epsilon / shift) - exp(epsilon) * norm.cdf(-shift / 2 - epsilon / shift)
    fpr = np.geomspace(1e-6, 1, 400)
    tpr = norm.sf(norm.isf(fpr) - shift)
    assert (tpr <= bound(fpr, epsilon, float(delta)) + 1e-12).all()

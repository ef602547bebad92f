"""The noise: of the right distribution, independent, and never drawn twice. Together 1 false alarm in 2000 runs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tacit.privacy.noise import NoiseSource

RARE = 1e-4
"""Probability with which one of these tests fails though all is well, about."""


def test_the_draws_are_standard_normal_in_centre_and_tails():
    draws = NoiseSource().normal("update", 0, 400_000)
    assert stats.kstest(draws, "norm").pvalue > RARE
    assert abs(draws.mean()) * np.sqrt(draws.size) < stats.norm.isf(RARE / 2)
    low, high = stats.chi2.ppf([RARE / 2, 1 - RARE / 2], draws.size)
    assert low < (draws**2).sum() < high
    beyond = (np.abs(draws) > 3).sum()
    assert stats.binomtest(int(beyond), draws.size, 2 * stats.norm.sf(3)).pvalue > RARE


def test_rounds_and_purposes_are_independent():
    source = NoiseSource()
    one, two, other = (
        source.normal("update", 0, 100_000),
        source.normal("update", 1, 100_000),
        source.normal("b", 0, 100_000),
    )
    for pair in ((one, two), (one, other), (one[:-1], one[1:])):
        assert abs(np.corrcoef(*pair)[0, 1]) * np.sqrt(100_000) < stats.norm.isf(RARE / 2)


def test_no_two_sources_draw_the_same():
    one, two = NoiseSource().normal("update", 0, 8), NoiseSource().normal("update", 0, 8)
    assert not np.intersect1d(one, two).size
    assert NoiseSource().seed() != NoiseSource().seed()


def test_the_noise_of_a_round_is_drawn_once():
    source = NoiseSource()
    source.normal("update", 3, 4)
    with pytest.raises(ValueError, match="drawn before"):
        source.normal("update", 3, 4)


def test_a_seed_for_tests_repeats_and_says_that_it_is_none():
    one, two = NoiseSource(7), NoiseSource(7)
    assert not one.secure
    assert NoiseSource().secure
    assert (one.normal("update", 0, 9) == two.normal("update", 0, 9)).all()
    assert (one.normal("update", 1, 9) != two.normal("update", 2, 9)).all()

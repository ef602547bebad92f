"""Skellam noise: the right probability everywhere, a stream that a key alone decides, sums that are Skellam again.

Keys are fixed, so that a test that passes once passes always; `RARE` is the probability with which a key would have
been unlucky.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import ive

from tacit.privacy.skellam import FINE, LARGEST, MOST, _log_probability, skellam
from tacit.secret_draws import key_of

RARE = 1e-3
VARIANCES = (0.3, 4.0, 250.0, FINE - 1, FINE, 3.3e4, 1e6)
"""On both sides of where the way of drawing changes."""


def key(*parts):
    return key_of(b"the tests of skellam noise", *parts)


def probabilities(variance, reach):
    """Of -reach to reach."""
    return ive(np.abs(np.arange(-reach, reach + 1)), variance)


@pytest.mark.parametrize("variance", VARIANCES)
def test_every_value_comes_up_as_often_as_it_should(variance):
    count = 1_000_000
    draws = skellam(key("often", str(variance)), variance, count)
    reach = int(6 * np.sqrt(variance)) + 10
    expected = probabilities(variance, reach) * count
    inside = draws[np.abs(draws) <= reach] + reach
    found = np.bincount(inside, minlength=expected.size)
    groups = np.cumsum(expected) // max(20.0, count / 400)  # of neighbours, so that each is expected some times
    found, expected = (np.bincount(groups.astype(int), weights=w) for w in (found, expected))
    enough = expected > 10
    found, expected = found[enough], expected[enough]
    assert stats.chisquare(found, expected * found.sum() / expected.sum()).pvalue > RARE


def test_the_series_for_probabilities_is_the_bessel_function_where_it_is_first_used():
    k = np.arange(0, 700, 7)
    np.testing.assert_allclose(_log_probability.py_func(k, FINE), np.log(ive(k, FINE)), rtol=0, atol=2e-13)


@pytest.mark.parametrize("variance", [FINE, 20_000.0])
def test_neighbouring_values_in_one_strip_differ_as_they_should(variance):
    """Value by value, where thousands of each are expected."""
    count = 4_000_000
    draws = skellam(key("each", str(variance)), variance, count)
    reach = int(2 * np.sqrt(variance))
    expected = probabilities(variance, reach) * count
    found = np.bincount(draws[np.abs(draws) <= reach] + reach, minlength=expected.size)
    beyond = count - found.sum(), count - expected.sum()
    assert stats.chisquare([*found, beyond[0]], [*expected, beyond[1]]).pvalue > RARE


@pytest.mark.parametrize("variance", [1e9, 1e12, 2.0**53 + 2, LARGEST])
def test_with_a_large_variance_draws_are_normal_in_every_hundredth_and_in_the_tail(variance):
    """Its fourth cumulant, 1 / mu, is below what a million draws can show."""
    draws = skellam(key("large", str(variance)), variance, 2_000_000) / np.sqrt(variance)
    counts, _ = np.histogram(draws, stats.norm.ppf(np.linspace(0, 1, 101)))
    assert stats.chisquare(counts).pvalue > RARE
    assert stats.kstest(draws[:500_000], "norm").pvalue > RARE
    for beyond in (2.0, 3.0, 3.6, 4.5):
        found = int((np.abs(draws) > beyond).sum())
        assert stats.binomtest(found, draws.size, 2 * stats.norm.sf(beyond)).pvalue > RARE
    assert abs(draws.var() - 1) < 3.3 * np.sqrt(2 / draws.size)
    assert abs(stats.kurtosis(draws)) < 3.3 * np.sqrt(24 / draws.size)


def test_the_last_bits_of_large_draws_are_even():
    """No grid: a draw that is rounded from few bits leaves gaps, and its remainders are not alike."""
    draws = skellam(key("bits"), LARGEST, 500_000)
    for modulus in (2, 3, 64, 101):
        assert stats.chisquare(np.bincount(draws % modulus, minlength=modulus)).pvalue > RARE


@pytest.mark.parametrize(("variance", "terms"), [(0.25, 8), (50.0, 10), (3000.0, 7), (2e4, 5)])
def test_a_sum_of_draws_is_a_draw_of_the_summed_variance(variance, terms):
    count = 400_000
    total = sum(skellam(key("sum", i), variance, count) for i in range(terms))
    whole = skellam(key("whole"), variance * terms, count)
    assert stats.ks_2samp(total, whole).pvalue > RARE
    mu = variance * terms
    centred = total - total.mean()
    second, third, fourth = (np.mean(centred**power) for power in (2, 3, 4))
    spread = np.sqrt(mu)
    assert abs(total.mean()) < 3.3 * spread / np.sqrt(count)
    assert abs(second - mu) < 3.3 * np.sqrt((2 * mu**2 + mu) / count)
    assert abs(third) < 3.3 * np.sqrt(np.mean(centred**6) / count)
    assert abs(fourth - 3 * second**2 - mu) < 4 * np.sqrt(np.var(centred**4 - 6 * mu * centred**2) / count)


def test_it_is_the_difference_of_two_poisson_draws():
    other = np.random.default_rng(5)
    for variance in (3.0, 40_000.0):
        pair = other.poisson(variance / 2, 300_000) - other.poisson(variance / 2, 300_000)
        assert stats.ks_2samp(skellam(key("pair"), variance, 300_000), pair).pvalue > RARE


@settings(max_examples=25, deadline=None)
@given(variance=st.floats(1e-3, LARGEST), count=st.integers(0, 3000), seed=st.integers(0, 2**32))
def test_a_key_alone_decides_the_draws_however_many_are_taken(variance, count, seed):
    draws = skellam(key(seed), variance, count)
    assert draws.dtype == np.int64
    assert draws.shape == (count,)
    np.testing.assert_array_equal(draws, skellam(key(seed), variance, count + 100)[:count])
    assert np.abs(draws).max(initial=0) <= 13 * np.ceil(np.sqrt(variance)) + 40


def test_more_draws_than_one_piece_of_the_key_stream_go_on_where_it_ended():
    for variance in (5.0, 1e8):
        many = skellam(key("pieces"), variance, 300_000)
        np.testing.assert_array_equal(many[:200_000], skellam(key("pieces"), variance, 200_000))
        pieces = many.reshape(-1, 25)
        assert len(np.unique(pieces, axis=0)) == len(pieces), "no words are used twice"


def test_other_keys_and_neighbouring_draws_are_independent():
    one, other = (skellam(key("other", i), 1e6, 200_000) / 1e3 for i in range(2))
    bound = 3.3 / np.sqrt(one.size)
    assert abs(np.mean(one * other)) < bound
    assert abs(np.mean(one[1:] * one[:-1])) < bound
    assert abs(np.mean(np.sign(one[1:]) * np.sign(one[:-1]))) < bound


@pytest.mark.parametrize("variance", [0.0, -1.0, float("nan"), float("inf"), 2 * MOST])
def test_a_variance_out_of_range_is_refused_with_its_value(variance):
    with pytest.raises(ValueError, match=str(variance).replace("+", r"\+")):
        skellam(key("bad"), variance, 3)


def test_a_large_variance_is_made_of_several_draws_and_is_right():
    """Chi-square of 20,000 draws; a right one is refused with probability 1e-6."""
    variance = 5.5 * LARGEST
    draws = skellam(key("large"), variance, 20_000).astype(np.float64)
    low, high = stats.chi2.ppf([5e-7, 1 - 5e-7], draws.size)
    assert low < float((draws**2 / variance).sum()) < high
    assert (draws == skellam(key("large"), variance, 20_000)).all()

"""Draws that nobody can predict: the right distribution everywhere, a stream that does not depend on how it is read.

Together about 1 false alarm in 1000 runs.
"""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tacit.secret_draws import CHUNK, KEY, LAYERS, TAIL, SecretDraws, _layers, key_of

RARE = 1e-4
"""Probability with which one of these tests fails though all is well, about."""


def stream(*parts):
    return SecretDraws(key_of(np.random.default_rng().bytes(KEY), *parts))


def test_words_are_the_key_stream_of_aes():
    key = bytes(range(KEY))
    expected = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor().update(bytes(80))
    assert SecretDraws(key).words(10).tobytes() == expected


def test_layers_and_tail_have_one_area():
    ends, density = _layers()
    assert len(ends) == LAYERS + 1
    assert ends[1] == TAIL
    assert (np.diff(ends) < 0).all()
    areas = ends[1:LAYERS] * np.diff(density)[1:]
    np.testing.assert_allclose(areas, ends[0] * density[1], rtol=1e-9)


def test_normal_draws_have_the_distribution_in_every_hundredth_and_in_the_tail():
    draws = stream("a").normal(2_000_000)
    counts, _ = np.histogram(draws, stats.norm.ppf(np.linspace(0, 1, 101)))
    assert stats.chisquare(counts).pvalue > RARE
    assert stats.kstest(draws, "norm").pvalue > RARE
    for beyond in (TAIL, 3.0, 4.2):
        found = int((np.abs(draws) > beyond).sum())
        assert stats.binomtest(found, draws.size, 2 * stats.norm.sf(beyond)).pvalue > RARE
    tail = np.abs(draws[np.abs(draws) > TAIL])
    assert stats.kstest(tail, lambda x: 1 - stats.norm.sf(x) / stats.norm.sf(TAIL)).pvalue > RARE
    assert stats.binomtest(int((draws > 0).sum()), draws.size).pvalue > RARE


def test_neighbouring_draws_are_independent():
    draws = stream("b").normal(1_000_001)
    for values in (draws, draws**2, np.abs(draws) > TAIL):
        together = np.corrcoef(values[:-1], values[1:])[0, 1]
        assert abs(together) * 1000 < stats.norm.isf(RARE / 2)


@given(st.lists(st.integers(0, 3000), max_size=6))
def test_however_many_are_taken_at_a_time_they_are_the_same(counts):
    whole, pieces = SecretDraws(bytes(KEY)).normal(sum(counts)), SecretDraws(bytes(KEY))
    assert (np.concatenate([np.empty(0), *(pieces.normal(n) for n in counts)]) == whole).all()


def test_pieces_that_end_in_the_middle_of_a_chunk_are_the_same_too():
    whole, pieces = SecretDraws(bytes(KEY)).normal(3 * CHUNK), SecretDraws(bytes(KEY))
    halves = np.concatenate([pieces.normal(n) for n in (CHUNK - 3, 7, 2 * CHUNK - 4)])
    assert (halves == whole).all()
    assert np.unique(whole).size == whole.size


def test_uniform_draws_are_in_the_unit_interval():
    draws = stream("c").uniform(200_000)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert stats.kstest(draws, "uniform").pvalue > RARE


@pytest.mark.parametrize("other", [("ab", "c", 1), ("a", "bc", "1"), ("a", "b", "c", 1), ("a", "bc", 2)])
def test_other_purposes_have_other_keys(other):
    secret = bytes(KEY)
    assert key_of(secret, "a", "bc", 1) != key_of(secret, *other)
    assert key_of(secret, "a", "bc", 1) == key_of(secret, "a", "bc", 1)
    assert key_of(secret, "a", "bc", 1) != key_of(b"\1" * KEY, "a", "bc", 1)

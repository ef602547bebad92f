from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from tacit.selection.cohort import Everyone, Uniform


def test_every_client_is_drawn_equally_often():
    """Pearson's test over 4000 rounds of 7 from 30. Counts of draws without replacement vary less than multinomial
    ones, by (N - K) / (N - 1), by which the statistic is divided. A right sampler fails with probability 2e-4 (both
    tails); the seed is fixed, so it does not fail by chance."""
    N, K, T = 30, 7, 4000
    counts = np.bincount(np.concatenate([Uniform(K).draw(N, 1, t).clients for t in range(T)]), minlength=N)
    expected = T * K / N
    statistic = ((counts - expected) ** 2 / expected).sum() / ((N - K) / (N - 1))
    assert chi2.ppf(1e-4, N - 1) < statistic < chi2.ppf(1 - 1e-4, N - 1)


def test_every_pair_is_drawn_equally_often():
    N, K, T = 8, 3, 6000
    pairs = np.zeros((N, N))
    for t in range(T):
        drawn = Uniform(K).draw(N, 5, t).clients
        pairs[np.ix_(drawn, drawn)] += 1
    counts = pairs[np.triu_indices(N, 1)]
    expected = T * K * (K - 1) / (N * (N - 1))
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


@given(st.integers(1, 200), st.data(), st.integers(0, 2**40), st.integers(0, 1000))
def test_a_cohort_is_ascending_without_repeats_and_the_same_every_time(clients, data, seed, round):
    size = data.draw(st.integers(1, clients))
    cohort = Uniform(size).draw(clients, seed, round)
    assert len(cohort.clients) == size == cohort.sampling.size
    assert (np.diff(cohort.clients) > 0).all()
    assert cohort.clients[0] >= 0 and cohort.clients[-1] < clients
    assert cohort.clients.tolist() == Uniform(size).draw(clients, seed, round).clients.tolist()
    assert (cohort.sampling.kind, cohort.sampling.of) == ("uniform", clients)


def test_another_round_or_seed_draws_anew():
    draws = {tuple(Uniform(5).draw(1000, seed, t).clients) for seed in range(5) for t in range(20)}
    assert len(draws) == 100


def test_everyone_is_everyone():
    cohort = Everyone().draw(4, 0, 9)
    assert cohort.clients.tolist() == [0, 1, 2, 3]
    assert cohort.sampling.kind == "everyone"
    assert Everyone().problems(4) == []


@pytest.mark.parametrize("cohort", [0, 11, -3, 2.5, "ten", True, None])
def test_a_cohort_out_of_range_is_a_problem(cohort):
    assert str(cohort) in Uniform(cohort).problems(10)[0]


@pytest.mark.parametrize("cohort", [1, 10, np.int64(3)])
def test_a_cohort_in_range_is_none(cohort):
    assert Uniform(cohort).problems(10) == []

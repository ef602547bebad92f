"""Random-k: the same coordinates of everybody, right on average, with the error that theory says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.compression import RandomK
from tacit.aggregation.stage import Chain
from tacit.errors import UsageError
from tests.aggregation.compression.small import layout, reports, through

ERROR_RATE = 1e-6
"""Chance that a correct implementation would fail a test of this file with another seed."""
Z = 4.9
"""A normal number is beyond it, on either side, with probability 1e-6."""


def decoded(rows: torch.Tensor, d: int, share: float, rounds: int) -> torch.Tensor:
    chain = Chain.of([RandomK(share)], layout(d))
    states, found = chain.init(), []
    for _ in range(rounds):
        total, states = through(chain, rows, states)
        found.append(total)
    return torch.stack(found)


@given(d=st.integers(1, 40), clients=st.integers(1, 4), share=st.floats(0.01, 1.0))
def test_k_numbers_of_the_sum_arrive_times_d_over_k_and_the_others_are_zero(d, clients, share):
    rows, k = reports(clients, d), max(1, round(share * d))
    total = decoded(rows, d, share, 1)[0]
    sent = torch.nonzero(total[:d]).flatten()
    assert len(sent) == k
    torch.testing.assert_close(total[sent], rows.sum(0)[sent] * d / k)
    torch.testing.assert_close(total[d:], rows.sum(0)[d:])


def test_what_is_decoded_is_right_on_average_over_the_rounds():
    d, k, rounds = 20, 5, 2000
    rows = reports(3, d)
    found, truth = decoded(rows, d, k / d, rounds)[:, :d], rows.sum(0)[:d]
    deviation = truth.abs() * ((d / k - 1) / rounds) ** 0.5
    threshold = Z + 1.0  # for 20 coordinates together, an error rate below ERROR_RATE
    assert bool(((found.mean(0) - truth).abs() <= threshold * deviation).all())


def test_its_squared_error_is_d_over_k_minus_one_times_the_squared_norm_on_average():
    d, k, rounds = 20, 5, 2000
    rows = reports(1, d)
    truth = rows[0, :d]
    errors = ((decoded(rows, d, k / d, rounds)[:, :d] - truth) ** 2).sum(1)
    allowed = Z * float(errors.std()) / rounds**0.5
    assert abs(float(errors.mean()) - (d / k - 1) * float(truth @ truth)) <= allowed


def test_every_pair_of_coordinates_is_drawn_equally_often():
    d, k, rounds = 6, 2, 3000
    sent = decoded(torch.ones(1, d + 3, dtype=torch.float64), d, k / d, rounds)[:, :d].numpy() > 0
    pairs = [np.count_nonzero(sent[:, i] & sent[:, j]) for i in range(d) for j in range(i)]
    expected = rounds / len(pairs)
    statistic = sum((count - expected) ** 2 / expected for count in pairs)
    assert statistic < 56.5  # chi-square of 14 degrees of freedom: beyond it with probability 5e-7


def test_the_encoded_sum_is_the_sum_of_what_was_encoded():
    chain, rows = Chain.of([RandomK(0.3)], layout(30)), reports(5, 30)
    down = chain.broadcast(chain.init())
    one = chain.encode(rows.sum(0, keepdim=True), down)[0]
    torch.testing.assert_close(chain.encode(rows.clone(), down).sum(0), one)
    assert chain.layout.size == len(one) == 9 + 3


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan"), "all"])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(UsageError, match=r"share is .*: give a share of the coordinates, above 0 and at most 1"):
        RandomK(share)

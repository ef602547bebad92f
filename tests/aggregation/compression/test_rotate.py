"""Rotate: the sum comes back, norms stay, spikes are gone."""

from __future__ import annotations

from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.compression import Rotate
from tacit.aggregation.stage import Chain
from tacit.errors import UsageError
from tests.aggregation.compression.small import layout, reports, through


@given(d=st.integers(1, 70), clients=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_what_is_decoded_is_the_sum_in_every_round(d, clients, seed):
    chain = Chain.of([Rotate(seed=seed)], layout(d))
    states, rows = chain.init(), reports(clients, d, seed)
    for _ in range(3):
        decoded, states = through(chain, rows, states)
        torch.testing.assert_close(decoded, rows.sum(0), rtol=0, atol=1e-12 * clients * d**0.5 + 1e-12)


def test_the_rotation_of_a_sum_is_the_sum_of_the_rotations():
    chain, rows = Chain.of([Rotate()], layout(37)), reports(4, 37)
    down = chain.broadcast(chain.init())
    one = chain.encode(rows.sum(0, keepdim=True), down)[0]
    torch.testing.assert_close(chain.encode(rows.clone(), down).sum(0), one, rtol=0, atol=1e-12)


def test_a_spike_is_spread_over_all_coordinates_and_its_norm_stays():
    d = 1024
    spike = torch.zeros(1, d + 3, dtype=torch.float64)
    spike[0, 5] = 1.0
    chain = Chain.of([Rotate()], layout(d))
    rotated = chain.encode(spike, chain.broadcast(chain.init()))[0, :d]
    assert float(rotated.abs().max()) < (2 * log(2 * d / 1e-6) / d) ** 0.5  # for all but one key in a million
    assert float(rotated.norm()) == pytest.approx(1.0)


def test_nothing_but_the_update_is_touched():
    chain, rows = Chain.of([Rotate()], layout(16)), reports(3, 16)
    assert torch.equal(chain.encode(rows.clone(), chain.broadcast(chain.init()))[:, 16:], rows[:, 16:])


def test_each_round_and_each_seed_has_a_rotation_of_its_own():
    rows, seen = reports(1, 64), []
    for seed in (0, 1):
        chain = Chain.of([Rotate(seed=seed)], layout(64))
        states = chain.init()
        for _ in range(2):
            seen.append(tuple(chain.encode(rows.clone(), chain.broadcast(states))[0].tolist()))
            _, states = chain.decode(rows[0].clone(), states)
    assert len(set(seen)) == 4


def test_a_seed_that_is_no_whole_number_is_refused():
    with pytest.raises(UsageError, match=r"seed is 0\.5: give a whole number"):
        Rotate(seed=0.5)

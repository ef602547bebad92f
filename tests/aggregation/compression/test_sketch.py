"""Count sketches: linear, with every large coordinate found, and nothing lost of what was not taken."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.compression import CountSketch
from tacit.aggregation.stage import Chain
from tacit.errors import UsageError
from tests.aggregation.compression.small import layout, reports, through


@given(clients=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_the_sketch_of_a_sum_is_the_sum_of_the_sketches(clients, seed):
    chain, rows = Chain.of([CountSketch(3, 8, 4, seed=seed)], layout(50)), reports(clients, 50, seed)
    encoded = chain.encode(rows.clone(), {})
    one = chain.encode(rows.sum(0, keepdim=True), {})[0]
    torch.testing.assert_close(encoded.sum(0), one, rtol=0, atol=1e-10)
    assert encoded.shape[1] == 24 + 3


@given(
    places=st.lists(st.integers(0, 1999), min_size=1, max_size=3, unique=True),
    clients=st.integers(1, 4),
    weight=st.sampled_from([1.0, 7.0]),
)
def test_few_large_coordinates_are_found_exactly_and_nothing_is_left(places, clients, weight):
    """Another coordinate is estimated as zero unless it meets one of three in 11 of 21 rows of 90 columns: for all 2000
    together the chance is below `2000 * 352716 / 30^11 = 4e-8`."""
    d = 2000
    rows = torch.zeros(clients, d + 3, dtype=torch.float64)
    rows[:, -1] = weight
    for i, place in enumerate(places):
        rows[:, place] = (i + 1) * 100.0 * weight
    chain = Chain.of([CountSketch(21, 90, 3)], layout(d))
    total, states = through(chain, rows, chain.init())
    torch.testing.assert_close(total, rows.sum(0))
    assert float(states[0]["kept"].norm()) < 1e-9


def test_estimates_are_right_on_average_over_the_seeds_where_there_is_one_row():
    """One row has no median: its estimates are sums with random signs. Error rate below 1e-5 for 30 coordinates."""
    d, seeds, columns = 30, 3000, 10
    update = reports(1, d)[0, :d].numpy()
    found = np.stack(
        [
            sketch.estimated(sketch.sketched(update), d)
            for sketch in (CountSketch(1, columns, 1, s) for s in range(seeds))
        ]
    )
    assert (np.abs(found.mean(0) - update) <= 5.2 * found.std(0) / seeds**0.5).all()
    variance = ((update**2).sum() - update**2) / columns
    np.testing.assert_allclose(found.var(0), variance, rtol=0.25)


@given(seed=st.integers(0, 1000), rounds=st.integers(1, 5))
def test_the_sketches_of_all_that_was_taken_and_what_is_kept_add_up_to_all_that_came(seed, rounds):
    d = 60
    stage = CountSketch(3, 12, 5, seed=seed)
    chain = Chain.of([stage], layout(d))
    states, came, taken = chain.init(), np.zeros(36), np.zeros(36)
    for t in range(rounds):
        weights = torch.tensor([1.0, 2.0 + t, 3.0])
        rows = reports(3, d, seed + t, weights=weights)
        total, states = through(chain, rows, states)
        assert int((total[:d] != 0).sum()) <= 5
        came += stage.sketched((rows[:, :d].sum(0) / weights.sum()).numpy())
        taken += stage.sketched((total[:d] / weights.sum()).numpy())
    np.testing.assert_allclose(taken + states[0]["kept"].numpy(), came, atol=1e-10)


@given(seed=st.integers(0, 1000), keep=st.integers(1, 60))
def test_what_is_kept_is_no_longer_than_what_there_was_even_where_nothing_stands_out(seed, keep):
    d, stage = 60, CountSketch(2, 5, keep, seed=seed)
    chain = Chain.of([stage], layout(d))
    states = chain.init()
    for t in range(4):
        rows = reports(2, d, seed + t)
        whole = states[0]["kept"].numpy() + stage.sketched((rows[:, :d].sum(0) / 2).numpy())
        _, states = through(chain, rows, states)
        assert float(states[0]["kept"].norm()) <= np.linalg.norm(whole) * (1 + 1e-12)


def test_a_sketch_that_saves_nothing_is_refused_with_its_numbers():
    with pytest.raises(UsageError, match="3 rows and 20 columns has 60 numbers, and the update has 60"):
        Chain.of([CountSketch(3, 20, 5)], layout(60))


def test_all_that_is_wrong_with_a_sketch_is_said_at_once():
    with pytest.raises(UsageError) as found:
        CountSketch(0, 2.5, -1, seed="x")
    assert all(text in str(found.value) for text in ("rows is 0", "columns is 2.5", "keep is -1", "seed is 'x'"))

"""Quantisation: on a lattice, right on average, adapted, never clamped in silence; packed sums are the plain ones."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.compression import Quantise, Rotate
from tacit.aggregation.norm_bound import NormBound
from tacit.aggregation.stage import Chain
from tacit.errors import IncompatibleOptions, TacitWarning, UsageError
from tests.aggregation.compression.small import grid, layout, reports, through


def steps(bits: int, range: float) -> float:
    """The largest error: a step of the lattice, by the definition."""
    return 2 * range if bits == 1 else range / (2 ** (bits - 1) - 1)


@pytest.mark.parametrize("secure", [False, True])
@given(bits=st.integers(1, 16), clients=st.integers(1, 6), seed=st.integers(0, 1000))
def test_within_the_range_no_coordinate_is_off_by_more_than_a_step_for_every_client(secure, bits, clients, seed):
    d = 23
    weights = torch.linspace(1, 4, clients)
    rows = reports(clients, d, seed, weights=weights)
    range_ = float((rows[:, :d] / weights[:, None]).abs().max()) * 1.01
    chain = Chain.of([Quantise(bits, range_)], layout(d), grid(clients, 4.0, 64) if secure else None)
    total, states = through(chain, rows, chain.init())
    allowed = steps(bits, range_) * (4.0 * clients if secure else float(weights.sum()))
    assert float((total[:d] - rows.sum(0)[:d]).abs().max()) <= allowed * (1 + 1e-6)
    torch.testing.assert_close(total[d:], rows.sum(0)[d:], rtol=0, atol=1e-4)
    assert float(states[0]["clamped"]) == 0


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@pytest.mark.parametrize("secure", [False, True])
def test_what_is_decoded_is_right_on_average_over_the_rounds(bits, secure):
    """40 coordinates, each a mean of 1000 rounds: the error rate of all is below 40 * 1e-7 = 4e-6."""
    d, rounds = 40, 1000
    row = reports(1, d)
    range_ = float(row[0, :d].abs().max())
    chain = Chain.of([Quantise(bits, range_)], layout(d), grid(5) if secure else None)
    states, found = chain.init(), []
    for _ in range(rounds):
        total, states = through(chain, row, states)
        found.append(total[:d])
    step = float(states[0]["range"]) / max(1, 2 ** (bits - 1) - 1) * (2 if bits == 1 else 1)
    off = (torch.stack(found).mean(0) - row[0, :d]).abs()
    assert float(off.max()) <= 5.4 * step / 2 / rounds**0.5
    assert float(torch.stack(found).std(0).max()) > 0.3 * step  # it is rounded at random


@given(bits=st.integers(2, 16), seed=st.integers(0, 100))
def test_zero_stays_zero_and_what_is_on_the_lattice_stays(bits, seed):
    most = 2 ** (bits - 1) - 1
    levels = torch.randint(-most, most + 1, (2, 30), generator=torch.Generator().manual_seed(seed))
    rows = reports(2, 30)
    rows[:, :30] = levels.double() / most
    rows[0, 3] = 0.0
    chain = Chain.of([Quantise(bits, 1.0)], layout(30))
    encoded = chain.encode(rows.clone(), chain.broadcast(chain.init()))
    # a step may be missed by the last bit of a quotient, and then by chance: once in 2^32
    torch.testing.assert_close(encoded[:, :30], rows[:, :30], rtol=1e-12, atol=0)


def test_one_bit_is_one_of_two_numbers():
    chain, rows = Chain.of([Quantise(1, 3.0)], layout(50)), reports(2, 50)
    assert set(chain.encode(rows, chain.broadcast(chain.init()))[:, :50].abs().flatten().tolist()) == {3.0}


def test_coins_follow_from_seed_round_and_report_and_from_nothing_else():
    rows = reports(3, 60)

    def encoded(seed, which, rounds=0):
        chain = Chain.of([Quantise(2, 4.0, seed=seed)], layout(60))
        states = chain.init()
        for _ in range(rounds):
            _, states = through(chain, rows, states)
        return chain.encode(rows[which].clone(), chain.broadcast(states))

    assert torch.equal(encoded(0, [0, 1, 2])[1], encoded(0, [1])[0])
    assert not torch.equal(encoded(0, [1]), encoded(1, [1]))
    assert not torch.equal(encoded(0, [1]), encoded(0, [1], rounds=1))


def test_what_is_beyond_the_range_is_clamped_counted_and_told():
    rows = reports(4, 10)
    rows[:, :10] = 0.5
    rows[0, :2], rows[1, 0] = 3.0, -2.0
    chain = Chain.of([Quantise(8, 1.0)], layout(10))
    with pytest.warns(TacitWarning, match=r"7\.5% of the coordinates lay beyond the range 1 .* state a larger range"):
        total, states = through(chain, rows, chain.init())
    assert float(states[0]["clamped"]) == pytest.approx(3 / 40)
    assert total[0] == pytest.approx(1.0 - 1.0 + 1.0, abs=0.02)


@pytest.mark.parametrize("secure", [False, True])
def test_an_adapted_range_is_twice_what_the_clients_needed_on_average(secure):
    """Largest coordinates of 1 and 3 with weights 1 and 3: the mean is 2.5; on a lattice of weight 3 they need 1 / 3
    and 3, so 7 / 3. Twice that is the next range."""
    rows = torch.zeros(2, 8, dtype=torch.float64)
    rows[:, -1] = torch.tensor([1.0, 3.0])
    rows[0, 2], rows[1, 3] = 1.0, -9.0
    chain = Chain.of([Quantise(8)], layout(5), grid(2, 3.0, 64) if secure else None)
    with pytest.warns(TacitWarning, match=r"range 0\.1 .* the range adapts"):
        _, states = through(chain, rows, chain.init())
    assert float(states[0]["range"]) == pytest.approx(2 * 7 / 3 if secure else 5.0, rel=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total, states = through(chain, rows, states)
    np.testing.assert_allclose(total[:5], [0, 0, 1, -9, 0], atol=0.4)


def test_a_range_stays_where_all_updates_are_zero():
    rows = torch.zeros(2, 8, dtype=torch.float64)
    rows[:, -1] = 1
    chain = Chain.of([Quantise(8)], layout(5))
    total, states = through(chain, rows, chain.init())
    assert float(states[0]["range"]) == pytest.approx(0.1)
    assert not total[:5].any()


@given(bits=st.integers(1, 16), clients=st.integers(1, 9), word=st.sampled_from([32, 64]), seed=st.integers(0, 100))
def test_sums_of_packed_words_are_the_sums_of_the_lattice_s_numbers(bits, clients, word, seed):
    d = 17
    rows = reports(clients, d, seed).clamp(-4, 4)
    rows[:, -1] = 1
    chain = Chain.of([Quantise(bits, 4.0)], layout(d), grid(clients, 1.0, word))
    down = chain.broadcast(chain.init())
    encoded = chain.encode(rows.clone(), down)
    ones = torch.ones(clients)
    words = chain.grid.encode(encoded, ones)
    assert int(words.abs().max()) < 2 ** (word - 1)
    assert torch.equal(chain.grid.decode(words.sum(0))[:d], encoded[:, :d].sum(0))


def test_packing_makes_what_is_summed_shorter():
    """100 clients of 4 bits: numbers to 7, sums to 700, 11 bits with the sign: two in a word of 32 bits."""
    chain = Chain.of([Quantise(4, 1.0)], layout(1000), grid(100, 1.0, 32))
    assert chain.layout.sizes[0] == 500
    assert Chain.of([Quantise(4, 1.0)], layout(1000), grid(100, 1.0, 64)).layout.sizes[0] == 200


def test_a_rotated_spike_is_quantised_with_less_error_than_as_it_is():
    d = 512
    row = torch.zeros(1, d + 3, dtype=torch.float64)
    row[0, :d] = 0.01
    row[0, -1], row[0, 7] = 1.0, 1.0

    def error(*stages):
        chain = Chain.of(stages, layout(d))
        total, _ = through(chain, row, chain.init())
        return float((total - row[0])[:d].norm())

    assert error(Rotate(), Quantise(4, 0.2)) < 0.5 * error(Quantise(4, 1.0))


def test_a_stage_behind_it_is_refused():
    for stage in (Rotate(), NormBound(1.0)):
        name = type(stage).__name__
        with pytest.raises(IncompatibleOptions, match=f"{name} comes after Quantise, which is to be the last"):
            Chain.of([Quantise(), stage], layout(4))


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(UsageError) as found:
        Quantise(bits=17, range=0.0, seed=None)
    assert all(text in str(found.value) for text in ("bits is 17", "range is 0.0", "seed is None"))

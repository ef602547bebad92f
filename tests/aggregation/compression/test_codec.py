"""The codec: every stage's reports as bytes and back, of exactly the size that the history says."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.compression import Codec, CountSketch, Quantise, RandomK, Rotate, TopK, bits, indices
from tacit.aggregation.norm_bound import NormBound
from tacit.aggregation.stage import Chain
from tacit.errors import MalformedMessage
from tests.aggregation.compression.small import layout, reports

CHAINS = [
    [],
    [Rotate()],
    [NormBound(1.0)],
    [RandomK(0.2)],
    [CountSketch(3, 10, 5)],
    [TopK(0.05)],
    [TopK(1.0)],
    [Rotate(), TopK(0.3)],
    *([Quantise(b, 1.0)] for b in range(1, 17)),
    [RandomK(0.3), Rotate(), Quantise(3)],
    [Quantise(3, 1.0).on_grid(4.0)],
]


def encoded(stages, dtype, d=61, clients=3):
    chain = Chain.of(stages, layout(d))
    down = {name: value.to(dtype) for name, value in chain.broadcast(chain.init()).items()}
    memory = torch.zeros(clients, chain.memory, dtype=dtype)
    weights = torch.linspace(1, 3, clients)
    return Codec(chain, dtype), down, chain.encode(reports(clients, d, dtype=dtype, weights=weights), down, memory)


@pytest.mark.parametrize("stages", CHAINS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_loaded_is_what_was_dumped_bit_for_bit_and_of_the_declared_size(stages, dtype):
    codec, down, rows = encoded(stages, dtype)
    for row in rows:
        data = codec.dump(row, down)
        assert isinstance(data, bytes)
        assert len(data) == codec.size == codec.chain.encoded_bytes(dtype.itemsize)
        loaded = codec.load(data, down)
        assert loaded.dtype == dtype
        assert torch.equal(loaded, row)


@pytest.mark.parametrize(("stages", "size"), [
    ([], 64 * 4),
    ([RandomK(0.2)], (12 + 3) * 4),
    ([CountSketch(3, 10, 5)], (30 + 3) * 4),
    ([Quantise(3, 1.0)], 4 + 23 + (3 + 1) * 4),  # 61 numbers of 3 bits: 183 bits; the share of what was clamped
    ([Quantise(3)], 4 + 23 + (3 + 2) * 4),  # and the largest coordinate
    ([TopK(0.05)], 4 + (2 + 2) + 4 * 4 + 3 * 4),  # 4 of 61: 3 low bits each, and 4 + 7 bits of a row
])  # fmt: skip
def test_sizes_are_those_that_were_counted_by_hand(stages, size):
    assert encoded(stages, torch.float32)[0].size == size


@pytest.mark.parametrize("stages", [[], [Quantise(3, 1.0)], [TopK(0.05)]], ids=str)
def test_bytes_of_another_length_or_kind_are_refused(stages):
    codec, down, rows = encoded(stages, torch.float32)
    data = codec.dump(rows[0], down)
    for wrong in (b"", data[:-1], data + b"\0", data * 1000):
        with pytest.raises(MalformedMessage, match=f"report of {len(wrong)} bytes, where one has {len(data)}"):
            codec.load(wrong, down)
    if stages:
        for at in range(4):
            changed = bytearray(data)
            changed[at] ^= 1
            with pytest.raises(MalformedMessage, match="begins with"):
                codec.load(bytes(changed), down)


@pytest.mark.parametrize("stages", [[Quantise(3, 1.0)], [Quantise(8)], [TopK(0.05)], [TopK(0.5)]], ids=str)
@given(flips=st.lists(st.integers(0, 10**6), min_size=1, max_size=5))
def test_damaged_bytes_give_a_report_of_the_right_shape_or_the_error(stages, flips):
    codec, down, rows = encoded(stages, torch.float32)
    data = bytearray(codec.dump(rows[0], down))
    for flip in flips:
        data[flip // 8 % len(data)] ^= 1 << flip % 8
    with contextlib.suppress(MalformedMessage):
        assert codec.load(bytes(data), down).shape == rows[0].shape


def test_a_level_that_is_not_on_the_lattice_is_refused():
    codec, down, rows = encoded([Quantise(3, 1.0)], torch.float32)
    data = bytearray(codec.dump(rows[0], down))
    data[4] |= 7
    with pytest.raises(MalformedMessage, match="above 3, the largest of its lattice"):
        codec.load(bytes(data), down)


def test_a_report_with_fewer_numbers_than_are_sent_travels_too():
    codec, down, rows = encoded([TopK(0.5)], torch.float32)
    row = rows[0].clone()
    row[:61] = 0
    row[17] = 2.5
    assert torch.equal(codec.load(codec.dump(row, down), down), row)


@given(b=st.integers(1, 16), count=st.integers(0, 40), seed=st.integers(0, 1000))
def test_numbers_of_few_bits_come_back(b, count, seed):
    numbers = np.random.default_rng(seed).integers(0, 2**b, count)
    data = bits.dump(numbers, b)
    assert len(data) == bits.size(count, b)
    assert np.array_equal(bits.load(data, count, b), numbers)


@given(d=st.integers(1, 3000), data=st.data())
def test_indices_come_back_in_about_two_bits_more_than_log_d_over_k(d, data):
    k = data.draw(st.integers(1, d))
    places = np.sort(np.random.default_rng(data.draw(st.integers(0, 1000))).choice(d, k, replace=False))
    dumped = indices.dump(places, d)
    assert len(dumped) == indices.size(k, d) <= (k * (2 + np.log2(d / k)) + 16) / 8 + 1
    assert np.array_equal(indices.load(dumped, k, d), places)


def test_indices_that_are_too_few_or_twice_the_same_are_refused():
    good = bytearray(indices.dump(np.array([3, 900]), 1000))  # 8 low bits each, then the row
    short = bytes(good[:-1]) + b"\0"
    with pytest.raises(MalformedMessage, match="0 indices in a report that is to have 2"):
        indices.load(bytes(len(good)), 2, 1000)
    with pytest.raises(MalformedMessage, match="indices in a report that is to have 2"):
        indices.load(short, 2, 1000)
    same = indices.dump(np.array([3, 4]), 1000)
    low = len(same) - bits.size(2 + (999 >> 8), 1)
    assert low == 2
    with pytest.raises(MalformedMessage, match="not ascending"):
        indices.load(bytes([3, 3]) + same[low:], 2, 1000)
    with pytest.raises(MalformedMessage, match="not below 1000"):
        indices.load(bytes([3, 255]) + indices.dump(np.array([3, 999]), 1000)[low:], 2, 1000)

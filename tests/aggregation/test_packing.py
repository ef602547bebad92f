"""Packing: sums of words are words of the sums."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.packing import Packing


@given(
    bits=st.sampled_from([32, 64]),
    clients=st.integers(1, 50),
    most=st.integers(1, 2**15),
    length=st.integers(1, 20),
    data=st.data(),
)
def test_unpacking_the_sum_of_packed_numbers_gives_their_sum_at_the_extremes_too(bits, clients, most, length, data):
    packing = Packing(bits, clients, most)
    seed = data.draw(st.integers(0, 1000))
    numbers = torch.randint(-most, most + 1, (clients, length), generator=torch.Generator().manual_seed(seed))
    numbers[:, data.draw(st.integers(0, length - 1))] = data.draw(st.sampled_from([-most, most]))
    words = packing.pack(numbers.double())
    assert words.shape == (clients, packing.words(length))
    total = words.sum(0)
    assert int(total.abs().max()) < 2 ** (bits - 1)
    assert torch.equal(packing.unpack(total, length), numbers.sum(0).double())


def test_it_survives_sums_modulo_the_word():
    packing = Packing(32, 9, 7)
    numbers = torch.full((9, 10), -7)
    wrapped = (packing.pack(numbers) % 2**32).sum(0) % 2**32
    signed = torch.where(wrapped >= 2**31, wrapped - 2**32, wrapped)
    assert torch.equal(packing.unpack(signed, 10), numbers.sum(0).double())


def test_a_word_holds_as_many_numbers_as_fit():
    """7 times 100 clients is 700: 10 bits and a sign."""
    assert Packing(32, 100, 7).width == 11
    assert [Packing(bits, 100, 7).each for bits in (32, 64)] == [2, 5]
    assert Packing(64, 100, 7).words(11) == 3

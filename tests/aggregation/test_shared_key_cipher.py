"""The encryption alone: sums of ciphertexts are exact for those with the key, and what is no ciphertext is refused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit import errors
from tacit.aggregation.shared_key.cipher import Adder, Keyring, joined
from tacit.aggregation.shared_key.parameters import DEGREE, Parameters


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([32, 64]), st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32))
def test_the_sum_of_ciphertexts_is_the_sum_of_the_numbers(bits: int, clients: int, length: int, seed: int) -> None:
    parameters = Parameters.fitting(bits, clients)
    most = parameters.largest
    vectors = np.random.default_rng(seed).choice([-most, -1, 0, 1, most, most // 3], (clients, length))
    mine = Keyring.made(parameters)
    other, adder = Keyring.of(parameters, mine.secrets()), Adder(parameters, length)
    for vector, ring in zip(vectors, itertools.cycle([mine, other])):
        adder.add(ring.encrypt(vector))
    assert np.array_equal(other.decrypt(adder.total(), length), vectors.sum(axis=0))


@pytest.mark.parametrize("bits", [32, 64])
def test_a_vector_of_several_ciphertexts_comes_back_in_order(bits: int) -> None:
    parameters, length = Parameters.fitting(bits, 3), 2 * DEGREE + 5
    ring, vector = Keyring.made(parameters), np.arange(length) - DEGREE
    ciphertexts = ring.encrypt(vector)
    assert len(ciphertexts) == parameters.ciphertexts(length) == 3 * bits // 32
    assert np.array_equal(ring.decrypt(ciphertexts, length), vector)


def test_as_many_ciphertexts_as_are_allowed_leave_the_sum_exact() -> None:
    parameters = Parameters.fitting(32, 2**15)
    ring, vector = Keyring.made(parameters), np.array([parameters.largest, -parameters.largest, 1])
    total = ring.encrypt(vector)
    for _ in range(15):
        adder = Adder(parameters, 3)
        adder.add(total)
        adder.add(total)
        total = adder.total()
    assert np.array_equal(ring.decrypt(total, 3), 2**15 * vector)


@given(st.integers(-(2**63), 2**63 - 1))
def test_two_moduli_give_every_word_of_64_bits(number: int) -> None:
    moduli = Parameters.fitting(64, 5).moduli
    residues = [np.array([number % t]) for t in moduli]
    assert joined(residues, moduli).tolist() == [number]


def test_moduli_are_primes_that_pack_a_number_into_each_slot_and_hold_the_sum() -> None:
    for bits in (32, 64):
        found = Parameters.fitting(bits, 100)
        assert all(t % (2 * DEGREE) == 1 and pow(2, t - 1, t) == 1 for t in found.moduli)
        assert np.prod([float(t) for t in found.moduli]) > 2**bits
        assert 2 * found.modulus_bits <= found.most_bits == 109  # of the standard's table for this degree


def test_a_sum_that_its_plaintext_modulus_does_not_hold_is_refused_with_the_missing_bits() -> None:
    (one,) = Parameters.fitting(32, 5).moduli
    with pytest.raises(errors.BitBudgetError, match="64 bits need 32 more bits"):
        Parameters(64, 5, (one,))
    with pytest.raises(errors.BitBudgetError, match="65536 ciphertexts needs 1 more bits"):
        Parameters.fitting(32, 2**16)


def test_a_number_with_which_the_sum_could_overflow_is_refused() -> None:
    parameters = Parameters.fitting(32, 5)
    ring = Keyring.made(parameters)
    for number in (parameters.largest + 1, -parameters.largest - 1):
        with pytest.raises(errors.OutOfRange, match="allow 429496729 at most"):
            ring.encrypt(np.array([0, number]))


def test_a_sum_beyond_its_word_is_noticed() -> None:
    three, ten = Parameters.fitting(32, 3), Parameters.fitting(32, 10)
    assert three.moduli == ten.moduli
    ring, adder = Keyring.made(ten), Adder(ten, 1)
    for _ in range(11):
        adder.add(ring.encrypt(np.array([ten.largest])))
    with pytest.raises(errors.BitBudgetError, match="beyond the range"):
        ring.decrypt(adder.total(), 1)


def test_without_the_key_a_ciphertext_says_nothing() -> None:
    parameters, vector = Parameters.fitting(32, 3), np.arange(50)
    ring = Keyring.made(parameters)
    found = ring.encrypt(vector)
    assert found != ring.encrypt(vector)
    with pytest.raises(errors.BitBudgetError):
        Keyring.made(parameters).decrypt(found, 50)


def test_ciphertexts_of_others_parameters_lengths_and_garbage_are_refused() -> None:
    parameters = Parameters.fitting(32, 3)
    ring, adder = Keyring.made(parameters), Adder(parameters, 5)
    good = ring.encrypt(np.arange(5))
    foreign = Keyring.made(Parameters.fitting(32, 1000)).encrypt(np.arange(5))
    for bad in ([], good * 2, foreign, [b""], [b"x" * 99], [good[0][:-1]], ring.encrypt(np.arange(4))):
        with pytest.raises(errors.MalformedMessage):
            adder.add(bad)
        with pytest.raises(errors.MalformedMessage):
            ring.decrypt(bad, 5)
    adder.add(good)
    assert np.array_equal(ring.decrypt(adder.total(), 5), np.arange(5))


def test_keys_of_other_parameters_and_garbage_are_refused() -> None:
    mine, other = Parameters.fitting(32, 3), Parameters.fitting(32, 1000)
    for bad in ([], [b""], [b"x" * 99], Keyring.made(other).secrets(), [b"x" * 2**18]):
        with pytest.raises(errors.MalformedMessage):
            Keyring.of(mine, bad)


def test_a_ciphertext_that_is_a_product_is_refused() -> None:
    import tenseal

    parameters = Parameters.fitting(32, 3)
    ring, adder = Keyring.made(parameters), Adder(parameters, 2)
    context = tenseal.context_from(ring.secrets()[0])
    context.auto_relin = False
    product = tenseal.bfv_vector_from(context, ring.encrypt(np.arange(2))[0])
    product.mul_(product)
    assert product.ciphertext()[0].size() == 3
    with pytest.raises(errors.MalformedMessage):
        adder.add([product.serialize()])

"""Enough shares rebuild a secret, too few say nothing of it, and bad ones are named."""

from __future__ import annotations

import os
from collections import Counter
from itertools import combinations, permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.secure.shamir import PRIME, SECRET, SHARE, combine, evaluate, split, weights
from tacit.errors import ShareVerifyError, UsageError

HOLDERS = st.lists(st.integers(1, 10**6), min_size=1, max_size=12, unique=True)


def interpolated(indices, values, prime):
    return sum(w * y for w, y in zip(weights(tuple(indices), prime), values, strict=True)) % prime


@given(st.data(), st.binary(min_size=SECRET, max_size=SECRET), HOLDERS)
def test_any_threshold_of_the_shares_rebuilds_the_secret(data, secret, holders):
    threshold = data.draw(st.integers(1, len(holders)))
    shares = dict(zip(holders, split(secret, threshold, holders, os.urandom), strict=True))
    chosen = data.draw(st.permutations(holders))[: data.draw(st.integers(threshold, len(holders)))]
    assert combine(chosen, [shares[i] for i in chosen], threshold) == secret


@pytest.mark.parametrize("secret", [bytes(SECRET), b"\xff" * SECRET])
def test_the_least_and_the_largest_secret_can_be_shared(secret):
    shares = split(secret, 2, [1, 2, 3], os.urandom)
    assert {len(share) for share in shares} == {SHARE}
    for pair in combinations(range(3), 2):
        assert combine([i + 1 for i in pair], [shares[i] for i in pair], 2) == secret


def test_one_share_less_is_uniform_whatever_the_secret():
    prime, threshold = 7, 3
    for first, second in permutations(range(1, prime), 2):
        for secret in range(prime):
            polynomials = product([secret], *[range(prime)] * (threshold - 1))
            seen = Counter(tuple(evaluate(polynomial, [first, second], prime)) for polynomial in polynomials)
            assert seen == Counter(product(range(prime), repeat=2))


def test_a_polynomial_worked_out_by_hand():
    # 11 + 3 x + 5 x^2 modulo 17; at 1, 3, 4 the weights are 12/6, 4/-2, 3/3
    assert evaluate([11, 3, 5], [1, 2, 3, 4, 5], 17) == [2, 3, 14, 1, 15]
    assert weights((1, 3, 4), 17) == (2, 15, 1)
    assert interpolated([1, 3, 4], [2, 14, 1], 17) == 11


@pytest.mark.parametrize("prime", [11, 13])
def test_every_polynomial_over_a_small_field_is_found_from_every_set_of_holders(prime):
    for holders in combinations(range(1, prime), 3):
        for polynomial in product(range(0, prime, 3), repeat=3):
            assert interpolated(holders, evaluate(polynomial, holders, prime), prime) == polynomial[0]


def test_the_prime_is_the_least_above_the_secrets():
    def probably_prime(n):
        odd, twos = n - 1, 0
        while odd % 2 == 0:
            odd, twos = odd // 2, twos + 1
        powers = ([pow(base, odd << i, n) for i in range(twos)] for base in (2, 3, 5, 7, 11, 13, 17, 19))
        return all(found[0] == 1 or n - 1 in found for found in powers)

    assert [n - 2**256 for n in range(2**256 + 1, PRIME + 1, 2) if probably_prime(n)] == [297]


def test_what_is_drawn_beyond_the_prime_is_passed_over_and_not_reduced():
    below, prime, above = (PRIME - 1).to_bytes(SHARE, "big"), PRIME.to_bytes(SHARE, "big"), b"\xff" * SHARE
    drawn = [above + prime, below + (5).to_bytes(SHARE, "big")]
    asked = []

    def draw(count):
        asked.append(count)
        return drawn.pop(0)

    shares = split(bytes(SECRET), 3, [1, 2, 3], draw)
    assert asked == [2 * SHARE, 2 * SHARE]
    assert [int.from_bytes(share, "big") for share in shares] == [(5 * x * x - x) % PRIME for x in (1, 2, 3)]


def test_every_splitting_is_another():
    once, again = (split(bytes(SECRET), 2, [1, 2], os.urandom) for _ in range(2))
    assert set(once).isdisjoint(again)


def test_a_changed_share_does_not_give_the_secret():
    secret, holders = os.urandom(SECRET), [1, 2, 3]
    shares = split(secret, 3, holders, os.urandom)
    for at in range(3):
        changed = list(shares)
        changed[at] = ((int.from_bytes(shares[at], "big") + 1) % PRIME).to_bytes(SHARE, "big")
        assert combine(holders, changed, 3) != secret


def test_shares_beyond_the_threshold_are_not_looked_at():
    secret = os.urandom(SECRET)
    shares = split(secret, 2, [4, 9, 2], os.urandom)
    assert combine([4, 9, 2], [*shares[:2], b"no share"], 2) == secret


def test_shares_of_no_secret_of_32_bytes_are_refused():
    # the constant 2^256 belongs to the field and is no secret
    with pytest.raises(ShareVerifyError, match="not of one secret"):
        combine([3], [(2**256).to_bytes(SHARE, "big")], 1)


@pytest.mark.parametrize(
    ("indices", "shares", "threshold", "said"),
    [
        ([0, 1], [bytes(SHARE)] * 2, 2, "holder 0: holders are counted from 1"),
        ([-1, 1], [bytes(SHARE)] * 2, 2, "holder -1"),
        ([PRIME, 1], [bytes(SHARE)] * 2, 2, "counted from 1"),
        ([True, 2], [bytes(SHARE)] * 2, 2, "holder True"),
        ([2, 2], [bytes(SHARE)] * 2, 2, "holder 2 is there twice"),
        ([1], [bytes(SHARE)], 2, "there are 1 shares and it takes 2"),
        ([1, 2], [bytes(SHARE)], 1, "2 holders and 1 shares"),
        ([1, 2], [bytes(SHARE), PRIME.to_bytes(SHARE, "big")], 2, "the share of holder 2 is no number below the prime"),
        ([1, 2], [bytes(SECRET), bytes(SHARE)], 2, "the share of holder 1"),
        ([1, 2], ["0" * SHARE, bytes(SHARE)], 2, "the share of holder 1"),
        ([1, 2], [bytes(SHARE)] * 2, 0, "threshold is 0"),
        ([1, 1], [bytes(SHARE), b""], 2, "2 problems"),
    ],
)
def test_shares_that_cannot_be_used_are_named(indices, shares, threshold, said):
    with pytest.raises(ShareVerifyError, match=said):
        combine(indices, shares, threshold)


@pytest.mark.parametrize(
    ("secret", "threshold", "indices", "said"),
    [
        (bytes(31), 1, [1], "the secret is not 32 bytes"),
        (bytes(33), 1, [1], "the secret is not 32 bytes"),
        (bytes(SECRET), 3, [1, 2], "threshold is 3 and there are 2 holders"),
        (bytes(SECRET), 0, [1, 2], "threshold is 0"),
        (bytes(SECRET), 1, [0, 2], "at 0 lies the secret"),
        (bytes(SECRET), 1, [2, 2], "holder 2 is there twice"),
        (b"", 0, [0], "3 problems"),
    ],
)
def test_what_cannot_be_shared_is_named_without_telling_the_secret(secret, threshold, indices, said):
    with pytest.raises(UsageError, match=said):
        split(secret, threshold, indices, os.urandom)

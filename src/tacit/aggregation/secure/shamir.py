"""Shamir's secret sharing modulo 2^256 + 297: any `threshold` shares rebuild a secret, fewer say nothing of it.

[Shamir79] doi:10.1145/359168.359176. The secret is a polynomial's value at 0, a share its value at the holder's index.
The prime is the least above 2^256, so every 32 bytes are a secret. Python's integers take a time that depends on their
values: this is no protection from somebody who can time the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from operator import mul
from typing import Any

from tacit.checks import is_count, is_whole
from tacit.errors import Problems, ShareVerifyError

PRIME = 2**256 + 297
SECRET = 32
"""Bytes of a secret."""
SHARE = 33
"""Bytes of a share, big-endian."""
TOP = 1
"""The bits that an element may have in the first of its 33 bytes."""

Draw = Callable[[int], bytes]
"""Gives so many random bytes that nobody can predict, as `os.urandom` does."""


def split(secret: bytes, threshold: int, indices: Sequence[int], draw: Draw) -> list[bytes]:
    """Shares of a secret, 33 bytes each, in the order of `indices`.

    Args:
        secret: 32 bytes.
        threshold: how many shares rebuild it.
        indices: of the holders, different and from 1: at 0 lies the secret.
        draw: where the polynomial comes from. Coefficients are read from it as 33 bytes each, big-endian, the upper
            seven bits cleared; what is not below the prime is passed over. The first belongs to the first power.

    Raises:
        UsageError: an argument is not of this form.
    """
    with Problems("the secret cannot be shared") as problems:
        problems.check(_is_bytes(secret, SECRET), f"the secret is not {SECRET} bytes: hash it to this length")
        problems.extend(_misplaced(indices))
        if problems.check(is_count(threshold), f"threshold is {threshold!r}: give a whole number from 1"):
            few = f"threshold is {threshold} and there are {len(indices)} holders: nobody could rebuild it"
            problems.check(threshold <= len(indices), few)
    coefficients = [int.from_bytes(secret, "big"), *_elements(threshold - 1, draw)]
    return [value.to_bytes(SHARE, "big") for value in evaluate(coefficients, indices)]


def combine(indices: Sequence[int], shares: Sequence[bytes], threshold: int) -> bytes:
    """The secret, 32 bytes, from the first `threshold` of the shares. The others are not looked at.

    That shares are of another secret shows in the secret only: compare it with what its owner committed to.

    Args:
        indices: of the holders.
        shares: one for each index, 33 bytes.
        threshold: with which the secret was split.

    Raises:
        ShareVerifyError: the shares are too few, not well-formed, or not of one secret of 32 bytes.
    """
    with Problems("the secret cannot be rebuilt", ShareVerifyError) as problems:
        problems.check(
            len(indices) == len(shares), f"{len(indices)} holders and {len(shares)} shares: give one for each"
        )
        if problems.check(is_count(threshold), f"threshold is {threshold!r}: give a whole number from 1"):
            few = f"there are {len(shares)} shares and it takes {threshold}: wait for more holders"
            problems.check(len(shares) >= threshold, few)
            problems.extend(_misplaced(indices[:threshold]))
            problems.extend(_unreadable(indices[:threshold], shares[:threshold]))
    used = tuple(int(index) for index in indices[:threshold])
    values = [int.from_bytes(share, "big") for share in shares[:threshold]]
    secret: int = sum(map(mul, weights(used), values)) % PRIME
    if secret >> 8 * SECRET:
        raise ShareVerifyError(
            f"the {threshold} shares, of holders {used[0]} to {used[-1]}, are not of one secret: take those of others"
        )
    return secret.to_bytes(SECRET, "big")


def evaluate(coefficients: Sequence[int], indices: Sequence[int], prime: int = PRIME) -> list[int]:
    """Values of a polynomial modulo `prime`.

    Args:
        coefficients: (t,), the constant first.
        indices: where, (n,).
        prime: the field.
    """
    falling, values = coefficients[::-1], []
    for index in indices:
        x, value = int(index), 0
        for coefficient in falling:  # indices are small: one reduction at the end costs less than one at every step
            value = value * x + coefficient
        values.append(value % prime)
    return values


@lru_cache(maxsize=1024)
def weights(indices: tuple[int, ...], prime: int = PRIME) -> tuple[int, ...]:
    """Lagrange's weights w_i at 0: a polynomial of a degree below `len(indices)` has the value `sum w_i f(i)` there.

    Args:
        indices: different modulo `prime`, none of them 0.
        prime: the field.
    """
    least = [i * prod([j - i for j in indices if j != i]) for i in indices]
    product = prod(indices)
    return tuple(product * inverse % prime for inverse in _inverses(least, prime))


def _inverses(values: Sequence[int], prime: int) -> list[int]:
    """Inverses modulo `prime`, by one inversion of the product of all."""
    running = [1]
    for value in values:
        running.append(running[-1] * value % prime)
    inverse, found = pow(running.pop(), -1, prime), []
    for value, before in zip(reversed(values), reversed(running), strict=True):
        found.append(inverse * before % prime)
        inverse = inverse * value % prime
    return found[::-1]


def _elements(count: int, draw: Draw) -> list[int]:
    """Uniform elements of the field: what is too large is passed over, since reducing it would favour small ones."""
    found: list[int] = []
    while len(found) < count:
        data = draw((count - len(found)) * SHARE)
        drawn = (data[at] & TOP for at in range(0, len(data), SHARE))
        rest = (data[at + 1 : at + SHARE] for at in range(0, len(data), SHARE))
        candidates = ((top << 8 * SECRET) + int.from_bytes(low, "big") for top, low in zip(drawn, rest, strict=True))
        found.extend(value for value in candidates if value < PRIME)
    return found


def _is_bytes(value: Any, size: int) -> bool:
    """Whether `value` is so many bytes."""
    return isinstance(value, bytes) and len(value) == size


def _unreadable(indices: Sequence[int], shares: Sequence[bytes]) -> list[str]:
    """What is wrong with the shares, one by one."""
    pairs = zip(indices, shares, strict=False)
    wrong = [i for i, share in pairs if not _is_bytes(share, SHARE) or int.from_bytes(share, "big") >= PRIME]
    return [
        f"the share of holder {i} is no number below the prime, in {SHARE} bytes: ask another holder" for i in wrong
    ]


def _misplaced(indices: Sequence[int]) -> list[str]:
    """What is wrong with the indices of holders."""
    outside = [index for index in indices if not is_whole(index, 1) or index >= PRIME]
    if outside:
        return [f"holder {outside[0]!r}: holders are counted from 1, for at 0 lies the secret"]
    twice = [index for index, count in Counter(indices).items() if count > 1]
    return [f"holder {index} is there twice: a second share of one holder tells nothing new" for index in twice]

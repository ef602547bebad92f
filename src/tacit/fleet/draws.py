"""Draws that belong to one client: each depends on the seed, the purpose, the client and the round, and on nobody else.

A generator of NumPy per client would cost 20 microseconds each. Here the key of a purpose is expanded by
Philox4x32-10 ([Salmon11] "Parallel random numbers: as easy as 1, 2, 3", SC 2011), with the client and the round as its
counter, for all clients at once: the cost is that of the cohort, whatever the size of the fleet. For simulation only.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit import keys

Word: TypeAlias = NDArray[np.uint64]
Float: TypeAlias = NDArray[np.float64]

ROUNDS = 10
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def uniform_pairs(seed: int, purpose: str, clients: ArrayLike, round: ArrayLike) -> tuple[Float, Float]:
    """Two independent numbers in (0, 1) for every client.

    Args:
        seed: of the run.
        purpose: what is drawn; other purposes give independent numbers.
        clients: (K,) integers from 0.
        round: an integer from 0, or (K,) of them.

    Returns:
        Two (K,) float64, multiples of 2^-52 moved by half a step: never 0 and never 1.
    """
    who, when = np.broadcast_arrays(np.asarray(clients, np.uint64), np.asarray(round, np.uint64))
    a, b, c, d = philox(keys.digest(seed, "fleet", purpose), (who & LOW, who >> HALF, when & LOW, when >> HALF))
    return _unit(a, b), _unit(c, d)


def normal_pairs(seed: int, purpose: str, clients: ArrayLike, round: ArrayLike) -> tuple[Float, Float]:
    """Two independent standard normal numbers for every client, by the method of Box and Muller."""
    first, second = uniform_pairs(seed, purpose, clients, round)
    radius, angle = np.sqrt(-2.0 * np.log(first)), 2.0 * np.pi * second
    return radius * np.cos(angle), radius * np.sin(angle)


def philox(key: int, counter: tuple[Word, Word, Word, Word]) -> tuple[Word, Word, Word, Word]:
    """Philox4x32-10 of every counter.

    Args:
        key: its low 64 bits are used.
        counter: four (K,) uint64 below 2^32.

    Returns:
        Four (K,) uint64 below 2^32.
    """
    a, b, c, d = counter
    left, right = np.uint64(key & 0xFFFFFFFF), np.uint64(key >> 32 & 0xFFFFFFFF)
    for _ in range(ROUNDS):
        first, second = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = (second >> HALF) ^ b ^ left, second & LOW, (first >> HALF) ^ d ^ right, first & LOW
        left, right = (left + WEYL[0]) & LOW, (right + WEYL[1]) & LOW
    return a, b, c, d


def _unit(high: Word, low: Word) -> Float:
    # Of 53 bits, the largest number and a half would be rounded up to 1.
    bits = (high << np.uint64(20)) ^ (low >> np.uint64(12))
    return (bits.astype(np.float64) + 0.5) * 2.0**-52

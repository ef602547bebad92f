"""Gaussian noise that nobody can predict: AES in counter mode, keyed by the operating system.

Noise is drawn in double precision, rounded to the grid of the sum and added to it as integers. The sum lies on that
grid already, so the result is the rounding of sum plus ideal noise: nothing but post-processing of the Gaussian
mechanism, and attacks on floating-point noise ([Mironov12] doi:10.1145/2382196.2382264) find nothing.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEY = 32
"""Bytes of a key."""
CHUNK = 2**20
"""Draws made at a time: 8 MiB of key stream."""


class NoiseSource:
    """Independent normal draws, of which each is made once.

    Args:
        insecure_seed: for tests: whoever knows it can subtract the noise. The run must say that it protects nothing.
    """

    def __init__(self, insecure_seed: int | None = None) -> None:
        self.secure = insecure_seed is None
        self._secret = os.urandom(KEY) if insecure_seed is None else _of_seed(insecure_seed)
        self._drawn: set[tuple[str, int]] = set()

    def seed(self) -> int:
        """A secret whole number, for coins of the selection: they must be as hard to predict as the noise."""
        return int.from_bytes(self._key("selection", 0), "little")

    def normal(self, purpose: str, round: int, count: int) -> NDArray[np.float64]:
        """`count` standard normal draws, (count,).

        Args:
            purpose: what they are for; other purposes give independent draws.
            round: from 0.
            count: how many.

        Raises:
            ValueError: the draws of this purpose and round were made before.
        """
        if (purpose, round) in self._drawn:
            raise ValueError(f"the noise of round {round} for {purpose} was drawn before")
        self._drawn.add((purpose, round))
        return normal(self._key(purpose, round), count)

    def _key(self, purpose: str, round: int) -> bytes:
        return hashlib.blake2b(f"{purpose}\x1f{round}".encode(), key=self._secret, digest_size=KEY).digest()


def normal(key: bytes, count: int) -> NDArray[np.float64]:
    """The first `count` standard normal draws of a key, (count,), by inversion of 64 random bits each.

    One bit is the sign, 63 are the place in the tail: magnitudes reach 9.1, beyond which a true normal lies with
    probability 1e-19.
    """
    from scipy.special import ndtri

    stream, draws = _stream(key), np.empty(count)
    for start in range(0, count, CHUNK):
        part = draws[start : start + CHUNK]
        bits = np.frombuffer(stream.update(bytes(8 * part.size)), dtype="<u8")
        np.multiply((bits >> np.uint64(1)).astype(np.float64) + 0.5, 2.0**-64, out=part)
        ndtri(part, out=part)  # of at most 1/2: negative
        np.copysign(part, 0.5 - (bits & np.uint64(1)).astype(np.float64), out=part)
    return draws


def _stream(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()


def _of_seed(seed: int) -> bytes:
    return hashlib.blake2b(f"insecure\x1f{seed}".encode(), digest_size=KEY).digest()

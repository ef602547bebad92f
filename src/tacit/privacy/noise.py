"""Gaussian noise that nobody can predict: AES in counter mode, keyed by the operating system.

Noise is drawn in double precision, rounded to the grid of the sum and added to it as integers. The sum lies on that
grid already, so the result is the rounding of sum plus ideal noise: nothing but post-processing of the Gaussian
mechanism, and attacks on floating-point noise ([Mironov12] doi:10.1145/2382196.2382264) find nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tacit.errors import StorageError
from tacit.privacy.skellam import skellam
from tacit.secret_draws import KEY, SecretDraws, key_of


class NoiseSource:
    """Independent normal draws, of which each is made once.

    Args:
        insecure_seed: for tests: whoever knows it can subtract the noise. The run must say that it protects nothing.
        kept: file of the secret, made where it is not there: for noise that combines draws of earlier rounds, which a
            run that goes on must be able to repeat. None keeps none.
    """

    def __init__(self, insecure_seed: int | None = None, kept: Path | None = None) -> None:
        self.secure = insecure_seed is None
        self._secret = os.urandom(KEY) if insecure_seed is None else _of_seed(insecure_seed)
        if kept is not None and self.secure:
            self._secret = _kept(kept, self._secret)
        self._drawn: set[tuple[str, int]] = set()

    def seed(self, purpose: str = "selection") -> int:
        """A secret whole number, for coins of the selection, say: they must be as hard to predict as the noise."""
        return int.from_bytes(self._key(purpose, 0), "little")

    def normal(
        self, purpose: str, round: int, count: int, coefficients: Sequence[float] = (1.0,)
    ) -> NDArray[np.float64]:
        """`count` standard normal draws, (count,); or `sum_j coefficients[j] Z_(round - j)` of those of rounds so far.

        Args:
            purpose: what they are for; other purposes give independent draws.
            round: from 0.
            count: how many.
            coefficients: of the draws of this round and of those before it.

        Raises:
            ValueError: the draws of this purpose and round were made before.
        """
        if (purpose, round) in self._drawn:
            raise ValueError(f"the noise of round {round} for {purpose} was drawn before")
        self._drawn.add((purpose, round))
        draws = np.zeros(count)
        for back in range(min(len(coefficients), round + 1)):
            draws += coefficients[back] * SecretDraws(self._key(purpose, round - back)).normal(count)
        return draws

    def laplace(self, purpose: str, round: int, count: int, terms: int) -> NDArray[np.float64]:
        """`count` sums of `terms` draws from Laplace's distribution of scale 1, (count,)."""
        if (purpose, round) in self._drawn:
            raise ValueError(f"the noise of round {round} for {purpose} was drawn before")
        self._drawn.add((purpose, round))
        source, draws = SecretDraws(self._key(purpose, round)), np.zeros(count)
        for _ in range(terms):
            words = source.words(count)
            size = -np.log(((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52)
            draws += np.where(words & np.uint64(1), size, -size)
        return draws

    def skellam(self, purpose: str, round: int, count: int, variance: float) -> NDArray[np.int64]:
        """`count` draws of Skellam noise with this variance, (count,)."""
        if (purpose, round) in self._drawn:
            raise ValueError(f"the noise of round {round} for {purpose} was drawn before")
        self._drawn.add((purpose, round))
        return skellam(self._key(purpose, round), variance, count)

    def _key(self, purpose: str, round: int) -> bytes:
        return key_of(self._secret, purpose, round)


def _kept(place: Path, fresh: bytes) -> bytes:
    """The secret in a file that only its owner can read; `fresh`, written there first, where there is none.

    Raises:
        StorageError: the file cannot be read or written, or holds no secret.
    """
    try:
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(fresh)
                file.flush()
                os.fsync(file.fileno())
        found = place.read_bytes()
    except OSError as error:
        raise StorageError(f"the secret of the noise, {place}, cannot be kept: {error}") from error
    if len(found) != KEY:
        raise StorageError(f"{place} holds no secret of a run's noise: begin the run anew, in another folder")
    return found


def _of_seed(seed: int) -> bytes:
    return hashlib.blake2b(f"insecure\x1f{seed}".encode(), digest_size=KEY).digest()

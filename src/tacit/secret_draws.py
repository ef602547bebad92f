"""Draws that nobody can predict: uniform and normal, from AES in counter mode.

Noise that protects, and the coins of a sampling that is to protect, come from here and nowhere else: who can predict
them can subtract them. For simulation and training there are the generators of `keys`.

Normal draws are made by Marsaglia's ziggurat ([Marsaglia00] doi:10.18637/jss.v005.i08) in double precision: 256 layers,
53 bits for the place in a layer and other bits for the layer and the sign. The tail is exact, so magnitudes are bounded
only by those 53 bits.
"""

from __future__ import annotations

import hashlib
import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tacit.jit import Real, jit_cached

KEY = 32
"""Bytes of a key."""
CHUNK = 2**17
"""Words of key stream made at a time: they fit into a core's cache."""
SPARE = 128
"""Words kept for the draw that goes on, when a chunk comes to its end: more than it takes, but with probability
1e-30."""
LAYERS, TAIL = 256, 3.6541528853610088
"""How many layers, and where the tail begins: for these, every layer and the tail with the last have one area."""

Words = NDArray[np.uint64]


class SecretDraws:
    """One stream of draws. The same key gives the same ones, in the same order of calls.

    Args:
        key: 32 bytes. It must be as hard to guess as the draws.
    """

    def __init__(self, key: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        self._stream: Any = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
        self._left: Words = np.empty(0, np.uint64)

    def words(self, count: int) -> Words:
        """`count` words of 64 random bits, (count,)."""
        return np.frombuffer(self._stream.update(bytes(8 * count)), dtype="<u8").astype(np.uint64, copy=False)

    def uniform(self, count: int) -> NDArray[np.float64]:
        """`count` draws from [0, 1), multiples of 2^-53, (count,)."""
        return (self.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def normal(self, count: int) -> NDArray[np.float64]:
        """`count` standard normal draws, (count,). However many are taken at a time, they are the same."""
        draws, done = np.empty(count), 0
        layers = _layers()
        while done < count:
            if self._left.size <= SPARE:
                self._left = np.concatenate([self._left, self.words(CHUNK)])
            made, used = _compiled(self._left, SPARE, draws[done:], *layers)
            self._left, done = self._left[used:], done + int(made)
        return draws


def key_of(secret: bytes, *parts: str | int) -> bytes:
    """The key of one purpose, 32 bytes: those of other parts tell nothing of it.

    Args:
        secret: at most 64 bytes.
        parts: of which the purpose consists; "ab", "c" is another than "a", "bc".
    """
    text = "".join(f"{type(part).__name__}:{len(str(part))}:{part}\x1f" for part in parts)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=secret, digest_size=KEY).digest()


@cache
def _layers() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Right ends of the layers, (LAYERS + 1,), and the density there without its factor, `exp(-x^2 / 2)`."""
    area = TAIL * math.exp(-(TAIL**2) / 2) + math.sqrt(math.pi / 2) * math.erfc(TAIL / math.sqrt(2))
    ends = [area / math.exp(-(TAIL**2) / 2), TAIL]
    while len(ends) < LAYERS:
        ends.append(math.sqrt(-2 * math.log(area / ends[-1] + math.exp(-(ends[-1] ** 2) / 2))))
    x = np.array([*ends, 0.0])
    return x, np.exp(-(x**2) / 2)


def _fill(words: Words, spare: int, draws: Real, ends: Real, density: Real) -> Any:
    """Fills `draws` as far as the words reach; returns how many were made, and how many words they took."""
    at, made, last = 0, 0, words.size - spare
    while made < draws.size and at < last:
        word = words[at]
        at += 1
        layer = np.int64(word & np.uint64(255))
        x = np.float64(np.int64(word >> np.uint64(11))) * 2.0**-53 * ends[layer]
        while x >= ends[layer + 1]:  # outside of what lies wholly below the density
            one = np.float64(np.int64(words[at] >> np.uint64(11))) * 2.0**-53
            at += 1
            if layer:
                if density[layer] + one * (density[layer + 1] - density[layer]) < math.exp(-0.5 * x * x):
                    break
                x = -1.0
                break
            two = np.float64(np.int64(words[at] >> np.uint64(11))) * 2.0**-53
            at += 1
            over = -math.log(one + 2.0**-54) / ends[1]
            if -2.0 * math.log(two + 2.0**-54) > over * over:
                x = ends[1] + over
                break
        if x >= 0.0:
            draws[made] = x if word & np.uint64(256) else -x
            made += 1
    return made, at


_compiled = jit_cached(_fill)

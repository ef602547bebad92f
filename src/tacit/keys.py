"""Randomness is a value: every draw comes from a key made of (seed, round, client, purpose).

Two draws with different keys are independent; the same key always gives the same draw, whichever worker, block or
machine makes it. These generators are for simulation and training only. Privacy noise and masks never come from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Part = str | int


def digest(seed: int, *parts: Part) -> int:
    """The 128-bit key of (`seed`, `parts`).

    Other parts give another key: an integer and a string that print alike, or one string and two that join to it. An
    integer of NumPy and one of Python that are equal give the same.
    """
    text = "".join(_named(part) for part in (seed, *parts))
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest(), "little")


def _named(part: Part) -> str:
    return f"str:{len(part)}:{part}\x1f" if isinstance(part, str) else f"int:{int(part)}\x1f"


def digests(seed: int, *parts: Part, each: Sequence[str]) -> NDArray[np.uint64]:
    """The first 64 bits of `digest(seed, *parts, one)` for every `one` of `each`, (K,)."""
    prefix = blake2b("".join(_named(p) for p in (seed, *parts)).encode("utf-8", "surrogatepass"), digest_size=16)
    found = bytearray()
    for one in each:
        state = prefix.copy()
        state.update(_named(one).encode("utf-8", "surrogatepass"))
        found += state.digest()[:8]
    return np.frombuffer(bytes(found), dtype="<u8").astype(np.uint64)


def generator(seed: int, *parts: Part) -> np.random.Generator:
    """A NumPy generator for one purpose: `generator(seed, "cohort", 3)`."""
    return np.random.Generator(np.random.Philox(key=digest(seed, *parts)))


def torch_seeds(seed: int, *parts: Part, each: Sequence[str]) -> tuple[int, ...]:
    """`torch_seed(seed, *parts, one)` for every `one` of `each`."""
    return tuple((digests(seed, *parts, each=each) & np.uint64(2**63 - 1)).tolist())


def torch_seed(seed: int, *parts: Part) -> int:
    """A 63-bit seed for `torch.manual_seed`, for models that draw from torch's global generator."""
    return digest(seed, *parts) & (2**63 - 1)

"""A round's public key: it goes down with the model, so that all clients and the server draw the same numbers.

Each round's key is the digest of the one before. It travels as numbers of 16 bits, which single precision holds
exactly.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

DIGITS = 8
"""How many numbers of 16 bits a key has."""


def first(purpose: str, seed: int) -> Tensor:
    """(8,) float64: the key of the first round."""
    return _digits(hashlib.sha256(f"tacit/{purpose}/{seed}".encode()).digest())


def following(key: Tensor) -> Tensor:
    """(8,) float64: the key of the round after that with this one."""
    return _digits(hashlib.sha256(octets(key)).digest())


def octets(key: Tensor) -> bytes:
    """The 32 bytes that a key (8,), of any type of numbers, stands for."""
    return b"".join(int(digit).to_bytes(2, "big") for digit in key.tolist()).ljust(32, b"\0")


def _digits(key: bytes) -> Tensor:
    return torch.tensor([int.from_bytes(key[2 * i : 2 * i + 2], "big") for i in range(DIGITS)], dtype=torch.float64)

"""Messages: what stands before an encoded report, and numbers as they are, little-endian."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tacit.errors import MalformedMessage

VERSION = 1
HEADER = 4
"""Bytes before a report: version, kind, bits of a number, and zero."""


def head(kind: int, bits: int = 0) -> bytes:
    """The header."""
    return bytes([VERSION, kind, bits, 0])


def require(data: bytes, kind: int, bits: int, size: int) -> None:
    """Looks at the header and the size before anything is allocated.

    Raises:
        MalformedMessage: it is no such message.
    """
    if len(data) != size:
        raise MalformedMessage(f"an encoded report of {len(data)} bytes, where one has {size}")
    if size and data[:HEADER] != head(kind, bits):
        raise MalformedMessage(f"an encoded report begins with {data[:HEADER].hex()}, not {head(kind, bits).hex()}")


def numbers(values: Tensor) -> bytes:
    """Numbers (n,) as they are."""
    found = values.numpy()
    return found.astype(found.dtype.newbyteorder("<"), copy=False).tobytes()


def read(data: bytes, dtype: torch.dtype) -> Tensor:
    """The numbers of which these are the bytes, a copy."""
    native = torch.empty(0, dtype=dtype).numpy().dtype
    return torch.from_numpy(np.frombuffer(data, native.newbyteorder("<")).astype(native))

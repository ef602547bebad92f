"""The state of any object as a value that can be compared later, with that of a copy as well."""

from __future__ import annotations

import random
from collections import deque
from contextlib import suppress
from hashlib import blake2b
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, np.generic)
NAMED = (type, ModuleType, BuiltinFunctionType)
DEEPEST = 6


def frozen(value: Any, deep: int = 0) -> Any:
    """Plain values by their text, arrays and generators by their bits, containers and objects part by part.

    What lies deeper than `DEEPEST` levels, or has no parts, stands as its class.
    """
    if isinstance(value, PLAIN):
        return repr(value)  # by its text NaN equals itself
    if isinstance(value, Tensor):
        return "tensor", tuple(value.shape), str(value.dtype), _bits(value)
    if isinstance(value, np.ndarray):
        return "array", value.shape, str(value.dtype), blake2b(np.ascontiguousarray(value).tobytes()).digest()
    if deep == DEEPEST or isinstance(value, NAMED):
        return getattr(value, "__qualname__", type(value).__qualname__)
    if isinstance(value, list | tuple | deque):
        return tuple(frozen(v, deep + 1) for v in value)
    if isinstance(value, set | frozenset):
        return frozenset(frozen(v, deep + 1) for v in value)
    if isinstance(value, dict):
        return tuple((frozen(k, deep + 1), frozen(v, deep + 1)) for k, v in value.items())
    return _of_object(value, deep + 1)


def _of_object(value: Any, deep: int) -> Any:
    if isinstance(value, torch.Generator):
        return frozen(value.get_state())
    if isinstance(value, np.random.Generator):
        return frozen(value.bit_generator.state, deep)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, MethodType):
        return value.__name__, frozen(value.__self__, deep)
    if isinstance(value, FunctionType):
        return value.__qualname__, frozen(closed_over(value), deep), frozen(vars(value), deep)
    if isinstance(value, nn.Module):
        parts = [(n, frozen(t)) for n, t in [*value.named_parameters(), *value.named_buffers()]]
        others = {n: v for n, v in vars(value).items() if not n.startswith("_") and n != "training"}
        return type(value).__qualname__, tuple(parts), frozen(others, deep)
    return type(value).__qualname__, frozen(getattr(value, "__dict__", None), deep)


def closed_over(function: FunctionType) -> list[Any]:
    """The values that a function closes over, those that are there yet."""
    found = []
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # an empty cell
            found.append(cell.cell_contents)
    return found


def _bits(tensor: Tensor) -> bytes:
    """A digest of the bits: by them NaN equals itself."""
    plain = tensor.detach().cpu()
    if plain.is_sparse or plain.is_quantized or plain.layout != torch.strided:
        return repr(plain).encode()
    return blake2b(plain.contiguous().reshape(-1).view(torch.uint8).numpy().data).digest()

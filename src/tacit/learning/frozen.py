"""The state of any object as a value that can be compared later, with that of a copy as well."""

from __future__ import annotations

import random
import warnings
from argparse import Namespace
from collections import deque
from hashlib import blake2b
from math import prod
from types import BuiltinFunctionType, FunctionType, GeneratorType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tacit.learning.reach import fields_of, is_users, settings_of

PLAIN = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, np.generic)
NAMED = (type, ModuleType, BuiltinFunctionType)
DEEPEST = 6
BYTES = 2**25
"""Bytes of arrays that are looked at in full; of those beyond, `SAMPLED` values."""
SAMPLED = 4096
PARTS = 20_000
"""Parts of containers and objects that are looked at."""


def frozen(value: Any) -> Any:
    """Plain values by their text, arrays and generators by their bits, containers and objects part by part.

    What lies deeper than `DEEPEST` levels, or has no parts, stands as its class.
    """
    return Freezer().of(value)


class Freezer:
    """Freezes values until it has seen enough of them: `BYTES` and `PARTS`, of all values together.

    Args:
        foreign: whether to look into objects of installed packages as well.
    """

    def __init__(self, *, foreign: bool = True) -> None:
        self.foreign, self.bytes, self.parts = foreign, BYTES, PARTS

    def of(self, value: Any, deep: int = 0) -> Any:
        """What `frozen` says."""
        if isinstance(value, str | bytes) and len(value) > SAMPLED:
            return len(value), hash(value)  # which Python works out once
        if isinstance(value, PLAIN):
            return repr(value)  # by its text NaN equals itself
        if isinstance(value, Tensor):
            return "tensor", tuple(value.shape), str(value.dtype), self._tensor(value)
        if isinstance(value, np.ndarray):
            return "array", value.shape, str(value.dtype), self._array(value)
        if deep == DEEPEST or isinstance(value, NAMED):
            return getattr(value, "__qualname__", type(value).__qualname__)
        if isinstance(value, list | tuple | deque | set | frozenset | dict):
            return self._container(value, deep + 1)
        return self._object(value, deep + 1)

    def _container(self, value: Any, deep: int) -> Any:
        self.parts -= len(value)
        if self.parts < 0:
            self.parts += len(value)
            return type(value).__qualname__, len(value)
        if isinstance(value, dict):
            return tuple((self.of(k, deep), self.of(v, deep)) for k, v in value.items())
        return (frozenset if isinstance(value, set | frozenset) else tuple)(self.of(v, deep) for v in value)

    def _object(self, value: Any, deep: int) -> Any:
        if isinstance(value, torch.Generator):
            return self.of(value.get_state())
        if isinstance(value, np.random.Generator | np.random.RandomState):
            state = value.bit_generator.state if isinstance(value, np.random.Generator) else value.get_state()
            return self.of(state, deep)
        if isinstance(value, random.Random):
            return value.getstate()
        if isinstance(value, MethodType):
            return value.__name__, self.of(value.__self__, deep)
        if isinstance(value, FunctionType):
            return value.__qualname__, self.of(settings_of(value), deep), self.of(vars(value), deep)
        if isinstance(value, GeneratorType):
            frame = value.gi_frame
            return frame and (frame.f_lasti, self.of(dict(frame.f_locals), deep))
        if isinstance(value, nn.Module):
            parts = [(n, self.of(t)) for n, t in [*value.named_parameters(), *value.named_buffers()]]
            others = {n: v for n, v in vars(value).items() if not n.startswith("_") and n != "training"}
            return type(value).__qualname__, tuple(parts), self.of(others, deep)
        if hasattr(value, "__next__") and type(value).__module__ in ("builtins", "itertools", "_collections"):
            return type(value).__qualname__, self.of(_iterator(value), deep)
        if self.foreign or is_users(type(value)) or isinstance(value, SimpleNamespace | Namespace):
            return type(value).__qualname__, self.of(fields_of(value), deep)
        return type(value).__qualname__

    def _tensor(self, tensor: Tensor) -> Any:
        """A digest of the bits: by them NaN equals itself. Of a large one a sample, and how often it was written."""
        plain = tensor.detach()
        if plain.is_sparse or plain.is_quantized or plain.layout != torch.strided:
            return repr(plain.cpu())
        version = None
        self.bytes -= plain.nbytes
        if self.bytes < 0:
            self.bytes += plain.nbytes
            version = None if tensor.is_inference() else tensor._version
            plain = torch.take(plain, torch.linspace(0, plain.numel() - 1, SAMPLED, dtype=torch.float64).long())
        bits = plain.cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        return blake2b(bits.data).digest(), version

    def _array(self, values: np.ndarray[Any, Any]) -> bytes:
        self.bytes -= values.nbytes
        if self.bytes < 0:
            self.bytes += values.nbytes
            values = values.flat[np.linspace(0, prod(values.shape) - 1, SAMPLED).astype(np.int64)]
        return blake2b(np.ascontiguousarray(values).tobytes()).digest()


def _iterator(value: Any) -> Any:
    """Where one of Python's own iterators stands, as far as it says so without being moved."""
    if type(value).__qualname__ in ("count", "repeat"):
        return repr(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return value.__reduce__()[1:]
        except TypeError:  # this Python does not tell
            return None

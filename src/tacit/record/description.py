"""What an object is, as text that is the same in every process: by this a resumed run knows that it is the same run.

Numbers and text stand for themselves, arrays and code for a digest, other objects for their class and fields. No
address ever gets in.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import blake2b
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.learning.frozen import closed_over

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range, PurePath, np.generic)
TORCH = (torch.dtype, torch.device, torch.Size, torch.memory_format)
VALUES = (*PLAIN, *TORCH, Enum, Tensor, np.ndarray, nn.Module)
LIBRARIES = ("torch", "tacit", "numpy", "builtins", "math", "operator")
"""Functions of these are known by name; what a user wrote, by its code."""
DEEPEST = 12
ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def description(value: Any, deep: int = 0) -> str:
    """`value` as text that depends on what it is and not on where it lies.

    Raises:
        UsageError: it is, or holds, something that has no such text; the message says what to define.
    """
    if deep > DEEPEST:
        raise UsageError(f"{type(value).__name__} has more than {DEEPEST} levels: give its class a __repr__")

    def inner(part: Any) -> str:
        return description(part, deep + 1)

    if isinstance(value, (Enum, *PLAIN, *TORCH)):
        return repr(value)
    if isinstance(value, Tensor | np.ndarray):
        return array_digest(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{inner(k)}: {inner(v)}" for k, v in value.items()) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(inner, value))) + "}"
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return ("[{}]" if isinstance(value, list) else "({})").format(", ".join(map(inner, value)))
    if isinstance(value, nn.Module):
        state = [f"{n}: {array_digest(t)}" for n, t in value.state_dict().items()]
        return "; ".join([*parts_of(value), *state])
    if isinstance(value, type):
        return value.__qualname__
    if callable(value) and (text := _of_function(value, inner)):
        return text
    return _of_object(value, inner)


def _of_function(value: Any, inner: Callable[[Any], str]) -> str | None:
    """A function, a method or a partial one; None for objects that merely can be called."""
    if isinstance(value, functools.partial):
        keywords = dict(sorted(value.keywords.items()))
        return f"partial({inner(value.func)}, {inner(value.args)}, {inner(keywords)})"
    if isinstance(value, MethodType):
        return f"{inner(value.__self__)}.{value.__name__}"
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
    if isinstance(value, BuiltinFunctionType):
        return name
    if not isinstance(value, FunctionType):
        return inner(value.__wrapped__) if hasattr(value, "__wrapped__") else None
    if not _is_users(value):
        return f"{module}.{name}"
    settings = ", ".join(["", *map(inner, _settings(value)), *_reached(value, inner)])
    return f"{name} (code {_of_code(value.__code__)}{settings})"


def _reached(function: FunctionType, inner: Callable[[Any], str]) -> list[str]:
    """The global values that a function reads, and the code of the user's own functions that it calls."""
    found = {n: function.__globals__[n] for n in function.__code__.co_names if n in function.__globals__}
    values = [f"{n}={inner(v)}" for n, v in found.items() if isinstance(v, (*PLAIN, *TORCH, Enum, Tensor, np.ndarray))]
    calls = [f"{n}={_of_code(v.__code__)}" for n, v in found.items() if isinstance(v, FunctionType) and _is_users(v)]
    return [*values, *calls]


def _is_users(thing: Any) -> bool:
    return (getattr(thing, "__module__", None) or "").partition(".")[0] not in LIBRARIES


def _settings(function: FunctionType) -> list[Any]:
    """What a function's result depends on besides its code: its defaults, and the values that it closes over.

    A list or an object that it closes over may have changed since it began, so those say nothing.
    """
    values = [c for c in closed_over(function) if isinstance(c, (*VALUES, FunctionType)) and c is not function]
    return [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).items(), *values]


def _of_code(code: CodeType) -> str:
    """A digest of what a function does: its instructions, the names that it uses, and its constants."""
    digest = blake2b(code.co_code, digest_size=8)
    digest.update(repr(code.co_names).encode())
    for constant in code.co_consts:
        text = _of_code(constant) if isinstance(constant, CodeType) else description(constant)
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _of_object(value: Any, inner: Callable[[Any], str]) -> str:
    """Class and fields of an object; its own text where it has neither fields nor an address in it."""
    kind = type(value)
    if is_dataclass(value):
        held = {f.name: getattr(value, f.name) for f in fields(value) if f.repr}
    elif not ADDRESS.search(text := repr(value)):
        return text
    elif hasattr(value, "__dict__"):
        held = {name: v for name, v in sorted(vars(value).items()) if not name.startswith("_")}
    else:
        raise UsageError(
            f"{value!r} has no text but its address: give {kind.__qualname__} a __repr__ that says what it is"
        )
    try:
        return f"{kind.__qualname__}({', '.join(f'{n}={inner(v)}' for n, v in held.items())})"
    except UsageError as error:
        raise UsageError(f"in a {kind.__qualname__}: {error}") from None


def code_of(model: nn.Module) -> list[str]:
    """The code of every class of modules in `model` that a user wrote."""
    classes = dict.fromkeys(kind for m in model.modules() for kind in type(m).__mro__ if _is_users(kind))
    methods = ((kind, name, f) for kind in classes for name, f in vars(kind).items() if isinstance(f, FunctionType))
    return [f"{kind.__qualname__}.{name}: {description(f)}" for kind, name, f in methods if name != "__init__"]


def parts_of(model: nn.Module) -> list[str]:
    """Every module of `model` by name, with its class and settings."""
    return [f"{name or 'whole'}: {type(m).__qualname__}({_module_settings(m)})" for name, m in model.named_modules()]


def _module_settings(module: nn.Module) -> str:
    """What a module prints of itself, and its other attributes that are plain values."""
    printed = ADDRESS.sub("", module.extra_repr())
    held = sorted((n, v) for n, v in vars(module).items() if not n.startswith("_") and n != "training")
    others = [f"{n}={v!r}" for n, v in held if isinstance(v, (*PLAIN, *TORCH, Enum)) and f"{n}=" not in printed]
    return ", ".join([*([printed] if printed else []), *others])


def array_digest(values: Tensor | np.ndarray[Any, Any]) -> str:
    """Type, shape and a digest of the values of an array."""
    tensor = values.detach().cpu() if isinstance(values, Tensor) else values
    digest = blake2b(digest_size=16)
    update(digest, tensor)
    return f"{str(tensor.dtype).removeprefix('torch.')}{tuple(tensor.shape)}#{digest.hexdigest()}"


def update(digest: Any, values: Tensor | np.ndarray[Any, Any]) -> None:
    """Adds the bytes of an array to a digest, without a copy where it is contiguous."""
    if isinstance(values, Tensor):
        digest.update(values.contiguous().reshape(-1).view(torch.uint8).numpy())
    elif values.dtype.hasobject:
        digest.update("\x1f".join(map(description, values.reshape(-1).tolist())).encode("utf-8", "surrogatepass"))
    else:
        digest.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8))

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
from operator import itemgetter
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.learning.reach import attributes_of, fields_of, is_users, reached, settings_of
from tacit.record.writes import changing, written_by

PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), range, PurePath, np.generic)
TORCH = (torch.dtype, torch.device, torch.Size, torch.memory_format)
VALUES = (*PLAIN, *TORCH, Enum, Tensor, np.ndarray)
FUNCTIONS = (FunctionType, BuiltinFunctionType)
LIBRARIES = ("torch", "tacit", "numpy", "builtins", "math", "operator")
"""Functions of these are known by name; what a user wrote, by its code."""
DEEPEST = 12
LONGEST = 1000
"""Characters of a value that a function reads; a longer text stands as its digest."""
BARE = frozenset(vars(nn.Module()))
"""What every module keeps for itself."""
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
        return "; ".join([*parts_of(value), *_state(value)])
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
    settings = ", ".join(["", *_settings(value, inner), *_reached(value, inner)])
    return f"{name} (code {_of_code(value.__code__)}{settings})"


def _reached(function: FunctionType, inner: Callable[[Any], str]) -> list[str]:
    """The user's functions that one may call, with their settings, and what all of them read and do not write to."""
    written, lines = written_by([function]), list[str]()
    for name, value in reached(function):
        if value is function:
            continue
        if isinstance(value, FUNCTIONS):
            lines.append(f"{name}={_called(value)}")
            lines += [
                f"{name}.{n}={_short(inner(v))}" for n, v in _given(value).items() if n not in written and _tells(v)
            ]
        elif _tells(value) and name.rpartition(".")[2] not in written:
            lines.append(f"{name}={_short(inner(value))}")
    return sorted(set(lines))  # whose order is that of sets, which differs from process to process


def _given(function: Any) -> dict[str, Any]:
    return settings_of(function) if isinstance(function, FunctionType) else {}


def _called(function: Any) -> str:
    """A function, without what it depends on."""
    if isinstance(function, FunctionType) and _is_users(function):
        return _of_code(function.__code__)
    return f"{getattr(function, '__module__', None) or ''}.{function.__qualname__}"


def _tells(value: Any, deep: int = 0) -> bool:
    """Whether it is a plain value or an array, or a container of nothing else; what a run trains is neither."""
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        parts = (p for pair in value.items() for p in pair) if isinstance(value, Mapping) else value
        return deep < DEEPEST and all(_tells(part, deep + 1) for part in parts)
    return isinstance(value, VALUES) and not isinstance(value, nn.Parameter)


def _is_setting(value: Any) -> bool:
    """Whether it is one of those, or a function, also with arguments of its own."""
    if isinstance(value, functools.partial):
        return isinstance(value.func, FUNCTIONS) and _tells(value.args) and _tells(value.keywords)
    return isinstance(value, FUNCTIONS) or _tells(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _is_users(thing: Any) -> bool:
    return (getattr(thing, "__module__", None) or "").partition(".")[0] not in LIBRARIES


def _settings(function: FunctionType, inner: Callable[[Any], str]) -> list[str]:
    """What a function's result depends on besides its code: its defaults, and the values that it closes over.

    What it, or a function that it calls, writes to may have changed since it began, so that says nothing; nor does an
    object that it closes over.
    """
    found, written = [], written_by([function])
    for name, value in settings_of(function).items():
        if name in written or value is function:
            continue
        if isinstance(value, nn.Module):
            found.append(f"{name}={'; '.join([*parts_of(value, plain=True), *_state(value)])}")
        elif isinstance(value, FUNCTIONS):
            found.append(f"{name}={_called(value)}")
        elif _tells(value):
            found.append(f"{name}={_short(inner(value))}")
        elif name not in function.__code__.co_freevars:
            found.append(f"{name}={inner(value)}")
    return found


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
    elif hasattr(value, "__dict__") or fields_of(value):
        changes = changing(kind)
        held = {n: v for n, v in sorted(fields_of(value).items()) if n not in changes and _is_told(kind, n, v)}
    else:
        raise UsageError(
            f"{value!r} has no text but its address: give {kind.__qualname__} a __repr__ that says what it is"
        )
    try:
        return f"{kind.__qualname__}({', '.join(f'{n}={inner(v)}' for n, v in held.items())})"
    except UsageError as error:
        raise UsageError(f"in a {kind.__qualname__}: {error}") from None


def _is_told(kind: type, name: str, value: Any) -> bool:
    """Of the private attributes, only settings of the user's own classes."""
    return not name.startswith("_") or (is_users(kind) and _is_setting(value))


def _state(module: nn.Module) -> list[str]:
    return [f"{n}: {array_digest(t)}" for n, t in module.state_dict().items()]


def code_of(thing: Any) -> list[str]:
    """The code, and the values in it, of the user's class of `thing`, or of all modules in it if it is one."""
    parts = thing.modules() if isinstance(thing, nn.Module) else [getattr(thing, "__self__", thing)]
    kinds = dict.fromkeys(type(part) for part in parts)
    classes = dict.fromkeys(kind for k in kinds for kind in k.__mro__ if _is_users(kind))
    values = {
        f"{name}: {_short(description(v))}"
        for kind in kinds
        for name, v in attributes_of(kind).items()
        if _tells(v) and name.rpartition(".")[2] not in changing(kind)
    }
    methods = ((kind, name, f) for kind in classes for name, f in vars(kind).items() if isinstance(f, FunctionType))
    code = [f"{kind.__qualname__}.{name}: {description(f)}" for kind, name, f in methods if name != "__init__"]
    return [*code, *sorted(values)]


def parts_of(model: nn.Module, *, plain: bool = False) -> list[str]:
    """Every module of `model` by name, with its class and settings; `plain`: without containers and functions."""
    named = model.named_modules()
    return [f"{name or 'whole'}: {type(m).__qualname__}({_module_settings(m, plain)})" for name, m in named]


def _module_settings(module: nn.Module, plain: bool) -> str:
    """What a module prints of itself, and its other attributes that are settings and that no step changes."""
    printed, kind = ADDRESS.sub("", module.extra_repr()), type(module)
    changes = changing(kind)
    held = [(n, v) for n, v in sorted(vars(module).items(), key=itemgetter(0)) if n not in BARE | changes]
    held = [(n, v) for n, v in held if _is_told(kind, n, v) and f"{n}=" not in printed]
    others = [
        f"{n}={_short(description(v))}"
        for n, v in held
        if (isinstance(v, (*PLAIN, *TORCH, Enum)) if plain else _is_setting(v))
    ]
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

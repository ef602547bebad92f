"""What the user's own code reaches by name: functions, globals and class attributes. Nothing of it is called."""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import CodeType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any

from torch import nn

MOST = 10_000
"""Functions, classes and objects that are looked at."""
FIRST = 32
"""Members of a container that are looked at for functions."""
CACHED = type(functools.cache(len))


def reached(*roots: Any) -> Iterator[tuple[str, Any]]:
    """The functions that `roots` may call, and the values that these read by name, each with its name.

    Followed are functions, methods and partials, and classes and objects of the user's; of the functions of installed
    packages only what they close over, for one may be the user's that they decorate.
    """
    left = deque[Any](roots)
    seen: dict[int, Any] = {}  # and kept, or another object might get the number of one that is gone
    while left and len(seen) < MOST:
        value = left.popleft()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, FunctionType):
            if is_users(value):
                yield value.__qualname__, value
                yield from read_by(value).items()
        elif isinstance(value, type):
            yield from attributes_of(value).items()
        left.extend(_next(value))


def _next(value: Any) -> list[Any]:
    """Where to look from `value` on."""
    if isinstance(value, FunctionType):
        named = read_by(value) if is_users(value) else {}
        return [*named.values(), *settings_of(value).values(), *vars(value).values()]
    if isinstance(value, type):
        return [*methods_of(value), *attributes_of(value).values()]
    if isinstance(value, MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, CACHED):
        return [value.__wrapped__]
    if isinstance(value, list | tuple | set | frozenset | dict):
        return list(islice(value.values() if isinstance(value, dict) else value, FIRST))
    if isinstance(value, nn.Module):
        return [type(value), *fields_of(value).values(), *value.children()]
    return [type(value), *fields_of(value).values()] if is_users(type(value)) else []


@functools.cache
def _installed(module: str) -> bool:
    top = module.partition(".")[0]
    found = sys.modules.get(module)
    file = getattr(found, "__file__", None) or getattr(sys.modules.get(top), "__file__", None)
    if top == "tacit" or top in sys.builtin_module_names:
        return True
    if not file:
        return False
    path = Path(file).resolve()
    homes = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
    return not {"site-packages", "dist-packages"}.isdisjoint(path.parts) or not homes.isdisjoint(path.parents)


def is_users(thing: Any) -> bool:
    """Whether a function, class or module is of neither the standard library, nor tacit, nor an installed package."""
    if isinstance(thing, FunctionType):
        name = thing.__globals__.get("__name__")  # a decorator from a package bears the name of what it decorates
    else:
        name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None)
    return isinstance(name, str) and not _installed(name)


def names_in(code: CodeType) -> list[str]:
    """The names of globals and attributes in a code and in those within it."""
    inner = [name for c in code.co_consts if isinstance(c, CodeType) for name in names_in(c)]
    return list(dict.fromkeys([*code.co_names, *inner]))


def read_by(function: FunctionType) -> dict[str, Any]:
    """The globals that a function reads, and what it reads of the user's modules; no modules themselves."""
    found: dict[str, Any] = {}
    names = names_in(function.__code__)
    for name in names:
        value = function.__globals__.get(name, function)
        if value is function:
            continue
        if not isinstance(value, ModuleType):
            found[name] = value
        elif is_users(value):
            inner = {f"{name}.{n}": vars(value)[n] for n in names if n in vars(value)}
            found |= {n: v for n, v in inner.items() if not isinstance(v, ModuleType)}
    return found


def closed_over(function: FunctionType) -> dict[str, Any]:
    """The values that a function closes over, by name, those that are there yet."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # an empty cell
            found[name] = cell.cell_contents
    return found


def settings_of(function: FunctionType) -> dict[str, Any]:
    """The defaults of a function and the values that it closes over, by name."""
    code, defaults = function.__code__, function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount][code.co_argcount - len(defaults) :]
    given = dict(zip(names, defaults, strict=True))
    return {**given, **(function.__kwdefaults__ or {}), **closed_over(function)}


def _classes(kind: type) -> list[type]:
    return [k for k in kind.__mro__ if is_users(k)]


def methods_of(kind: type) -> list[FunctionType]:
    """The functions that the user wrote into a class and its bases, those behind properties and decorators as well."""
    found = [v for k in _classes(kind) for v in vars(k).values()]
    found += [v.__func__ for v in found if isinstance(v, staticmethod | classmethod)]
    found += [v.fget for v in found if isinstance(v, property)]
    found += [v.func for v in found if isinstance(v, functools.cached_property)]
    found += [v.__wrapped__ for v in found if isinstance(v, CACHED)]
    return [f for f in found if isinstance(f, FunctionType)]


def attributes_of(kind: type) -> dict[str, Any]:
    """The values that stand in a class of the user's and in its bases, as "Class.name"; no methods."""
    return {
        f"{k.__qualname__}.{name}": value
        for k in _classes(kind)
        for name, value in vars(k).items()
        if not name.startswith(("__", "_abc_")) and not hasattr(type(value), "__get__")
    }


def fields_of(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in `__slots__` as well."""
    found = dict(getattr(value, "__dict__", None) or {})
    for name, slot in ((n, s) for k in type(value).__mro__ if "__slots__" in vars(k) for n, s in vars(k).items()):
        if isinstance(slot, MemberDescriptorType):
            with suppress(AttributeError):  # an empty slot
                found[name] = slot.__get__(value)
    return found

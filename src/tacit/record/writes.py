"""Which names a code writes to: what may change while it runs, and therefore cannot tell one run from another.

Read off the instructions: in `self.seen[k] = v`, `seen.append(v)` and `self.calls += 1`, whatever begins where the
written expression begins. What a function does to its arguments is not followed into functions of other packages.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable
from functools import cached_property
from types import CodeType, FunctionType

from tacit.learning.reach import is_users, methods_of, names_in, reached

STORES = ("STORE_ATTR", "DELETE_ATTR", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF")
ITEMS = ("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE")
MUTATORS = frozenset(
    [
        "append",
        "appendleft",
        "add",
        "clear",
        "discard",
        "extend",
        "extendleft",
        "insert",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "reverse",
        "rotate",
        "setdefault",
        "sort",
        "subtract",
        "update",
        "__setitem__",
    ]
)
ENTRIES = ("__call__", "forward", "at")
"""Where a loss, a module or a schedule is entered; other classes at any method."""
MAKING = ("__init__", "__new__", "__post_init__", "__setstate__", "__set_name__", "__init_subclass__")


def written_by(functions: Iterable[FunctionType]) -> frozenset[str]:
    """Names of attributes, globals and variables that `functions`, or those of the user's that they call, write to."""
    mine = [value for _, value in reached(*functions) if isinstance(value, FunctionType) and is_users(value)]
    return frozenset(name for f in mine if f.__name__ not in MAKING for name in _written(f.__code__))


def changing(kind: type) -> frozenset[str]:
    """Names of the attributes that objects of a class may change once they are made.

    Where a class has one of `ENTRIES`, those that its methods write to which are reached from there. Of another class,
    whose setters may be what gives it its settings, only private ones.
    """
    methods = [m for m in methods_of(kind) if m.__name__ not in MAKING]
    lazy = frozenset(n for k in kind.__mro__ for n, v in vars(k).items() if isinstance(v, cached_property))
    if any(m.__name__ in ENTRIES for m in methods):
        wanted, called = set[str](), set(ENTRIES)
        while called - wanted:
            wanted |= called
            called = {name for m in methods if m.__name__ in wanted for name in names_in(m.__code__)}
        return lazy | written_by(m for m in methods if m.__name__ in wanted)
    return lazy | {name for name in written_by(methods) if name.startswith("_")}


def _written(code: CodeType) -> set[str]:
    steps = list(dis.get_instructions(code))
    found, starts = set[str](), set[tuple[int | None, int | None]]()
    for step in steps:
        if step.opname in STORES:
            found.add(step.argval)
        writes = step.opname in ITEMS or step.opname in ("STORE_ATTR", "DELETE_ATTR")
        if writes or (step.opname in ("LOAD_METHOD", "LOAD_ATTR") and step.argval in MUTATORS):
            starts.add(_start(step))
    found |= {
        s.argval for s in steps if s.opname.startswith("LOAD_") and isinstance(s.argval, str) and _start(s) in starts
    }
    return found.union(*(_written(c) for c in code.co_consts if isinstance(c, CodeType))) - {"self"}


def _start(step: dis.Instruction) -> tuple[int | None, int | None]:
    return (step.positions.lineno, step.positions.col_offset) if step.positions else (None, None)

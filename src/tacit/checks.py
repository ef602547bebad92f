"""Checks of arguments: whether a value is the number, path or object that is asked for. They answer and never raise.

What NumPy calls a number is one here too; a truth value is none. The functions that give a list give one problem with
the value and the remedy in it, or none, so that a caller collects the problems of all of its arguments.
"""

from __future__ import annotations

import os
from dataclasses import fields
from math import isfinite
from numbers import Integral, Real
from typing import Any

import numpy as np

MOST = 2**31 - 1
PATH = "give a path as text or pathlib.Path"


def is_whole(value: Any, least: int | None = None) -> bool:
    """Whether `value` is a whole number, of at least `least`."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    return whole and (least is None or int(value) >= least)


def is_count(value: Any) -> bool:
    """Whether `value` is a whole number of at least 1."""
    return is_whole(value, 1)


def is_number(value: Any) -> bool:
    """Whether `value` is a finite real number."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def is_path(value: object) -> bool:
    """Whether `value` names a file or a folder."""
    return isinstance(value, str | os.PathLike)


def offers(value: object, *methods: str) -> bool:
    """Whether `value` is an object, and not a class, with all of these methods."""
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)


def positive(name: str, value: Any, kind: str = " number") -> list[str]:
    """A number above 0."""
    return [] if is_number(value) and value > 0 else [f"{name} is {value!r}: give a positive, finite{kind}"]


def not_negative(name: str, value: Any) -> list[str]:
    """A number from 0."""
    return [] if is_number(value) and value >= 0 else [f"{name} is {value!r}: give 0 or more, a finite number"]


def decay(name: str, value: Any) -> list[str]:
    """A number in [0, 1)."""
    return [] if is_number(value) and 0 <= value < 1 else [f"{name} is {value!r}: give a number in [0, 1)"]


def count(name: str, value: Any, more: str = "") -> list[str]:
    """A whole number from 1, small enough that products of two of them are computed without overflow."""
    if is_count(value) and value <= MOST:
        return []
    wanted = f"from 1 to {MOST:,}" if is_count(value) else "of at least 1"
    return [f"{name} is {value!r}: give a whole number {wanted}{more}"]


def truth(name: str, value: Any) -> list[str]:
    """True or False."""
    return [] if isinstance(value, bool | np.bool_) else [f"{name} is {value!r}: give True or False"]


def plain(value: Any) -> Any:
    """A number as Python's own; everything else, and a number that no run can use, as it is.

    A run's settings are compared, printed into its identity and written as JSON, where NumPy's numbers look different
    from equal ones of Python, or cannot be written.
    """
    if is_whole(value):
        return int(value)
    if is_number(value):
        return float(value)
    return bool(value) if isinstance(value, np.bool_) else value


def make_plain(record: Any) -> None:
    """Makes the numbers in the fields of a dataclass, frozen or not, Python's own (see `plain`)."""
    for field in fields(record):
        value = getattr(record, field.name, None)
        if isinstance(value, Real | np.bool_):
            object.__setattr__(record, field.name, plain(value))

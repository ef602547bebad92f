"""How functions are compiled with numba: without the GIL, and kept on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Real: TypeAlias = NDArray[Any]
"""A contiguous vector of float32 or float64."""
Int: TypeAlias = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""Division by zero gives Inf or NaN, as in torch; a check for it would keep loops from being vectorised."""
INNER = OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""For functions that only compiled code calls."""


def jit(function: Function) -> Function:
    """Compiled with IEEE arithmetic."""
    return cast(Function, njit(**INNER)(function))


def jit_contracting(function: Function) -> Function:
    """Compiled; a product and a sum may be rounded once."""
    return cast(Function, njit(**INNER, fastmath={"contract"})(function))


def jit_summing(function: Function) -> Function:
    """Compiled; sums may be taken in another order (the same in every run), so that they can be vectorised."""
    return cast(Function, njit(**INNER, fastmath={"contract", "reassoc"})(function))


def jit_cached(function: Function) -> Function:
    """Compiled for calls from Python, and kept on disk where a folder for that is writable."""
    try:
        return cast(Function, njit(**OPTIONS, cache=True)(function))
    except RuntimeError:  # Numba found no such folder
        return cast(Function, njit(**OPTIONS)(function))

"""How the functions of this package are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Real: TypeAlias = NDArray[Any]
"""A contiguous vector of float32 or float64."""
Int: TypeAlias = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""Division by zero gives Inf or NaN, as in torch; a check for it would keep loops from being vectorised."""


def jit(function: Function) -> Function:
    """Compiled with IEEE arithmetic."""
    return njit(**OPTIONS)(function)  # type: ignore[no-any-return]


def jit_contracting(function: Function) -> Function:
    """Compiled; a product and a sum may be rounded once."""
    return njit(**OPTIONS, fastmath={"contract"})(function)  # type: ignore[no-any-return]


def jit_summing(function: Function) -> Function:
    """Compiled; sums may be taken in another order (the same in every run), so that they can be vectorised."""
    return njit(**OPTIONS, fastmath={"contract", "reassoc"})(function)  # type: ignore[no-any-return]


def jit_cached(function: Function) -> Function:
    """Compiled, and kept on disk where a folder for that is writable."""
    try:
        return njit(**OPTIONS, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # Numba found no such folder
        return njit(**OPTIONS)(function)  # type: ignore[no-any-return]

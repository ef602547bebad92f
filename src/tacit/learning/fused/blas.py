"""SciPy's matrix product as an address that compiled code may call from several threads."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

PREFIXES = ("scipy_", "")
SMALL_KERNELS = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""Cores for which OpenBLAS multiplies small matrices in place, without packing them first."""


class Blas(NamedTuple):
    """What was found of OpenBLAS.

    Attributes:
        sgemm, dgemm: addresses of the Fortran-style products with 32-bit sizes.
        tiled: cut products into tiles that qualify for OpenBLAS's small-matrix kernels (up to 3x faster).
        get_threads, set_threads: its number of threads, for the whole process.
    """

    sgemm: int
    dgemm: int
    tiled: bool
    get_threads: Callable[[], int]
    set_threads: Callable[[int], None]


class NoBlas(Exception):
    """SciPy's matrix product cannot be used here; the message says why."""


@cache
def find() -> Blas:
    """SciPy's OpenBLAS.

    Raises:
        NoBlas: SciPy was built on another BLAS (whose threads we could not hold to one), or with 64-bit sizes.
    """
    from numba.extending import get_cython_function_address
    from scipy.linalg import cython_blas

    if "int *" not in repr(cython_blas.__pyx_capi__["sgemm"]):
        raise NoBlas("SciPy's BLAS takes 64-bit sizes")
    # A symbol is looked up in the extension module and in what it links: SciPy's OpenBLAS, never NumPy's.
    library = ctypes.CDLL(cython_blas.__file__)
    for prefix in PREFIXES:
        try:
            get_threads = getattr(library, f"{prefix}openblas_get_num_threads")
            set_threads = getattr(library, f"{prefix}openblas_set_num_threads")
            core = getattr(library, f"{prefix}openblas_get_corename")
        except AttributeError:
            continue
        core.restype = ctypes.c_char_p
        return Blas(
            get_cython_function_address("scipy.linalg.cython_blas", "sgemm"),
            get_cython_function_address("scipy.linalg.cython_blas", "dgemm"),
            core().decode() in SMALL_KERNELS,
            get_threads,
            set_threads,
        )
    raise NoBlas("SciPy's BLAS is not OpenBLAS, so its threads cannot be held to one")


_lock = threading.Lock()
_holders = 0
_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Holds OpenBLAS to one thread per caller; the last of several concurrent holders puts the old number back."""
    global _holders, _before
    found = find()
    with _lock:
        if _holders == 0:
            _before = found.get_threads()
            found.set_threads(1)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if _holders == 0:
                found.set_threads(_before)

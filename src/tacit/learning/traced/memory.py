"""The memory allocator of worker processes: keep freed blocks instead of handing them back to the system.

A step of a model with some million parameters frees and allocates gradients of several MB. Above its thresholds glibc
maps each of them anew, and every step pays for page faults on memory that it had a moment before.
"""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of glibc's `malloc.h`."""
LARGE = (2**30, 2**25)
"""Bytes below which blocks are kept: 1 GiB (a C int holds no more), 32 MiB where glibc is older than 2.35."""


def raise_malloc_thresholds() -> bool:
    """Tells glibc to keep freed blocks in the process; called once in a worker.

    Returns:
        Whether it took effect: False where the C library has no `mallopt` (not glibc).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(TRIM_THRESHOLD, LARGE[0])) and any(mallopt(MMAP_THRESHOLD, size) for size in LARGE)

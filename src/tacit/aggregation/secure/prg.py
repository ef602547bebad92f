"""Masks: key streams of AES-128 in counter mode, added to a vector, or removed from it, in place.

The stream of a key is the encryption of zeros (SP 800-38A, counter from 0), read as little-endian words. It is worked
on slice by slice, all keys for one slice, so that the slice and its mask stay in a core's cache; and since a stream can
be entered at any block, threads can own disjoint slices with nothing to merge.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from tacit.checks import is_count, is_whole
from tacit.errors import Problems

KEY = 16
"""Bytes of a key. A key must never be used for a second vector: the difference of the two would be in clear."""
BLOCK = 16
"""Bytes of one counter's block."""
CHUNK = 2**19
"""Bytes of a slice: with its mask no more than a common second-level cache, and long enough for threads to overlap."""
HELD = 64
"""Keys whose ciphers are kept over the slices: making them anew for each slice would cost what the slices gain."""

Words: TypeAlias = NDArray[np.uint32] | NDArray[np.uint64]


def add_streams(target: Words, keys: Sequence[bytes], signs: Sequence[int], start: int = 0) -> None:
    """Adds streams to a vector, modulo 2^32 or 2^64.

    Args:
        target: (m,) uint32 or uint64, changed in place.
        keys: of 16 bytes.
        signs: for each key, 1 to add its stream and -1 to subtract it.
        start: the word of each stream that belongs to the first of `target`.

    Raises:
        UsageError: an argument is not of this form. Nothing was changed.
    """
    _require(target, keys, signs, start)
    _apply(target, keys, signs, start)


def remove_streams(target: Words, keys: Sequence[bytes], signs: Sequence[int], workers: int | None = None) -> None:
    """Undoes `add_streams(target, keys, signs)`, on several cores: what was added is subtracted.

    Args:
        target: (m,) uint32 or uint64, changed in place.
        keys: of 16 bytes.
        signs: those with which the streams had been added, 1 or -1.
        workers: threads at most, all usable cores by default. The result does not depend on them.

    Raises:
        UsageError: an argument is not of this form. Nothing was changed.
    """
    _require(target, keys, signs, 0, workers)
    inverse = [-sign for sign in signs]
    cuts = _cuts(target, workers or _cores())
    if len(cuts) <= 2:
        return _apply(target, keys, inverse, 0)
    with ThreadPoolExecutor(len(cuts) - 1) as pool:
        for done in [pool.submit(_apply, target[a:b], keys, inverse, a) for a, b in pairwise(cuts)]:
            done.result()
    return None


def _apply(target: Words, keys: Sequence[bytes], signs: Sequence[int], start: int) -> None:
    """Adds the streams, one slice after the other for as many keys as are held."""
    size = target.itemsize
    step = CHUNK // size
    longest = min(CHUNK, target.nbytes)
    zeros = memoryview(bytes(longest))
    mask = np.empty(longest + BLOCK - 1, np.uint8)  # `update_into` may ask for a block more than it writes
    for first in range(0, len(keys), HELD):
        held = slice(first, first + HELD)
        streams = [_stream(key, start * size) for key in keys[held]]
        sums = [np.add if sign > 0 else np.subtract for sign in signs[held]]
        for at in range(0, target.size, step):
            part = target[at : at + step]
            count = part.size * size
            words = mask[:count].view(f"<u{size}")
            for stream, plus in zip(streams, sums, strict=True):
                stream.update_into(zeros[:count], mask)
                plus(part, words, out=part)


def _stream(key: bytes, offset: int) -> Any:
    """The cipher of a key whose next byte is the one at `offset`."""
    counter, within = divmod(offset, BLOCK)
    stream = Cipher(algorithms.AES(key), modes.CTR(counter.to_bytes(BLOCK, "big"))).encryptor()
    if within:
        stream.update(bytes(within))
    return stream


def _cuts(target: Words, workers: int) -> list[int]:
    """Where threads take over from each other, at whole blocks and with a slice's length for each at least."""
    threads = max(1, min(workers, target.nbytes // CHUNK))
    words = BLOCK // target.itemsize
    return [target.size * i // threads // words * words for i in range(threads)] + [target.size]


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _require(target: Any, keys: Sequence[Any], signs: Sequence[int], start: int, workers: int | None = None) -> None:
    """Looks at the arguments, before anything is changed."""
    with Problems("masks cannot be added") as problems:
        kind = f"{target.dtype} {target.shape}" if isinstance(target, np.ndarray) else type(target).__name__
        if not isinstance(target, np.ndarray) or target.dtype not in (np.uint32, np.uint64) or target.ndim != 1:
            problems.add(f"target is {kind}: give a vector of uint32 or uint64, (m,)")
        elif not target.flags.writeable:
            problems.add("target cannot be written to: give a copy of it")
        wrong = [i for i, key in enumerate(keys) if not isinstance(key, bytes) or len(key) != KEY]
        problems.check(not wrong, f"of {len(keys)} keys, {len(wrong)} are not {KEY} bytes, first at {wrong[:1]}")
        odd = sorted({repr(sign) for sign in signs if sign not in (1, -1)})
        problems.check(not odd, f"signs are {', '.join(odd[:3])}: give 1 or -1")
        problems.check(len(keys) == len(signs), f"{len(keys)} keys and {len(signs)} signs: give one sign for each key")
        problems.check(is_whole(start, 0), f"start is {start!r}: give a whole number of words from 0")
        problems.check(workers is None or is_count(workers), f"workers is {workers!r}: give at least 1, or None")

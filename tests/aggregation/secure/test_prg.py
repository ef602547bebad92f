"""Masks are the key streams of AES, wherever a vector is entered, and what was added can be removed."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from tacit.aggregation.secure import prg
from tacit.aggregation.secure.prg import CHUNK, HELD, KEY, add_streams, remove_streams
from tacit.errors import UsageError

DTYPES = st.sampled_from([np.uint32, np.uint64])
KEYS = st.lists(st.tuples(st.binary(min_size=KEY, max_size=KEY), st.sampled_from([1, -1])), max_size=5)


def stream(key, start, count, dtype):
    """The words by encrypting each counter by itself, in another mode of the cipher."""
    size = np.dtype(dtype).itemsize
    first, last = start * size // 16, ((start + count) * size + 15) // 16
    blocks = b"".join(counter.to_bytes(16, "big") for counter in range(first, last))
    text = Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(blocks)
    at = start * size - first * 16
    return np.frombuffer(text[at : at + count * size], dtype=np.dtype(dtype).newbyteorder("<")).astype(dtype)


def vector(dtype, count, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, count, dtype, endpoint=True)


@given(DTYPES, st.integers(0, 2**40), st.integers(0, 60), st.binary(min_size=KEY, max_size=KEY))
def test_a_stream_is_the_encryption_of_its_counters(dtype, start, count, key):
    target = np.zeros(count, dtype)
    add_streams(target, [key], [1], start)
    np.testing.assert_array_equal(target, stream(key, start, count, dtype))


@given(DTYPES, st.lists(st.integers(0, 200), max_size=6), KEYS, st.integers(1, 3), st.sampled_from([16, 64, 2**19]))
def test_what_was_added_piece_by_piece_is_removed_at_once(dtype, cuts, keyed, workers, chunk):
    keys, signs = [key for key, _ in keyed], [sign for _, sign in keyed]
    before = vector(dtype, 200)
    target = before.copy()
    bounds = sorted([0, *cuts, 200])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prg, "CHUNK", chunk)
        for a, b in pairwise(bounds):
            add_streams(target[a:b], keys, signs, a)
        masks = [stream(key, 0, 200, dtype) for key in keys]
        expected = before.copy()
        for mask, sign in zip(masks, signs, strict=True):
            expected = expected + mask if sign > 0 else expected - mask
        np.testing.assert_array_equal(target, expected)
        remove_streams(target, keys, signs, workers)
    np.testing.assert_array_equal(target, before)


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64])
@pytest.mark.parametrize("workers", [1, 2, 3, None])
def test_slices_keys_and_workers_beyond_one_share_leave_no_seam(dtype, workers):
    count = 2 * CHUNK // np.dtype(dtype).itemsize + 13
    keys = [i.to_bytes(KEY, "big") for i in range(HELD + 2)]
    signs = [1, 1, -1] * (len(keys) // 3)
    before = vector(dtype, count)
    target = before.copy()
    add_streams(target, keys, signs)
    at = [0, 3, CHUNK // 8, CHUNK // 4 - 2, count - 5]
    for start in at:
        streams = np.array([stream(key, start, 5, dtype) for key in keys])
        added, taken = streams[np.equal(signs, 1)], streams[np.equal(signs, -1)]
        expected = before[start : start + 5] + added.sum(0, dtype) - taken.sum(0, dtype)
        np.testing.assert_array_equal(target[start : start + 5], expected)
    remove_streams(target, keys, signs, workers)
    np.testing.assert_array_equal(target, before)


def test_opposite_signs_of_two_clients_cancel():
    mine, theirs, key = vector(np.uint32, 50, 1), vector(np.uint32, 50, 2), bytes(range(KEY))
    plain = mine + theirs
    add_streams(mine, [key], [1])
    add_streams(theirs, [key], [-1])
    np.testing.assert_array_equal(mine + theirs, plain)


def test_a_column_of_a_larger_array_is_masked_and_its_neighbours_are_not():
    table = np.zeros((40, 2), np.uint32)
    add_streams(table[:, 0], [bytes(KEY)], [1])
    np.testing.assert_array_equal(table[:, 0], stream(bytes(KEY), 0, 40, np.uint32))
    assert not table[:, 1].any()


def test_working_memory_does_not_grow_with_the_vector_or_the_keys():
    target = np.zeros(8 * CHUNK, np.uint32)
    keys = [bytes([i]) * KEY for i in range(3)]
    tracemalloc.start()
    add_streams(target, keys, [1, 1, 1])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * CHUNK < target.nbytes / 8


@pytest.mark.parametrize(
    ("target", "keys", "signs", "start", "said"),
    [
        (np.zeros(3, np.int32), [], [], 0, "int32"),
        (np.zeros((3, 1), np.uint32), [], [], 0, r"\(3, 1\)"),
        (np.zeros(3, ">u4"), [], [], 0, ">u4"),
        ([1, 2], [], [], 0, "target is list"),
        (np.frombuffer(bytes(8), np.uint32), [], [], 0, "cannot be written"),
        (np.zeros(3, np.uint32), [bytes(KEY), bytes(15)], [1, 1], 0, r"of 2 keys, 1 are not 16 bytes, first at \[1\]"),
        (np.zeros(3, np.uint32), ["0" * KEY], [1], 0, "1 are not 16 bytes"),
        (np.zeros(3, np.uint32), [bytes(KEY)], [0], 0, "signs are 0"),
        (np.zeros(3, np.uint32), [bytes(KEY)], [], 0, "1 keys and 0 signs"),
        (np.zeros(3, np.uint32), [], [], -1, "start is -1"),
    ],
)
def test_wrong_arguments_are_named(target, keys, signs, start, said):
    with pytest.raises(UsageError, match=said):
        add_streams(target, keys, signs, start)


def test_all_problems_are_told_at_once_and_nothing_is_changed():
    target = vector(np.uint64, 9)
    before = target.copy()
    with pytest.raises(UsageError, match="3 problems"):
        remove_streams(target, [bytes(KEY), b""], [1, 5], 0)
    np.testing.assert_array_equal(target, before)

"""Values of every kind, drawn within what the protocol allows."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tacit.network.office import (
    Assignment,
    Blob,
    CheckIn,
    Code,
    Enrolled,
    Failure,
    Kind,
    Outcome,
    Receipt,
    Reply,
    Withdrawal,
)
from tacit.network.wire import Enrol, Problem, Time, Upload, Uploaded

COUNTS = st.integers(0, 2**31 - 1)
SIZES = st.integers(0, 2**48)
TEXTS = st.text(max_size=60)
NAMES = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=16)
HEX = "0123456789abcdef"


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text(HEX, min_size=count, max_size=count)


def milliseconds(longest: int) -> st.SearchStrategy[float]:
    return st.integers(0, longest).map(lambda ms: ms / 1000)


BLOBS = st.builds(Blob, digits(64), SIZES)
ASSIGNMENTS = st.builds(
    Assignment,
    digits(32),
    st.sampled_from(Kind),
    COUNTS,
    COUNTS,
    milliseconds(10**9),
    SIZES,
    st.binary(max_size=100),
    st.dictionaries(TEXTS, BLOBS, max_size=3),
)
KEYS, SIGNATURES = st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64)
VALUES: dict[type[Any], st.SearchStrategy[Any]] = {
    Enrol: st.builds(Enrol, TEXTS, NAMES, KEYS),
    Enrolled: st.builds(Enrolled, NAMES, KEYS, SIGNATURES),
    CheckIn: st.builds(
        CheckIn,
        digits(32),
        st.just("") | digits(64),
        st.just(b"") | SIGNATURES,
        TEXTS,
        TEXTS,
        milliseconds(25_000),
        st.lists(digits(32), max_size=4).map(tuple),
        TEXTS,
    ),
    Reply: st.builds(
        Reply,
        st.sampled_from(["gathering", "training", "finished", "failed"]),
        COUNTS,
        COUNTS,
        st.lists(ASSIGNMENTS, max_size=3).map(tuple),
        st.none() | BLOBS,
        st.none() | st.builds(Outcome, COUNTS, COUNTS, st.booleans()),
        st.none() | BLOBS,
        milliseconds(86_400_000),
        TEXTS,
    ),
    Failure: st.builds(Failure, st.sampled_from(["refused", "data", "memory", "session", "unexpected"]), TEXTS),
    Receipt: st.builds(Receipt, st.booleans()),
    Withdrawal: st.builds(Withdrawal, COUNTS, st.lists(TEXTS, max_size=4).map(tuple)),
    Upload: st.builds(Upload, digits(32), SIZES, digits(64)),
    Uploaded: SIZES.flatmap(
        lambda length: st.builds(
            Uploaded, digits(32), st.integers(0, length), st.just(length), st.integers(1, 2**31 - 1)
        )
    ),
    Time: st.builds(Time, SIZES, st.lists(st.sampled_from(["1", "2"]), max_size=2).map(tuple), TEXTS),
    Problem: st.builds(Problem, st.sampled_from(Code), TEXTS, TEXTS, st.none() | milliseconds(86_400_000), SIZES),
}

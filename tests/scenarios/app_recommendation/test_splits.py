from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import DataError, UsageError
from tacit.scenarios.app_recommendation.logs import InteractionLog
from tacit.scenarios.app_recommendation.splits import TEST, TRAIN, UNUSED, VALIDATION, SplitRule, split


def log_of(counts: list[int]) -> InteractionLog:
    user = np.repeat([f"u{k:03d}" for k in range(len(counts))], counts)
    time = np.concatenate([np.arange(n, dtype=float) for n in counts])
    return InteractionLog.from_columns("t", user, np.arange(len(user)) % 7, time)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(10, 40), min_size=2, max_size=8), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_training_comes_before_validation_and_validation_before_test(counts: list[int], v: float, t: float):
    log = log_of(counts)
    parts = split(log, SplitRule(validation=v, test=t))
    for u, span in log.spans():
        mine = parts.part[span]
        assert np.all(np.diff(mine) >= 0)
        assert TEST in mine
        assert TRAIN in mine
        assert (VALIDATION in mine) != parts.unseen[u]


def test_the_shares_are_those_asked_for():
    parts = split(log_of([100, 100]), SplitRule(validation=0.1, test=0.2))
    seen = ~parts.unseen[np.repeat([0, 1], 100)]
    assert np.bincount(parts.part[seen]).tolist() == [70, 10, 20]


def test_unseen_users_are_drawn_from_the_seed_and_have_a_warm_up():
    log = log_of([30] * 50)
    one, same, other = (split(log, SplitRule(unseen=0.2, warm_up=7), seed=s) for s in (1, 1, 2))
    assert one.unseen.sum() == 10
    assert np.array_equal(one.unseen, same.unseen)
    assert not np.array_equal(one.unseen, other.unseen)
    for u in np.flatnonzero(one.unseen):
        assert one.part[log.bounds[u] : log.bounds[u + 1]].tolist() == [TRAIN] * 7 + [TEST] * 23


def test_users_with_too_few_events_are_left_out():
    log = log_of([5, 20, 20])
    parts = split(log, SplitRule(minimum=10))
    assert parts.kept.tolist() == [False, True, True]
    assert set(parts.part[:5]) == {UNUSED}


def test_a_log_of_quiet_users_is_refused_with_the_remedy():
    with pytest.raises(DataError, match="1 of 3 users have at least 10"):
        split(log_of([5, 6, 20]))


def test_impossible_shares_are_all_named():
    with pytest.raises(UsageError) as caught:
        SplitRule(validation=0.5, test=0.6, unseen=0.0, warm_up=0)
    assert "3 problems" in str(caught.value)

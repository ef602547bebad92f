from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import DataError
from tacit.fleet import Availability

PERIOD = 24


@st.composite
def timelines(draw):
    """For up to 6 devices, whether each is on in each of 24 seconds."""
    rows = st.lists(st.booleans(), min_size=PERIOD, max_size=PERIOD)
    return np.array(draw(st.lists(rows, min_size=1, max_size=6)), bool)


def of_timeline(on, order=None):
    """The same as intervals of one second each, which are joined."""
    owner, start = np.nonzero(on)
    order = np.arange(len(owner)) if order is None else order(len(owner))
    return Availability.of_intervals(len(on), owner[order], start[order], start[order] + 1, PERIOD)


@given(timelines(), st.integers(0, 3 * PERIOD), st.randoms(use_true_random=False))
def test_the_search_agrees_with_a_dense_timeline(on, t, random):
    table = of_timeline(on, lambda many: np.array(random.sample(range(many), many), int))
    ids = np.arange(len(on))[::-1]
    dense = np.tile(on, 6)[::-1]
    assert table.available(ids, t).tolist() == dense[:, t].tolist()
    for k, row in enumerate(dense):
        coming = np.flatnonzero(row[t:])
        begin = table.next_on(ids, t)[k]
        assert begin == (t + coming[0] if len(coming) else np.inf)
        ending = np.flatnonzero(~row[t:])
        assert table.until(ids, t)[k] == (t + ending[0] if len(ending) else np.inf)


@given(timelines(), st.one_of(st.floats(0, 1e7), st.integers(0, 10**6).map(float)))
def test_asking_for_all_is_asking_for_each(on, t):
    table = of_timeline(on)
    assert table.available(None, t).tolist() == table.available(np.arange(len(on)), t).tolist()


@given(timelines(), st.floats(0, 1e7))
def test_what_comes_next_is_available_and_until_is_its_end(on, t):
    table = of_timeline(on)
    begin = table.next_on(None, t)
    some = np.flatnonzero(np.isfinite(begin))
    assert some.tolist() == np.flatnonzero(on.any(axis=1)).tolist()
    assert table.available(some, begin[some]).all()
    stop = table.until(some, begin[some])
    ends = np.isfinite(stop)
    assert not table.available(some[ends], stop[ends]).any()


@given(st.floats(0.001, 86399.0), st.integers(0, 10**6))
def test_the_time_at_which_a_device_comes_is_one_at_which_it_is_there(start, day):
    table = Availability(np.array([start]), np.array([86400.0]), np.array([0, 1]))
    begin = table.next_on(None, day * 86400.0)
    assert table.available(None, begin).all()


@given(timelines(), st.integers(0, 2 * PERIOD), st.data())
def test_taking_devices_keeps_their_time(on, t, data):
    ids = np.array(data.draw(st.lists(st.integers(0, len(on) - 1), max_size=8)), np.int64)
    taken = of_timeline(on).take(ids)
    assert len(taken) == len(ids)
    assert taken.available(None, t).tolist() == on[ids, t % PERIOD].tolist()


@given(timelines())
def test_the_share_of_time_is_the_timelines(on):
    assert of_timeline(on).share_on() == pytest.approx(on.mean(axis=1))


def test_a_session_over_midnight_is_one_session():
    table = Availability.of_intervals(1, [0, 0], [0, 22], [6, 24], 24)
    assert (table.starts.tolist(), table.stops.tolist()) == ([22.0], [30.0])
    assert table.until(None, 23.0).tolist() == [30.0]
    assert table.until(None, 24 + 3.0).tolist() == [30.0]


def test_everybody_is_always_on_without_a_search():
    table = Availability.always(3)
    assert table.everybody
    assert table.available(None, 1e9).all()
    assert table.until(np.array([2]), 5.0).tolist() == [np.inf]
    assert table.next_on(None, 5.0).tolist() == [5.0, 5.0, 5.0]
    assert table.share_on().tolist() == [1.0, 1.0, 1.0]


def test_devices_with_many_intervals_are_found_as_well():
    starts = np.arange(0, 200, 2)
    table = Availability.of_intervals(
        2, np.repeat([0, 1], 100), np.r_[starts, starts + 0.5], np.r_[starts, starts] + 1, 200
    )
    assert table.available(None, 1000.25).tolist() == [True, False]
    assert table.available(None, 1000.75).tolist() == [True, True]
    assert table.until(None, 1000.75).tolist() == [1001.0, 1001.0]


def test_a_device_without_intervals_never_comes():
    table = Availability.of_intervals(2, [], [], [], 10)
    assert not table.available(None, 3.0).any()
    assert table.next_on(None, 3.0).tolist() == [np.inf, np.inf]


def test_more_devices_than_are_searched_at_once():
    many = 70001
    table = Availability.of_intervals(many, np.arange(many), np.arange(many) % 9, np.arange(many) % 9 + 1, 10)
    for ids in (None, np.arange(many)):
        assert np.flatnonzero(table.available(ids, 14.5)).tolist() == list(range(4, many, 9))


@pytest.mark.parametrize(
    ("owners", "starts", "stops", "said"),
    [
        ([2], [0], [1], "device 2"),
        ([0], [5], [5], "0 <= on < off"),
        ([0], [5], [11], "<= 10 seconds"),
        ([0], [-1], [5], "from -1 to 5"),
        ([0], [np.nan], [5], "nan"),
        ([1, 1], [3, 0], [9, 4], "the interval from 3 starts before that from 0 stops, at 4"),
    ],
)
def test_wrong_intervals_are_named(owners, starts, stops, said):
    with pytest.raises(DataError, match=said):
        Availability.of_intervals(2, owners, starts, stops, 10)


@pytest.mark.parametrize(
    ("starts", "stops", "offsets", "period", "said"),
    [
        ([0.0], [1.0, 2.0], [0, 1], 9.0, "shapes"),
        ([0.0], [1.0], [0, 2], 9.0, "offsets"),
        ([0.0], [1.0], [0, 1], 0.0, "period is 0.0"),
        ([9.0], [10.0], [0, 1], 9.0, r"interval 0 is \[9, 10\)"),
        ([0.0], [9.5], [0, 1], 9.0, "one period at most"),
        ([0.0, 1.0], [1.0, 2.0], [0, 2], 9.0, "overlap or touch"),
        ([1.0, 5.0], [2.0, 10.5], [0, 2], 9.0, "device 0: its last interval runs into its first"),
    ],
)
def test_columns_that_are_no_intervals_are_refused(starts, stops, offsets, period, said):
    with pytest.raises(DataError, match=said):
        Availability(np.array(starts), np.array(stops), np.array(offsets), period)


def test_intervals_cannot_be_changed_afterwards():
    starts = np.array([1.0])
    table = Availability(starts, np.array([2.0]), np.array([0, 1]))
    starts[0] = 1.5
    assert table.starts[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        table.starts[0] = 0.0

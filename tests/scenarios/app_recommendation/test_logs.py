from __future__ import annotations

import numpy as np
import pytest

from tacit.errors import DataError
from tacit.scenarios.app_recommendation.logs import Category, InteractionLog, day_of_week, hour_of_day


def names(log: InteractionLog, user: str) -> list[str]:
    u = log.users.index(user)
    return [log.items[i] for i in log.item[log.user == u]]


def test_events_are_ordered_by_user_and_then_by_time():
    log = InteractionLog.from_columns("t", ["b", "a", "b", "a"], ["x", "y", "z", "x"], [4.0, 3.0, 2.0, 1.0])
    assert names(log, "a") == ["x", "y"]
    assert names(log, "b") == ["z", "x"]
    assert log.bounds.tolist() == [0, 2, 4]


def in_order_of_time(ties: int, events: int = 1000) -> tuple[list[str], np.ndarray]:
    """Items in the order of their names, at increasing times, of which the first `ties` + 1 are equal."""
    return [f"{k:04d}" for k in range(events)], np.maximum(np.arange(events), ties).astype(float)


def test_few_events_of_equal_time_keep_the_order_of_a_file_in_the_order_of_time():
    items, time = in_order_of_time(ties=10)
    log = InteractionLog.from_columns("t", ["a"] * 1000, items, time)
    assert names(log, "a") == items
    assert "10 of 1,000 events have the time of the event before them, which is few: they keep" in log.notes[0]


def test_many_events_of_equal_time_are_drawn_even_where_the_file_is_in_the_order_of_time():
    items, time = in_order_of_time(ties=11)
    one, same, other = (InteractionLog.from_columns("t", ["a"] * 1000, items, time, seed=s) for s in (1, 1, 2))
    assert names(one, "a") == names(same, "a") != names(other, "a")
    assert names(one, "a")[:12] != items[:12]
    assert sorted(names(one, "a")[:12]) == items[:12]
    assert names(one, "a")[12:] == items[12:]
    assert "11 of 1,000 events" in one.notes[0]
    assert "were ordered by the seed" in one.notes[0]


def test_events_of_different_users_at_the_same_time_are_no_ties():
    log = InteractionLog.from_columns("t", ["a", "b"] * 50, list("xy") * 50, np.repeat(np.arange(50.0), 2))
    assert log.notes == ()


def test_a_table_sorted_by_item_says_no_more_when_it_is_sorted_by_time_afterwards():
    draw = np.random.default_rng(0)
    item, time = np.arange(600), draw.integers(0, 150, 600).astype(float)
    sorted_by_time = np.argsort(time, kind="stable")
    log = InteractionLog.from_columns("t", ["a"] * 600, item[sorted_by_time], time[sorted_by_time])
    tied = np.diff(log.time) == 0
    rising = float((np.diff([int(log.items[i]) for i in log.item])[tied] > 0).mean())
    assert 0.4 < rising < 0.6  # 1.0 in the order of the file


def test_the_generator_is_believed_about_events_of_equal_time():
    items, time = in_order_of_time(ties=500)
    log = InteractionLog.from_columns("t", ["a"] * 1000, items, time, synthetic=True)
    assert names(log, "a") == items
    assert log.notes == ()


def test_events_of_equal_time_are_drawn_where_the_file_is_sorted_otherwise():
    items = [f"{k:03d}" for k in range(200)]
    time = np.where(np.arange(200) % 2, 1.0, 5.0)
    log = InteractionLog.from_columns("t", ["a"] * 200, items, time)
    first = names(log, "a")[:100]
    assert sorted(first) == items[1::2]
    assert first != items[1::2]
    assert "198 events of equal time were ordered by the seed" in log.notes[0]


def test_a_table_without_time_is_ordered_by_the_seed_and_says_so():
    items = [f"{k:03d}" for k in range(100)]
    one, same, other = (InteractionLog.from_columns("t", ["a"] * 100, items, seed=s) for s in (1, 1, 2))
    assert names(one, "a") == names(same, "a") != names(other, "a")
    assert not one.ordered
    assert "no time" in one.notes[0]


def test_immediate_repeats_are_dropped_within_a_user_only():
    log = InteractionLog.from_columns("t", ["a", "a", "a", "b"], ["x", "x", "y", "y"], [1.0, 2.0, 3.0, 1.0])
    short = log.without_immediate_repeats()
    assert names(short, "a") == ["x", "y"]
    assert names(short, "b") == ["y"]
    assert "1 immediate repeats" in short.notes[-1]


def test_context_travels_with_its_event():
    mood = Category.of(["sad", "glad", "calm"])
    log = InteractionLog.from_columns("t", ["a"] * 3, list("xyz"), [3.0, 1.0, 2.0], context={"mood": mood})
    assert [log.context["mood"].names[c] for c in log.context["mood"].codes] == ["glad", "calm", "sad"]


def test_rare_categories_become_other_and_missing_ones_stay_missing():
    column = Category.of(["a"] * 5 + ["b"] * 3 + ["c", "d", None], at_most=3)
    assert column.names == ("a", "b", "other")
    assert column.codes.tolist() == [0] * 5 + [1] * 3 + [2, 2, -1]


def test_items_that_share_a_title_keep_apart():
    log = InteractionLog.from_columns("t", ["a"] * 3, ["1", "2", "3"], [1.0, 2.0, 3.0])
    assert log.with_item_names({"1": "Emma", "2": "Emma"}).items == ("Emma [1]", "Emma [2]", "3")


def test_all_problems_of_the_columns_are_told_at_once():
    with pytest.raises(DataError) as caught:
        InteractionLog.from_columns("t", ["a", None, "b"], ["x", "y", None], [1.0, 2.0, np.nan])
    message = str(caught.value)
    assert "3 problems" in message
    assert all(word in message for word in ("no user", "no item", "no readable time", "row 1", "row 2"))


def test_an_empty_log_is_refused():
    with pytest.raises(DataError, match="no events"):
        InteractionLog.from_columns("t", [], [])


def test_the_first_of_january_1970_was_a_thursday_at_midnight():
    assert hour_of_day(np.array([0.0, 5400.0])).tolist() == [0.0, 1.5]
    assert day_of_week(np.array([0.0, 4 * 86400.0])).tolist() == [3, 0]


def test_repeat_share_tells_apps_from_films():
    again = InteractionLog.from_columns("t", ["a"] * 4, list("xyxy"), [1.0, 2.0, 3.0, 4.0])
    never = InteractionLog.from_columns("t", ["a"] * 4, list("wxyz"), [1.0, 2.0, 3.0, 4.0])
    assert again.repeat_share == 0.5
    assert never.repeat_share == 0.0

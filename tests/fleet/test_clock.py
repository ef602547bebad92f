from __future__ import annotations

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.fleet import (
    Availability,
    Clock,
    Deadline,
    Fate,
    FirstArrivals,
    Fleet,
    Load,
    PartialWork,
    WaitForAll,
    expected,
    lognormal,
)
from tests.fleet.small import asked, fleets, rules, three


def fates(outcome):
    return [Fate(fate).name for fate in outcome.fate]


def test_waiting_for_all_lasts_as_long_as_the_slowest():
    outcome = Clock(three(), 0).round(0, asked(), WaitForAll(), start=100.0)
    assert outcome.arrival.tolist() == [125.0, 135.0, 155.0]
    assert (outcome.start, outcome.end, outcome.seconds) == (100.0, 155.0, 55.0)
    assert outcome.counted.tolist() == [0, 1, 2]
    assert outcome.device_seconds.tolist() == [25.0, 35.0, 55.0]
    assert (outcome.bytes_down.sum(), outcome.bytes_up.sum()) == (300.0, 150.0)


def test_after_a_deadline_who_is_not_done_is_late_and_stops():
    outcome = Clock(three(), 0).round(0, asked(), Deadline(40.0), start=0.0)
    assert fates(outcome) == ["COUNTED", "COUNTED", "LATE"]
    assert outcome.end == 40.0
    assert (outcome.download[2], outcome.compute[2], outcome.upload[2]) == (10.0, 30.0, 0.0)
    assert outcome.bytes_up.tolist() == [50.0, 50.0, 0.0]
    assert outcome.work.tolist() == [10.0, 10.0, 0.0]
    assert outcome.failures == {"late": 1, "dropped": 0, "left": 0, "unavailable": 0}


def test_a_round_ends_before_its_deadline_when_nobody_is_left_to_wait_for():
    assert Clock(three(), 0).round(0, asked(), Deadline(1000.0), start=0.0).end == 55.0


def test_a_report_at_the_very_deadline_counts():
    fleet = Fleet.of([0.1], down=10.0, up=10.0)
    outcome = Clock(fleet, 0).round(0, Load([0], 3.0), Deadline(0.3), start=7.0)
    assert outcome.counted.tolist() == [0]


def test_the_first_arrivals_close_a_round():
    outcome = Clock(three(), 0).round(0, asked(), FirstArrivals(2), start=0.0)
    assert fates(outcome) == ["COUNTED", "COUNTED", "LATE"]
    assert outcome.end == 35.0
    assert outcome.compute[2] == 25.0


def test_of_arrivals_at_one_time_only_as_many_count_as_are_asked_for():
    outcome = Clock(Fleet.of(np.ones(5)), 0).round(0, Load(np.arange(5), 1.0), FirstArrivals(2), start=0.0)
    assert outcome.counted.tolist() == [0, 1]


def test_too_few_arrivals_are_waited_for_until_all_are_in():
    assert Clock(three(), 0).round(0, asked(), FirstArrivals(9), start=0.0).end == 55.0


def test_under_a_deadline_each_does_the_steps_that_fit():
    """40 seconds less 10 of download and 5 of upload leave 25: two steps of 3 examples at 4 seconds, and one left."""
    outcome = Clock(three(), 0).round(0, asked(step=3.0), PartialWork(40.0), start=0.0)
    assert outcome.work.tolist() == [10.0, 10.0, 6.0]
    assert outcome.arrival.tolist() == [25.0, 35.0, 39.0]
    assert outcome.end == 39.0


def test_steps_that_fit_exactly_are_done_whatever_the_rounding():
    """0.3 / 0.1 is a little less than 3 in floating point."""
    outcome = Clock(Fleet.of([0.1]), 0).round(0, Load([0], 5.0), PartialWork(0.3), start=0.0)
    assert outcome.work.tolist() == [3.0]


def test_a_client_for_whom_no_step_fits_downloads_and_gives_up():
    outcome = Clock(three(), 0).round(0, asked(step=10.0), PartialWork(30.0), start=0.0)
    assert fates(outcome) == ["COUNTED", "LATE", "LATE"]
    assert outcome.device_seconds.tolist() == [25.0, 10.0, 10.0]
    assert outcome.bytes_up.tolist() == [50.0, 0.0, 0.0]
    assert outcome.end == 25.0


def test_who_is_not_there_is_unavailable_and_costs_nothing():
    table = Availability.of_intervals(3, [0, 1, 2], [0, 5, 0], [100, 100, 30], 100)
    outcome = Clock(three(availability=table), 0).round(0, asked(), WaitForAll(), start=0.0)
    assert fates(outcome) == ["COUNTED", "UNAVAILABLE", "LEFT"]
    assert outcome.device_seconds.tolist() == [25.0, 0.0, 30.0]
    assert outcome.end == 30.0


def test_a_patient_server_waits_for_who_comes_soon():
    table = Availability.of_intervals(3, [0, 1, 2], [0, 5, 20], [100, 100, 100], 100)
    outcome = Clock(three(availability=table), 0).round(0, asked(), WaitForAll(), start=0.0, patience=10.0)
    assert fates(outcome) == ["COUNTED", "COUNTED", "UNAVAILABLE"]
    assert outcome.end == 40.0


def test_a_round_without_anybody_ends_at_once_and_says_when_to_wake():
    table = Availability.of_intervals(3, [0, 1, 2], [50, 60, 70], [100, 100, 100], 100)
    clock = Clock(three(availability=table), 0)
    outcome = clock.round(0, asked(), Deadline(40.0), start=3.0)
    assert (outcome.end, len(outcome.counted)) == (3.0, 0)
    assert outcome.failures["unavailable"] == 3
    assert clock.wake(3.0) == 50.0
    assert clock.wake(199.5) == 199.5
    assert Clock(three(availability=Availability.of_intervals(3, [], [], [], 9)), 0).wake(3.0) == inf


def test_a_deadline_that_nobody_meets_counts_nobody_and_wastes_all():
    outcome = Clock(three(), 0).round(0, asked(), Deadline(20.0), start=0.0)
    assert (outcome.end, outcome.counted.tolist()) == (20.0, [])
    assert outcome.device_seconds.tolist() == [20.0, 20.0, 20.0]


def test_a_round_in_which_nobody_is_asked_is_empty():
    outcome = Clock(three(), 0).round(0, Load([], []), FirstArrivals(1), start=2.0)
    assert (outcome.end, len(outcome.counted)) == (2.0, 0)


def test_what_is_expected_is_the_time_without_jitter():
    assert expected(three(jitter=1.0), asked()).tolist() == [25.0, 35.0, 55.0]


@given(fleets(), rules, st.integers(0, 99), st.integers(0, 5), st.sampled_from([0.0, 10.0]))
def test_who_counts_was_there_from_its_start_to_its_report(fleet, rule, start, seed, patience):
    load = Load(np.arange(len(fleet)), 8.0, down=10.0, up=10.0, step=3.0)
    outcome = Clock(fleet, seed).round(0, load, rule, start, patience=patience)
    who, counts = outcome.counted, outcome.counts
    begin = outcome.arrival[counts] - outcome.device_seconds[counts]
    assert (begin > start - 1e-6).all()
    assert (fleet.availability.until(who, begin + 1e-6) >= outcome.arrival[counts] - 1e-9).all()
    away = ~fleet.availability.available(None, float(start))
    if not patience:
        assert (outcome.fate[away] == Fate.UNAVAILABLE).all()


@given(fleets(), rules, st.integers(0, 99), st.integers(0, 5))
def test_books_of_a_round_balance(fleet, rule, start, seed):
    load = Load(np.arange(len(fleet)), 8.0, down=10.0, up=10.0, step=3.0)
    outcome = Clock(fleet, seed).round(1, load, rule, start)
    assert start <= outcome.end <= start + rule.seconds
    assert sum(outcome.failures.values()) + len(outcome.counted) == len(fleet)
    assert (outcome.device_seconds <= outcome.seconds + 1e-9).all()
    assert ((outcome.work > 0) == outcome.counts).all()
    assert np.isfinite(outcome.arrival[outcome.counts]).all()
    assert (outcome.bytes_up[outcome.counts] == 10.0).all()
    assert ((outcome.bytes_down <= 10.0) & (outcome.bytes_up <= 10.0)).all()


@given(fleets(), st.floats(0.5, 100), st.floats(0, 50), st.integers(0, 99))
def test_a_longer_deadline_keeps_everybody_who_counted(fleet, seconds, more, start):
    load = Load(np.arange(len(fleet)), 8.0, down=10.0, up=10.0)
    clock = Clock(fleet, 3)
    short, long = (clock.round(0, load, Deadline(s), start) for s in (seconds, seconds + more))
    assert set(short.counted) <= set(long.counted)


@given(fleets(), st.integers(1, 8), st.integers(0, 99))
def test_more_arrivals_keep_everybody_who_counted(fleet, count, start):
    load = Load(np.arange(len(fleet)), 8.0, down=10.0, up=10.0)
    few, more = (Clock(fleet, 3).round(0, load, FirstArrivals(k), start) for k in (count, count + 1))
    assert set(few.counted) <= set(more.counted)
    assert len(few.counted) <= count


@given(fleets(), st.floats(0.5, 100), st.floats(0, 50), st.integers(0, 99))
def test_partial_work_is_what_fits_and_no_less(fleet, seconds, more, start):
    """Without a margin for jitter; with a longer deadline nobody does less."""
    step, work, clock = 3.0, 8.0, Clock(fleet, 3)
    load = Load(np.arange(len(fleet)), work, down=10.0, up=10.0, step=step)
    outcome = clock.round(0, load, PartialWork(seconds, margin=0.0), start)
    at = outcome.counts
    assert (outcome.arrival[at] <= start + seconds + 1e-6).all()
    assert np.isin(outcome.work[at], (3.0, 6.0, work)).all()
    one_more = outcome.download[at] + (outcome.work[at] + step) * fleet.seconds[at] + 10.0 / fleet.up[at]
    assert (one_more[outcome.work[at] < work - step] > seconds - 1e-6).all()
    longer = clock.round(0, load, PartialWork(seconds + more, margin=0.0), start)
    both = at & longer.counts
    assert (longer.work[both] >= outcome.work[both]).all()


@given(fleets(), st.data(), st.integers(0, 99))
def test_what_becomes_of_a_client_does_not_depend_on_the_cohort(fleet, data, start):
    chosen = np.array(data.draw(st.permutations(range(len(fleet))))[: data.draw(st.integers(1, len(fleet)))])
    clock, rule = Clock(fleet, 11), PartialWork(40.0)
    everybody = clock.round(4, Load(np.arange(len(fleet)), 8.0, 10.0, 10.0, 2.0), rule, start)
    some = clock.round(4, Load(chosen, 8.0, 10.0, 10.0, 2.0), rule, start)
    for name in ("fate", "work", "arrival"):
        assert getattr(some, name).tolist() == getattr(everybody, name)[chosen].tolist()


def test_a_round_is_the_same_every_time_and_another_round_is_not():
    clock = Clock(lognormal(500, seed=1), seed=2)
    first, again, other = (clock.round(r, Load(np.arange(500), 5.0), WaitForAll(), 0.0) for r in (0, 0, 1))
    assert first.fate.tolist() == again.fate.tolist()
    assert first.fate.tolist() != other.fate.tolist()


def test_failures_by_the_hour_follow_their_hazard():
    """Of 20,000 that work for 1,800 seconds at 2 failures an hour, 1 - 1/e fail: within five standard errors, which a
    right clock exceeds with probability 6e-7."""
    many, fails = 20000, 1 - np.exp(-1)
    fleet = Fleet.of(np.ones(many), hazard=2.0)
    outcome = Clock(fleet, 5).round(0, Load(np.arange(many), 1800.0), WaitForAll(), 0.0)
    share = outcome.failures["dropped"] / many
    assert abs(share - fails) < 5 * np.sqrt(fails * (1 - fails) / many)


def test_failures_by_the_round_do_not_depend_on_its_length():
    """8 % of 20,000, within five standard errors, and half of the work done on average: each bound is exceeded by a
    right clock with probability 6e-7."""
    many = 20000
    for work in (1.0, 1000.0):
        outcome = Clock(Fleet.of(np.ones(many), dropout=0.08), 5).round(
            0, Load(np.arange(many), work), WaitForAll(), 0.0
        )
        dropped = outcome.fate == Fate.DROPPED
        assert abs(dropped.mean() - 0.08) < 5 * np.sqrt(0.08 * 0.92 / many)
        done = outcome.compute[dropped] / work
        assert abs(done.mean() - 0.5) < 5 * np.sqrt(1 / 12 / dropped.sum())


def test_transfers_jitter_around_their_median():
    """Logarithms of 20,000 download times have mean 0 and deviation 0.4, within five standard errors (6e-7 each)."""
    many = 20000
    fleet = Fleet.of(np.full(many, 1e-9), down=10.0, jitter=0.4)
    outcome = Clock(fleet, 8).round(0, Load(np.arange(many), 1.0, down=10.0), WaitForAll(), 0.0)
    logs = np.log(outcome.download)
    assert abs(logs.mean()) < 5 * 0.4 / np.sqrt(many)
    assert abs(logs.std() - 0.4) < 5 * 0.4 / np.sqrt(2 * many)


def test_with_a_margin_of_two_deviations_as_many_are_late_as_it_says():
    """2.3 % (one tail of a normal law beyond 2), of clients that all are cut short, by steps far below a second."""
    many, tail = 20000, 0.02275
    fleet = Fleet.of(np.ones(many), up=10.0, jitter=0.3)
    load = Load(np.arange(many), 1000.0, up=100.0, step=1e-6)
    late = Clock(fleet, 9).round(0, load, PartialWork(100.0), 0.0).failures["late"]
    assert abs(late / many - tail) < 5 * np.sqrt(tail * (1 - tail) / many)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Deadline(0.0), "seconds is 0.0"),
        (Deadline(float("nan")), "seconds is nan"),
        (FirstArrivals(0), "count is 0"),
        (FirstArrivals(2, seconds=-1.0), "seconds is -1.0"),
        (PartialWork(-1.0, margin=-2.0), "2 problems"),
    ],
)
def test_a_rule_that_cannot_be_kept_is_refused(rule, said):
    with pytest.raises(UsageError, match=said):
        Clock(three(), 0).round(0, asked(), rule, 0.0)


@pytest.mark.parametrize(
    ("load", "said"),
    [
        (lambda: Load([0, 0], 1.0), "asked twice"),
        (lambda: Load([0, 1], [1.0]), r"work has shape \(1,\)"),
        (lambda: Load([0], -1.0), "work is -1: give finite numbers from 0"),
        (lambda: Load([0], "much"), "work cannot be read as numbers"),
        (lambda: Load([0.5], 1.0), "clients are float64"),
        (lambda: Load([True, False], 1.0), "clients are bool"),
        (lambda: Clock(three(), 1.5).round(0, asked(), WaitForAll(), 0.0), "the seed is 1.5"),
        (lambda: Load([0], 1.0, down=np.inf, up=np.nan), "2 problems"),
        (lambda: Load([0], 1.0, step=0.0), "step is"),
        (lambda: Clock(three(), 0).round(0, Load([3], 1.0), WaitForAll(), 0.0), "client 3 is not in the fleet"),
        (lambda: Clock(three(), 0).round(-1, asked(), WaitForAll(), -5.0), "2 problems"),
        (lambda: Clock(three(), 0).round(0, asked(), WaitForAll(), 0.0, patience=-1.0), "patience"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused(load, said):
    with pytest.raises(UsageError, match=said):
        load()

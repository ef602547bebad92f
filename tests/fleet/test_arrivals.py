from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.fleet import Arrivals, Availability, Clock, Fate, Fleet, Load, Tally, WaitForAll, joined
from tests.fleet.small import fleets


def test_clients_that_start_again_at_once_end_in_the_order_of_time():
    """Devices of 2 and 3 seconds: reports at 2, 3, 4, 6, 6, 8; of the two at 6 the one that started first is first."""
    flow = Arrivals(Fleet.of([2.0, 3.0]), seed=0, concurrency=2)
    flow.start(Load([0, 1], 1.0), version=0)
    seen = []
    for version in range(6):
        event, _ = flow.pop()
        seen.append((event.time, event.client, event.version, event.counts))
        flow.start(Load([event.client], 1.0), version=version + 1)
    assert seen == [
        (2.0, 0, 0, True),
        (3.0, 1, 0, True),
        (4.0, 0, 1, True),
        (6.0, 1, 2, True),
        (6.0, 0, 3, True),
        (8.0, 0, 5, True),
    ]


@given(fleets(), st.integers(0, 9), st.integers(1, 4), st.data())
def test_time_never_goes_back_and_nobody_runs_twice_at_a_time(fleet, seed, concurrency, data):
    flow = Arrivals(fleet, seed, concurrency)
    costs, tally, starts = [], Tally(fleet), 0
    for _ in range(12):
        idle = np.setdiff1d(np.arange(len(fleet)), flow.running)
        chosen = data.draw(st.permutations(idle.tolist()))[: flow.free]
        flow.start(Load(chosen, 4.0, 10.0, 10.0), version=0)
        starts += len(chosen)
        assert len(flow) <= concurrency
        before = flow.now
        event, cost = flow.pop()
        assert before <= event.time == flow.now
        assert event.counts == (cost.fate[0] == Fate.COUNTED)
        assert cost.clients.tolist() == [event.client]
        costs.append(cost)
    costs.append(flow.stop())
    assert len(flow) == len(flow.running) == 0
    whole = joined(costs, 0.0, flow.now)
    tally.add(whole)
    assert len(whole.clients) == tally.asked.sum() == starts
    assert np.isfinite(whole.device_seconds).all()
    assert whole.work[~whole.counts].sum() == 0


@given(fleets(), st.integers(0, 9))
def test_clients_that_start_once_end_as_in_a_synchronous_round(fleet, seed):
    load = Load(np.arange(len(fleet)), 4.0, 10.0, 10.0)
    flow = Arrivals(fleet, seed, concurrency=len(fleet))
    flow.start(load, version=0)
    events = joined([flow.pop()[1] for _ in range(len(fleet))], 0.0, flow.now)
    wanted = Clock(fleet, seed).round(0, load, WaitForAll(), start=0.0)
    order = np.argsort(events.clients)
    for name in ("fate", "work", "arrival", "download", "compute", "upload"):
        assert getattr(events, name)[order].tolist() == getattr(wanted, name).tolist()
    assert flow.now == wanted.end


@given(fleets(), st.integers(0, 9), st.integers(0, 6))
def test_a_clock_goes_on_from_its_state_as_if_it_had_never_stopped(fleet, seed, before):
    def go_on(flow, events):
        for _ in range(events):
            idle = np.setdiff1d(np.arange(len(fleet)), flow.running)[: flow.free]
            flow.start(Load(idle, 4.0, 10.0, 10.0), version=events, patience=5.0)
            yield flow.pop()[0]

    flow = Arrivals(fleet, seed, concurrency=3)
    list(go_on(flow, before))
    again = Arrivals.resumed(fleet, seed, 3, flow.state())
    assert (again.now, again.running.tolist()) == (flow.now, flow.running.tolist())
    assert list(go_on(again, 6)) == list(go_on(flow, 6))


def test_a_client_is_drawn_anew_at_every_start():
    flow = Arrivals(Fleet.of([1.0], down=10.0, jitter=1.0), seed=0, concurrency=1)
    lengths = set()
    for _ in range(5):
        before = flow.now
        flow.start(Load([0], 1.0, down=10.0), version=0)
        flow.pop()
        lengths.add(flow.now - before)
    assert len(lengths) == 5


def test_who_is_not_there_ends_at_once():
    fleet = Fleet.of([1.0, 1.0], availability=Availability.of_intervals(2, [0, 1], [0, 50], [100, 100], 100))
    flow = Arrivals(fleet, seed=0, concurrency=2)
    flow.start(Load([0, 1], 10.0), version=0)
    event, cost = flow.pop()
    assert (event.time, event.client, event.counts) == (0.0, 1, False)
    assert cost.fate.tolist() == [Fate.UNAVAILABLE]
    assert cost.device_seconds.tolist() == [0.0]


def test_stopping_wastes_what_was_done_so_far():
    flow = Arrivals(Fleet.of([2.0, 30.0]), seed=0, concurrency=2)
    flow.start(Load([0, 1], 1.0), version=0)
    flow.pop()
    left = flow.stop()
    assert (left.clients.tolist(), left.fate.tolist(), left.compute.tolist()) == ([1], [Fate.LATE], [2.0])


def test_time_can_be_moved_up_to_the_next_event_and_no_further():
    flow = Arrivals(Fleet.of([2.0]), seed=0, concurrency=1)
    flow.advance(5.0)
    flow.start(Load([0], 1.0), version=0)
    flow.advance(6.0)
    for wrong in (5.0, 7.5, np.nan):
        with pytest.raises(UsageError, match="is not from 6, now, to 7, the next event"):
            flow.advance(wrong)


def test_misuse_is_refused():
    flow = Arrivals(Fleet.of([1.0, 1.0, 1.0]), seed=0, concurrency=2)
    with pytest.raises(UsageError, match="nobody is on the way"):
        flow.pop()
    flow.start(Load([0], 1.0), version=0)
    with pytest.raises(UsageError, match="2 problems") as error:
        flow.start(Load([0, 1], 1.0), version=0)
    assert "1 are free" in str(error.value)
    assert "on their way already: [0]" in str(error.value)
    assert flow.running.tolist() == [0]
    with pytest.raises(UsageError, match="concurrency is 0"):
        Arrivals(Fleet.of([1.0]), seed=0, concurrency=0)

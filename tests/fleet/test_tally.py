from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.fleet import Clock, Deadline, Tally, gini
from tests.fleet.small import asked, three


def test_the_books_of_two_rounds_by_hand():
    """After 40 seconds of each round the third device, busy for all of it, is late; the others took 25 and 35."""
    fleet = three()
    clock, tally = Clock(fleet, 0), Tally(fleet)
    first = clock.round(0, asked(), Deadline(40.0), start=20.0)
    tally.add(first)
    tally.add(clock.round(1, asked(), Deadline(40.0), start=first.end + 100.0))
    booked = tally.as_json()
    assert json.loads(json.dumps(booked)) == booked
    assert booked["virtual_hours"] == pytest.approx(180 / 3600)
    assert booked["device_hours"] == pytest.approx(200 / 3600)
    assert booked["device_hours_by_phase"] == pytest.approx(
        {"download": 60 / 3600, "compute": 120 / 3600, "upload": 20 / 3600}
    )
    assert booked["wasted_fraction"] == pytest.approx(80 / 200)
    assert (booked["bytes_down"], booked["bytes_up"], booked["bytes_wasted"]) == (600, 200, 200)
    assert booked["participation_by_tier"] == [0.5, 0.5, 0.0]
    assert booked["participation_gini"] == pytest.approx(1 / 3)
    assert booked["failures"] == {"late": 2, "dropped": 0, "left": 0, "unavailable": 0, "abandoned": 0}
    assert tally.asked.tolist() == [2, 2, 2]
    assert tally.reports.tolist() == [2, 2, 0]
    assert tally.representation([0]) == pytest.approx(1.5)
    assert tally.representation([2]) == 0.0


def test_of_an_abandoned_round_all_work_is_wasted_and_nobody_took_part():
    fleet = three()
    tally = Tally(fleet)
    tally.add(Clock(fleet, 0).round(0, asked(), Deadline(40.0), start=0.0), abandoned="below the minimum cohort")
    assert tally.wasted_fraction == 1.0
    assert tally.reports.tolist() == [0, 0, 0]
    assert tally.failures["abandoned"] == 2
    assert tally.as_json()["rounds_abandoned"] == {"below the minimum cohort": 1}
    assert tally.representation([0]) == 0.0


def test_books_go_on_from_their_state():
    fleet = three()
    tally, outcome = Tally(fleet), Clock(fleet, 0).round(0, asked(), Deadline(40.0), start=20.0)
    tally.add(outcome)
    state = tally.state()
    again = Tally.resumed(fleet, state | {"sums": json.loads(json.dumps(state["sums"]))})
    for books in (tally, again):
        books.add(outcome, abandoned="too few")
    assert again.as_json() == tally.as_json()
    assert again.reports.tolist() == tally.reports.tolist()


def test_empty_books_are_zero():
    booked = Tally(three()).as_json()
    assert (booked["virtual_hours"], booked["wasted_fraction"], booked["participation_gini"]) == (0.0, 0.0, 0.0)
    assert booked["participation_by_tier"] == [0.0, 0.0, 0.0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_the_gini_coefficient_is_half_the_relative_mean_difference(counts):
    values = np.array(counts, float)
    difference = np.abs(values[:, None] - values[None, :]).mean()
    assert gini(values) == pytest.approx(difference / (2 * values.mean()) if values.any() else 0.0, abs=1e-12)


def test_the_gini_coefficient_of_equals_and_of_one_who_has_all():
    assert gini([3, 3, 3]) == pytest.approx(0.0)
    assert gini([0, 0, 0, 8]) == pytest.approx(3 / 4)

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import DataError
from tacit.fleet import Availability, Flag, Fleet


def test_one_number_stands_for_all_devices():
    fleet = Fleet.of([1.0, 2.0], down=5.0, hazard=[0.0, 1.0])
    assert len(fleet) == 2
    assert fleet.down.tolist() == [5.0, 5.0]
    assert fleet.hazard.tolist() == [0.0, 1.0]
    assert fleet.availability.everybody


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40), st.integers(1, 6))
def test_tiers_are_of_equal_size_and_ordered_by_compute(seconds, tiers):
    fleet = Fleet.of(seconds, tiers=tiers)
    sizes = np.bincount(fleet.tier)
    assert sizes.max() - sizes.min() <= 1
    assert fleet.tiers == len(sizes) == min(tiers, len(seconds))
    assert (np.diff(fleet.tier[np.argsort(seconds, kind="stable")]) >= 0).all()


def test_devices_that_are_taken_keep_all_that_they_have():
    table = Availability.of_intervals(3, [0, 2], [1, 3], [2, 4], 10)
    fleet = Fleet.of(
        [3.0, 1.0, 2.0], memory=[1, 2, 3], version=[7, 8, 9], tiers=3, availability=table, names=["a", "b", "c"]
    )
    taken = fleet.take([2, 0])
    assert taken.seconds.tolist() == [2.0, 3.0]
    assert taken.memory.tolist() == [3.0, 1.0]
    assert taken.tier.tolist() == [1, 2]
    assert taken.version.tolist() == [9, 7]
    assert taken.names.tolist() == ["c", "a"]
    assert taken.availability.available(None, 3.5).tolist() == [True, False]


def test_a_fleet_is_aligned_with_a_population_by_name():
    fleet = Fleet.of([3.0, 1.0], names=["a", "b"])
    assert fleet.aligned(["b", "a"]).seconds.tolist() == [1.0, 3.0]
    with pytest.raises(DataError, match="client 'x' has no device"):
        fleet.aligned(["b", "x"])
    with pytest.raises(DataError, match="without names"):
        Fleet.of([1.0]).aligned(["a"])


def test_flags_are_asked_for_together():
    fleet = Fleet.of([1.0, 1.0, 1.0], flags=[0, Flag.CHARGING, Flag.CHARGING | Flag.UNMETERED])
    assert fleet.has(Flag.CHARGING).tolist() == [False, True, True]
    assert fleet.has(Flag.CHARGING | Flag.UNMETERED).tolist() == [False, False, True]


def test_a_description_is_json_and_has_the_percentiles():
    described = Fleet.of(np.arange(1.0, 102.0)).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["devices"] == 101
    assert described["seconds"] == {"p1": 2.0, "p10": 11.0, "p50": 51.0, "p90": 91.0, "p99": 100.0}
    assert described["share_on"]["p50"] == 1.0
    assert described["unmetered"] == 1.0
    assert described["version"] == {"0": 1.0}
    assert Fleet.of(np.ones(4), version=[2, 10, 2, 2]).describe()["version"] == {"2": 0.75, "10": 0.25}


def test_all_that_is_wrong_with_a_fleet_is_said_at_once():
    with pytest.raises(DataError) as error:
        Fleet.of(
            [1.0, -2.0, 0.0],
            memory=[1.0, 2.0],
            up=np.nan,
            jitter=9.0,
            time_zone=15,
            dropout=1.5,
            hazard=-1.0,
            availability=Availability.always(2),
            names=["a", "b", "a"],
        )
    said = str(error.value)
    assert "9 problems" in said
    for part in (
        "seconds of device 1 is -2, and 1 others: give seconds above 0",
        "memory has shape (2,)",
        "up of device 0 is nan, and 2 others",
        "jitter of device 0 is 9",
        "from -12 to 14",
        "from 0 to 1",
        "hazard of device 0 is -1",
        "availability is of 2 devices",
        "two devices have one name",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: Fleet.of([]), DataError, "at least one device"),
        (lambda: Fleet.of(["fast"]), DataError, "seconds cannot be read as numbers"),
        (lambda: Fleet.of([1.0], flags=[300]), DataError, "flags cannot be read as bits"),
        (lambda: Fleet.of([1.0], version=[-1]), DataError, "version of device 0 is -1: give whole numbers from 0"),
        (lambda: Fleet.of([1.0], version=[2**40]), DataError, "version of device 0 is 1099511627776: give"),
        (lambda: Fleet.of([1.0], version=[1.5]), DataError, "version cannot be read as whole numbers"),
        (lambda: Fleet.of([1.0], version=[np.nan]), DataError, "version cannot be read as whole numbers"),
        (lambda: Fleet.of([1.0, 2.0], version=[1]), DataError, r"version has shape \(1,\)"),
        (lambda: Fleet.of([1.0], tiers=0), DataError, "tiers is 0"),
        (lambda: Fleet.of([1.0]).take([1]), DataError, "positions from 0 to 0"),
        (lambda: Fleet.of([[1.0]]), DataError, r"shape \(1, 1\)"),
    ],
)
def test_what_is_no_fleet_is_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_a_fleet_cannot_be_changed():
    speeds = np.array([1.0, 2.0])
    fleet = Fleet.of(speeds)
    speeds[0] = 9.0
    assert fleet.seconds[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        fleet.seconds[0] = 9.0

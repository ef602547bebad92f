from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.fleet import Flag, lognormal, phones, silos
from tacit.fleet.device import REAL

MANY = 20000


@pytest.fixture(scope="module")
def many():
    return phones(MANY, seed=1)


def spread(column):
    low, high = np.percentile(column, [1, 99])
    return high / low


def test_compute_spreads_a_hundredfold_and_links_fiftyfold(many):
    """The logarithm of the quotient of two percentiles of 20,000 has a standard error of 0.037 sigma (percentiles 1 and
    99 of a normal law: sqrt(2 p (1 - p) / N) / density): within five of them, and a right draw fails at 6e-7 each."""
    error = 5 * np.sqrt(2 * 0.01 * 0.99 / MANY) / 0.02665
    for column, wanted in ((many.seconds, 100.0), (many.down, 50.0), (many.up, 50.0)):
        sigma = np.log(wanted) / (2 * 2.32635)
        assert abs(np.log(spread(column) / wanted)) < error * sigma


def test_links_are_the_published_ones_in_the_median_and_correlate(many):
    """Five standard errors of a median (1.2533 sigma / sqrt(N)) and of a correlation: 6e-7 each."""
    sigma = np.log(50.0) / (2 * 2.32635)
    for column, wanted in ((many.down, 4.318e6), (many.up, 3.286e6)):
        assert abs(np.log(np.median(column) / wanted)) < 5 * 1.2533 * sigma / np.sqrt(MANY)
    found = np.corrcoef(np.log(many.down), np.log(many.up))[0, 1]
    assert abs(found - 0.45) < 5 * (1 - 0.45**2) / np.sqrt(MANY)


def test_four_times_as_many_phones_are_there_at_night_as_by_day(many):
    """[Bonawitz19], section 9. The fit is within a tenth; the phones drawn change it far less."""
    hours = np.array([many.availability.available(None, 3600.0 * hour).mean() for hour in range(7 * 24)])
    by_hour = hours.reshape(7, 24).mean(axis=0)
    assert 3.6 < by_hour.max() / by_hour.min() < 4.4
    assert np.argmax(by_hour) in range(7, 11)  # 1 to 4 at night in the middle of the four zones


def test_lengths_of_sessions_by_day_have_a_heavy_tail():
    table = phones(4000, seed=3, zones=[0]).availability
    hour = table.starts % 86400 / 3600
    lengths = (table.stops - table.starts)[(hour > 8) & (hour < 14)]
    assert lengths.mean() > 1.3 * np.median(lengths)
    assert np.percentile(lengths, 99) > 5 * np.median(lengths)


def test_a_time_zone_moves_the_night():
    west, east = (phones(4000, seed=3, zones=[zone]).availability for zone in (-8, 4))
    night = [table.available(None, 3600.0 * (24 + 10)).mean() for table in (west, east)]  # 2 o'clock in the west
    assert night[0] > 2 * night[1]
    moved = [table.available(None, 3600.0 * (24 + 10 + shift)) for table, shift in ((west, 0), (east, -12))]
    assert (moved[0] == moved[1]).all()


def test_what_is_demanded_only_takes_time_away():
    free, idle, both = (
        phones(1000, seed=5, idle=i, unmetered=u) for i, u in ((False, False), (True, False), (True, True))
    )
    for t in np.arange(0, 7 * 86400, 5000.0):
        on = [fleet.availability.available(None, t) for fleet in (free, idle, both)]
        assert (on[2] <= on[1]).all()
        assert (on[1] <= on[0]).all()
    assert (
        both.availability.share_on().mean() < idle.availability.share_on().mean() < free.availability.share_on().mean()
    )


def test_without_a_network_at_home_a_phone_never_takes_part(many):
    home = many.has(Flag.UNMETERED)
    assert abs(home.mean() - 0.85) < 5 * np.sqrt(0.85 * 0.15 / MANY)
    assert not many.availability.share_on()[~home].any()
    assert many.has(Flag.CHARGING).all()
    assert not phones(10, seed=1, unmetered=False).has(Flag.UNMETERED).any()


@settings(max_examples=10)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**40), st.integers(1, 9))
def test_a_larger_fleet_begins_with_the_same_phones(count, more, seed, days):
    few, many = phones(count, seed, days=days), phones(count + more, seed, days=days)
    for name in REAL:
        assert getattr(few, name).tolist() == getattr(many, name)[:count].tolist()
    same = many.availability.take(np.arange(count))
    assert few.availability.starts.tolist() == same.starts.tolist()
    assert few.availability.stops.tolist() == same.stops.tolist()


def test_another_seed_is_another_fleet():
    assert phones(50, 1).seconds.tolist() != phones(50, 2).seconds.tolist()
    assert phones(50, 1).availability.starts.tolist() != phones(50, 2).availability.starts.tolist()


def test_a_lognormal_fleet_differs_in_compute_alone():
    fleet = lognormal(MANY, seed=4, sigma=1.0)
    assert abs(np.log(fleet.seconds).std() - 1.0) < 5 / np.sqrt(2 * MANY)
    assert set(fleet.dropout) == {0.08}
    assert len(set(fleet.down)) == len(set(fleet.jitter)) == 1
    assert fleet.availability.everybody
    assert len(set(lognormal(9, seed=4, sigma=0.0).seconds)) == 1


def test_silos_are_always_on_and_much_alike():
    fleet = silos(MANY, seed=4)
    assert fleet.availability.everybody
    assert 2.8 < spread(fleet.seconds) < 3.2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: phones(0, 1, seconds=-1.0, compute_spread=0.5, link_spread=np.inf, zones=[]), "5 problems"),
        (lambda: phones(5, 1, zones=[20]), "from -12 to 14"),
        (lambda: phones(5, 1, days=0, tiers=0, hazard=-1), "3 problems"),
        (lambda: silos(0, 1), "count is 0"),
        (lambda: lognormal(5, 1, sigma=-1, dropout=1.0, bandwidth=0), "3 problems"),
    ],
)
def test_fleets_that_cannot_be_made_are_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()

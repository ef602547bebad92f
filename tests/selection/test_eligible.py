from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.fleet import Flag
from tacit.selection.cohort import Everyone, Poisson, Separated, Uniform
from tacit.selection.eligible import Eligible, failures
from tacit.selection.table import ClientTable
from tests.selection.tables import tables

NAN = float("nan")


def left(table: ClientTable, **wanted) -> list[int]:
    return Eligible(Everyone(), **wanted).choose(table, 0, 0).clients.tolist()


def test_each_requirement_holds_off_those_who_do_not_meet_it_and_those_unknown():
    table = ClientTable.of(
        4,
        memory=np.array([1000.0, 2000.0, NAN, 3000.0]),
        seconds=np.array([4.0, 1.0, 2.0, NAN]),
        flags=np.array([0, Flag.CHARGING, Flag.UNMETERED, Flag.CHARGING | Flag.UNMETERED], np.uint8),
        version=np.array([3, 2, 1, 0]),
    )
    assert left(table) == [0, 1, 2, 3]
    assert left(table, memory=2000) == [1, 3]
    assert left(table, charging=True) == [1, 3]
    assert left(table, unmetered=True) == [2, 3]
    assert left(table, unmetered=True, charging=True) == [3]
    assert left(table, version=2) == [0, 1]
    assert left(table, slowest=0.34) == [1, 2]
    assert left(table, slowest=0.0) == [0, 1, 2]
    assert left(table, memory=2000, version=2) == [1]
    assert left(table, memory=9000) == []


def test_the_slowest_are_a_share_of_those_who_meet_the_rest():
    table = ClientTable.of(6, seconds=np.arange(6.0), memory=np.array([1, 1, 1, 1, 0.5, 0.5]))
    assert left(table, slowest=0.5) == [0, 1, 2]
    assert left(table, slowest=0.5, memory=1) == [0, 1]


def test_nobody_is_left_out_for_being_as_slow_as_the_last_who_stays():
    assert left(ClientTable.of(5, seconds=np.array([1.0, 2, 2, 2, 3])), slowest=0.6) == [0, 1, 2, 3]


def test_the_least_reliable_are_left_out_by_their_own_failures_and_one_is_no_verdict():
    table = ClientTable.of(10)
    for round in range(20):
        table.observe(round, np.arange(9), np.arange(1, 9) if round % 2 else np.arange(0, 8))
    rates = failures(table)
    assert rates[0] == rates[8] == (10 + 10 * table.dropout) / 30
    assert rates[9] == table.dropout
    assert left(table, unreliable=0.2) == [1, 2, 3, 4, 5, 6, 7, 9]
    table.observe(20, [9], [])
    assert rates[9] < failures(table)[9] < rates[0]


@given(tables, st.floats(0, 0.99), st.floats(0, 0.99))
def test_a_share_never_takes_out_more_than_it_says(table, slowest, unreliable):
    kept = len(left(table, slowest=slowest))
    known = (table.pool & np.isfinite(table.seconds)).sum()
    assert kept >= (1 - slowest) * known - 1e-6
    assert len(left(table, unreliable=unreliable)) >= (1 - unreliable) * table.pool.sum() - 1e-6


@given(tables, st.integers(0, 2**32))
def test_coins_of_poisson_are_the_same_whoever_is_eligible(table, seed):
    everybody = Poisson(4, cap=9).choose(ClientTable.of(len(table)), seed, 3).clients
    eligible = Eligible(Poisson(4, cap=9), memory=1500)
    some = eligible.choose(table, seed, 3).clients
    pool = eligible.narrowed(table, 3).pool
    if len(everybody) < 9:
        assert some.tolist() == everybody[pool[everybody]].tolist()


def test_chance_is_claimed_for_poisson_alone_and_not_where_the_past_decides():
    assert Eligible(Poisson(3), memory=1, slowest=0.1).sampling(30) == Poisson(3).sampling(30)
    for rule in (Eligible(Poisson(3), unreliable=0.1), Eligible(Uniform(3)), Eligible(Separated(3))):
        sampling = rule.sampling(30)
        assert (sampling.kind, sampling.size, sampling.of) == ("arbitrary", 3, 30)
        assert sampling.rate is None and sampling.gap is None


@pytest.mark.parametrize(
    ("rule", "uses"),
    [
        (Eligible(Uniform(1), memory=1), ("system",)),
        (Eligible(Uniform(1), unreliable=0.1), ("system", "participation")),
    ],
)
def test_what_the_choice_follows_from_is_said(rule, uses):
    assert rule.uses == uses

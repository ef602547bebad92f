from __future__ import annotations

from math import ceil, isfinite, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.selection.oort import Oort
from tacit.selection.table import ClientTable
from tests.selection.tables import random_table, tables
from tests.selection.test_pps import slowly


def told(**columns) -> ClientTable:
    """Four clients with 10, 20, 30 and 40 examples, losses 4, 1, 1 and 0.1 of rounds 0, 1, 2 and 3, in 1 to 4 s."""
    examples, seconds = np.array([10, 20, 30, 40]), np.array([1.0, 2.0, 3.0, 4.0])
    table = ClientTable.of(4, **({"examples": examples, "seconds": seconds} | columns))
    for k, loss in enumerate([4.0, 1.0, 1.0, 0.1]):
        table.observe(k, [k], [k], np.array([loss]))
    return table


def test_utilities_are_those_of_a_case_by_hand():
    """n |loss| is 40, 20, 30, 4; its quantile 0.7 (of rank floor(0.7 * 3) = 2 of 0..3) is 30, that of seconds 3."""
    found = Oort(2, clip=0.7, pace=0.7, penalty=2.0).utilities(told(), np.arange(4), 9)
    age = [sqrt(0.1 * log(10) / seen) for seen in (1, 2, 3, 4)]
    assert found == pytest.approx([1 + age[0], 2 / 3 + age[1], 1 + age[2], (4 / 30 + age[3]) * (3 / 4) ** 2])


def test_without_a_speed_nothing_is_lost_and_without_a_penalty_neither():
    who, unknown = np.arange(4), told(seconds=np.full(4, np.nan))
    assert Oort(2).utilities(unknown, who, 9).tolist() == Oort(2, penalty=0).utilities(told(), who, 9).tolist()


def _reference(rule: Oort, table: ClientTable, round: int) -> list[float]:
    """Algorithm 1 client by client, with what the docstring says of it."""
    pool = [i for i in range(len(table)) if table.pool[i]]
    size = min(rule.cohort, len(pool))
    if size == len(pool):
        return [1.0] * size
    lower = lambda values, share: sorted(values)[int(share * (len(values) - 1))]  # noqa: E731
    given_ = [int(n) for n in table.examples if n > 0]
    examples = [int(n) or (sum(given_) / len(given_) if given_ else 1.0) for n in table.examples]
    seen = [i for i in pool if isfinite(table.loss[i])]
    unseen = [i for i in pool if i not in seen and not table.asked[i]]
    failed = [i for i in pool if i not in seen and table.asked[i]]
    utility = {}
    if seen:
        top = lower([examples[i] * abs(table.loss[i]) for i in seen], rule.clip)
        fast = [table.seconds[i] for i in pool if isfinite(table.seconds[i])]
        for i in seen:
            utility[i] = min(examples[i] * abs(table.loss[i]), top) / top if top > 0 else 0.0
            utility[i] += sqrt(0.1 * log(round + 1) / (table.loss_round[i] + 1))
            if fast and table.seconds[i] > lower(fast, rule.pace):
                utility[i] *= (lower(fast, rule.pace) / table.seconds[i]) ** rule.penalty
    base = rule.floor * size / len(pool)
    room, left = 1 - base, (1 - rule.floor) * size
    explore = min(max(rule.exploration * rule.decay**round, rule.least_exploration) * left, room * len(unseen))
    exploit = min(left - explore, room * len(seen))
    explore = min(left - exploit, room * len(unseen))
    ranked = sorted(utility.values(), reverse=True)
    last = ranked[min(ceil(exploit / room), len(ranked)) - 1] if exploit > 0 else 0.0
    keep = [i for i in seen if utility[i] >= rule.cut_off * last or len(seen) <= ceil(exploit / room)]
    speeds = sorted(table.seconds[i] for i in unseen if isfinite(table.seconds[i]))
    middle = float(np.median(speeds)) if speeds else 1.0
    speed = [1 / (table.seconds[i] if isfinite(table.seconds[i]) else middle) for i in unseen]
    chances = dict.fromkeys(pool, base)
    rest = max(left - exploit - explore, 0.0)
    parts = ((keep, [utility[i] for i in keep], exploit), (unseen, speed, explore), (failed, [1.0] * len(failed), rest))
    for who, sizes, count in parts:
        for i, chance in zip(who, slowly(sizes, count, room) if who else [], strict=True):
            chances[i] += chance
    return [chances[i] for i in pool]


@settings(deadline=None)
@given(tables, st.integers(1, 12), st.floats(0, 1), st.floats(0.2, 0.9), st.floats(0.05, 1), st.integers(30, 90))
def test_probabilities_are_those_of_a_slow_loop(table, cohort, exploration, floor, share, round):
    rule = Oort(cohort, exploration=exploration, floor=floor, cut_off=share, clip=share, pace=share)
    assert rule.inclusion(table, round) == pytest.approx(np.array(_reference(rule, table, round)), rel=1e-7, abs=1e-12)


@given(tables, st.integers(1, 50), st.integers(0, 2**32), st.integers(0, 99))
def test_a_pool_of_any_size_gives_a_full_cohort_with_a_floor_for_everybody(table, cohort, seed, round):
    rule, there = Oort(cohort), int(table.pool.sum())
    drawn, chances = rule.choose(table, seed, round), rule.inclusion(table, round)
    assert len(drawn.clients) == min(cohort, there)
    assert chances.sum() == pytest.approx(min(cohort, there))
    assert (chances >= 0.2 * min(cohort, there) / max(there, 1) - 1e-12).all()


def test_exploration_begins_high_and_ends_at_its_floor():
    """Of those with a loss, 20 of 40, as many come up as are due to them, on average by their probabilities."""
    table = ClientTable.of(40)
    table.observe(0, np.arange(20), np.arange(20), np.ones(20))
    explored = [Oort(10).inclusion(table, round)[20:].sum() for round in (1, 30, 500)]
    assert explored == pytest.approx([1 + 8 * 0.9 * 0.98, 1 + 8 * 0.9 * 0.98**30, 1 + 8 * 0.2])


def test_who_was_asked_and_gave_no_loss_is_left_to_the_floor_while_there_are_others():
    table = ClientTable.of(40)
    table.observe(0, np.arange(30), np.arange(20), np.ones(20))
    chances = Oort(10).inclusion(table, 1)
    assert chances[20:30] == pytest.approx(np.full(10, 0.2 * 10 / 40))
    assert chances[:20].min() > chances[20] and chances[30:].min() > chances[20]


def test_a_client_that_lies_about_its_loss_gains_no_more_than_the_clip():
    table = random_table(5, 40, rounds=60, there=1.0)
    honest = table.loss.copy()
    liar = int(np.nanargmin(np.where(table.examples > 0, table.loss, np.nan)))
    chances = []
    for loss in (np.nanmax(honest) * 1e2, np.nanmax(honest) * 1e9):
        table.loss[liar] = loss
        chances.append(Oort(8).inclusion(table, 61)[liar])
    assert chances[0] == pytest.approx(chances[1])


def test_a_loss_that_is_not_finite_is_no_loss():
    table = told()
    table.loss[0] = np.inf
    chances = Oort(2, exploration=1.0, decay=1.0).inclusion(table, 5)
    assert chances.sum() == pytest.approx(2)
    assert chances[0] == pytest.approx(0.2 * 2 / 4), "it was asked, and has the floor alone"


def test_what_it_uses_is_said():
    assert Oort(3).uses == ("client losses", "system", "participation")
    assert Oort(3).sampling(9).kind == "arbitrary"

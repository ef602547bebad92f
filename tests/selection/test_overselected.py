from __future__ import annotations

import numpy as np
import pytest

from tacit.selection.cohort import Uniform
from tacit.selection.eligible import Eligible
from tacit.selection.overselected import OverSelected, wanted
from tacit.selection.table import ClientTable


def after(requests: int, failed: int, clients: int = 1000) -> ClientTable:
    table = ClientTable.of(clients)
    table.asked[:requests], table.counted[: requests - failed] = 1, 1
    return table


def test_a_given_factor_is_the_factor():
    cohort = OverSelected(10, factor=1.3).choose(ClientTable.of(100), 0, 0)
    assert len(cohort.clients) == 13
    assert cohort.inclusion.tolist() == [0.13] * 13


@pytest.mark.parametrize(
    ("requests", "failed", "asked"),
    [
        (0, 0, 114),  # 100 * (1 / 0.92 + 0.05) = 113.7
        (900, 242, 139),  # 250 of 1000: 100 * (1 / 0.75 + 0.05) = 138.3
        (900, 0, 106),  # 8 of 1000: 105.8
        (900, 900, 200),
    ],
)
def test_the_factor_follows_from_the_failures_that_were_measured(requests, failed, asked):
    rule = OverSelected(100)
    assert rule.asked(after(requests, failed)) == asked
    assert len(rule.choose(after(requests, failed), 1, 2).clients) == asked <= rule.sampling(1000).cap


def test_no_more_are_asked_than_there_are_and_chance_is_not_claimed():
    rule = OverSelected(8, factor=1.5)
    assert len(rule.choose(ClientTable.of(10), 0, 0).clients) == 10
    sampling = rule.sampling(10)
    assert (sampling.kind, sampling.cap, sampling.rate) == ("arbitrary", 10, None)


def test_how_many_reports_are_wanted_is_known_inside_other_rules():
    assert wanted(OverSelected(8)) == wanted(Eligible(OverSelected(8), memory=1)) == 8
    assert wanted(Uniform(8)) is None


def test_a_measured_factor_uses_participation_and_a_given_one_nothing():
    assert OverSelected(3).uses == ("participation",)
    assert OverSelected(3, factor=1.2).uses == ()
    assert np.isclose(OverSelected(3).margin, 0.05)

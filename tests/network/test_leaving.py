"""Participants that leave, are sent away, or rest: a run goes on with those who suffice, and says why it cannot."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tacit.errors import RoundFailed
from tacit.network.enrolling import withdrawn
from tests.network.house import POLICY, Guest, data, guests, hosted, names, plan

SUM = {"aggregation": {"name": "SecureSum", "minimum": 3, "most_examples": 64, "dropout": 0.3}}
QUICK = {"network": {"answer": 3.0, "patience": 5.0, "absence": 3.0}}


def until(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


def test_a_run_goes_on_without_whom_has_withdrawn_and_says_what_remains(tmp_path):
    made = plan(4, rounds=12, **SUM, **QUICK)
    with hosted(made, tmp_path / "c") as host:
        joined = guests(host, 4, tmp_path)
        until(lambda: len(host.coordinator.progress.rows) >= 2)
        counted, remains = withdrawn(tmp_path / names(4)[0])
        run = host.wait(watched=joined[1:])
        joined[0].join(20)
    assert 1 <= counted <= 12 and len(remains) == 3
    assert joined[0].ended.state == "withdrawn"
    assert run.rows[0]["clients"] == 4 and run.rows[-1]["clients"] == 3


def test_a_run_that_needs_whom_was_revoked_ends_and_says_so(tmp_path):
    made = plan(3, rounds=200, **SUM, **QUICK)
    with hosted(made, tmp_path / "c") as host:
        guests(host, 3, tmp_path)
        until(lambda: len(host.coordinator.progress.rows) >= 1)
        host.coordinator.roll.add(host.coordinator.journal.revoke(names(3)[0], "left the consortium"))
        with pytest.raises(RoundFailed, match=r"1 of 3 have withdrawn or were revoked|were left"):
            host.wait()


def test_who_rests_by_its_own_hours_is_not_asked(tmp_path):
    later = datetime.now(UTC) + timedelta(hours=2)
    hours = (f"{later:%H}:00-{later:%H}:30",)
    made = plan(4, rounds=3, **SUM, **QUICK)
    with hosted(made, tmp_path / "c") as host:
        policies = [replace(POLICY, hours=hours, zone="UTC"), POLICY, POLICY, POLICY]
        joined = [
            Guest(host, n, data(k), tmp_path / n, policy=policy)
            for k, (n, policy) in enumerate(zip(names(4), policies, strict=True))
        ]
        for guest in joined:
            guest.start()
        until(lambda: host.coordinator.roll.notes())
        assert "this participant trains" in host.coordinator.roll.notes()[names(4)[0]]
        assert host.coordinator.progress.state == "gathering", "it counts as one who has approved only when it trains"

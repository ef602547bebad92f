"""One coordinator at a time: leases, what becomes of them, and holders that do not know that they have lost theirs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tacit.network.journal import Fenced, Journal, LeaseHeld

from .conftest import Clock
from .server import Server

HOLD = """
import sys, time
from tacit.network.journal import Journal
journal = Journal.open(sys.argv[1], holder="first", lease_seconds=float(sys.argv[2]))
print(journal.epoch, flush=True)
sys.stdin.readline()
try:
    journal.remember("late", "write")
    print("written", flush=True)
except Exception as error:
    print(type(error).__name__, flush=True)
"""


def held(where: str, seconds: float) -> subprocess.Popen[str]:
    """A process that holds the lease, and writes once more when it is told to."""
    command = [sys.executable, "-c", HOLD, where, str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "1"
    return process


def opened_within(where: str, seconds: float) -> Journal:
    until = time.monotonic() + seconds
    while True:
        try:
            return Journal.open(where, holder="second")
        except LeaseHeld:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


def test_a_second_coordinator_is_refused_and_told_who_leads(where: str) -> None:
    with Journal.open(where, holder="the first") as first:
        with pytest.raises(LeaseHeld, match="the first") as caught:
            Journal.open(where, holder="second")
        assert caught.value.holder == "the first"
        assert caught.value.until > 0
        first.remember("still", "mine")


def test_a_lease_that_was_given_back_is_taken_at_once_under_a_greater_number(where: str) -> None:
    epochs = []
    for _ in range(3):
        with Journal.open(where, holder="one") as journal:
            epochs.append(journal.epoch)
    assert epochs == [1, 2, 3]


def test_after_kill_9_the_lease_is_free_long_before_it_ends(where: str) -> None:
    first = held(where, 600)
    with pytest.raises(LeaseHeld):
        Journal.open(where, holder="second")
    first.kill()
    first.wait()
    with opened_within(where, 10) as second:
        assert second.epoch == 2


def test_a_holder_that_was_paused_for_too_long_writes_nothing_more(where: str) -> None:
    first = held(where, 0.5)
    assert first.stdin is not None
    assert first.stdout is not None
    try:
        os.kill(first.pid, signal.SIGSTOP)
        with opened_within(where, 30) as second:
            second.remember("whose", "second's")
            os.kill(first.pid, signal.SIGCONT)
            first.stdin.write("\n")
            first.stdin.flush()
            assert first.stdout.readline().strip() == "Fenced"
            assert second.recall("late") is None
            second.remember("whose", "still second's")
    finally:
        first.kill()
        first.wait()


def test_a_fenced_holder_stays_fenced_and_says_so(tmp_path: Path) -> None:
    clock = Clock()
    first = Journal.open(tmp_path / "journal", holder="first", clock=clock)
    clock.now += 14
    with pytest.raises(LeaseHeld):
        Journal.open(tmp_path / "journal", holder="second", clock=clock)
    clock.now += 2
    second = Journal.open(tmp_path / "journal", holder="second", clock=clock)
    with pytest.raises(Fenced, match="'second' does, in epoch 2"):
        first.renew()
    assert first.problem is not None
    second.close()
    with pytest.raises(Fenced):  # also when nobody else leads any more
        first.remember("a", "b")
    first.close()
    with Journal.open(tmp_path / "journal", holder="third", clock=clock) as third:
        assert third.epoch == 3


def test_a_live_holder_renews_its_lease_by_itself(where: str) -> None:
    with Journal.open(where, holder="first", lease_seconds=1.0):
        time.sleep(1.5)
        with pytest.raises(LeaseHeld):
            Journal.open(where, holder="second")


def test_a_restart_of_the_server_does_not_give_the_lease_away(server: Server) -> None:
    where = server.database()
    with Journal.open(where, holder="first", lease_seconds=60.0) as first:
        server.stop()
        server.start()
        with pytest.raises(LeaseHeld):  # though the holder's session is gone
            Journal.open(where, holder="second")
        first.remember("still", "mine")
        assert first.problem is None

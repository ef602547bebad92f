"""The day's sums: those of the log when a process starts, and then as it writes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from tacit.errors import DamagedFile
from tacit.network.consent.clock import Today
from tacit.network.consent.diary import Diary
from tacit.network.consent.log import Log
from tacit.network.consent.policy import Policy


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "log.jsonl")


def test_what_earlier_processes_did_today_counts(log):
    log.write("trained", run="a", round=0, attempt=0, seconds=2.5)
    log.write("sent", run="a", round=0, attempt=0, kind="train", size=100)
    diary, now = Diary(log, UTC), datetime.now(UTC)
    assert diary.today(now) == Today(now.date(), 2.5, 100)
    diary.write("trained", run="a", round=1, attempt=0, seconds=1.0)
    diary.write("asked", run="a", round=2, attempt=0, kind="train")
    diary.write("sent", run="a", round=1, attempt=0, kind="train", size=50)
    assert diary.today(now) == Today(now.date(), 3.5, 150) == Policy(zone="UTC").today(log.entries(), now)


def test_what_is_written_before_anybody_asks_counts_once(log):
    diary, now = Diary(log, UTC), datetime.now(UTC)
    diary.write("trained", run="a", round=0, attempt=0, seconds=1.0)
    assert diary.today(now).seconds == 1.0


def test_a_new_day_begins_with_nothing(log):
    diary, now = Diary(log, UTC), datetime.now(UTC)
    diary.write("trained", run="a", round=0, attempt=0, seconds=1.0)
    diary.today(now)
    tomorrow = now + timedelta(days=1)
    assert diary.today(tomorrow) == Today(tomorrow.date())


def test_threads_may_write_at_once(log):
    diary, now = Diary(log, UTC), datetime.now(UTC)
    diary.today(now)

    def write():
        for round in range(10):
            diary.write("trained", run="a", round=round, attempt=0, seconds=1.0)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert diary.today(now).seconds == 40.0
    assert len(log.entries()) == 40


def test_a_log_that_was_changed_is_not_counted_from(log):
    log.write("trained", run="a", round=0, attempt=0, seconds=100.0)
    log.path.write_bytes(log.path.read_bytes().replace(b"100.0", b"0.001"))
    with pytest.raises(DamagedFile):
        Diary(log, UTC).today(datetime.now(UTC))

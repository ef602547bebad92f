"""Where the coordinator's memory fails: a full disk, a database that is away, two coordinators, another version."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request

import pytest
import torch

from tacit.network.journal import State
from tests.faults.network.checker import checked
from tests.faults.network.scene import scene, until
from tests.network.journal.server import Server

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def disk(tmp_path):
    """A disk of 40 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def ready(story):
    """What /readyz answers."""
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{story.port}/readyz", timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code


def filled(folder):
    """Takes all space that is left."""
    with pytest.raises(OSError, match="space"), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return folder / "filler"


def rounds_of(story):
    """How many rounds are published, by a look at the file."""
    with sqlite3.connect(f"file:{story.run / 'journal.sqlite'}?mode=ro", uri=True) as database:
        return database.execute("SELECT count(*) FROM tacit_rounds WHERE state = 'published'").fetchone()[0]


def test_on_a_full_disk_nobody_is_admitted_and_the_run_goes_on_when_there_is_space(disk):
    """Row 16: it says that it is not ready, loses nothing that it acknowledged, and needs no person."""
    with scene(disk / "scene", 4, 40, vectors=True) as story:
        story.up()
        story.crowd(seconds=0.1)
        until(lambda: rounds_of(story) >= 2, story.said)
        filler = filled(disk)
        until(lambda: ready(story) == 503, story.said)
        before = rounds_of(story)
        filler.unlink()
        until(lambda: ready(story) == 200, story.said)
        until(lambda: rounds_of(story) > before, story.said)
        run = story.finished()
        checked(story, run)
        assert len(run.rows) == 40


@pytest.mark.slow
def test_a_coordinator_that_dies_on_a_full_disk_goes_on_when_there_is_space(disk):
    """Row 16: kill -9 while nothing can be written, a start that is refused, and one that is not."""
    with scene(disk / "scene", 4, 8, vectors=True) as story:
        story.up()
        story.crowd()
        until(lambda: rounds_of(story) >= 2, story.said)
        filler = filled(disk)
        until(lambda: ready(story) == 503, story.said)
        story.coordinator.kill()
        filler.unlink()
        run = story.up().finished()
        checked(story, run)


def test_a_database_that_is_started_anew_in_the_middle_of_a_run_loses_nothing(tmp_path):
    """Row 17: stopped as by a power cut, twice; the second time for longer than writes wait."""
    server = Server()
    try:
        with scene(tmp_path, 4, 12, vectors=True, journal=server.database()) as story:
            story.up()
            story.crowd()
            trace = story.folder / f"{story.names[0]}.trace"
            until(lambda: trace.exists() and len(trace.read_text().splitlines()) >= 3, story.said)
            server.stop()
            server.start()
            until(lambda: len(trace.read_text().splitlines()) >= 6, story.said)
            server.stop()
            until(lambda: ready(story) == 503, story.said)
            server.start()
            run = story.finished()
            checked(story, run)
            assert len(run.rows) == 12
    finally:
        server.close()


def test_a_second_coordinator_on_the_same_folder_is_refused_and_the_first_goes_on(tmp_path):
    """Row 22: the lease."""
    with scene(tmp_path, 4, 12, vectors=True) as story:
        story.up()
        story.crowd()
        until(lambda: rounds_of(story) >= 1, story.said)
        first = story.coordinator
        story.move()
        assert not story.started()
        story.coordinator = first
        assert "LeaseHeld" in (story.folder / "refused").read_text()
        run = story.finished()
        checked(story, run)


def taken_over(story, first, crowd):
    """Whether a second coordinator leads, while the first sleeps. In a transaction it would keep the file locked."""
    crowd.pause()
    time.sleep(0.5)
    first.pause()
    crowd.go_on()
    time.sleep(1.5)
    if story.started(lease=30.0):
        return True
    assert "locked" in (story.folder / "refused").read_text()
    first.go_on()
    time.sleep(0.1)
    return False


@pytest.mark.slow
def test_a_coordinator_that_was_taken_over_while_it_slept_writes_nothing_more(tmp_path):
    """Row 22: paused for longer than its lease, it wakes up beside a second one, and is fenced out."""
    with scene(tmp_path, 4, 6, vectors=True, proxied=True) as story:
        story.up(lease=1.0)
        crowd = story.crowd()
        until(lambda: rounds_of(story) >= 2, story.said)
        first = story.coordinator
        story.move()
        until(lambda: taken_over(story, first, crowd), story.said)
        first.go_on()
        assert first.ended() != 0
        run = story.finished()
        checked(story, run)
        assert len(run.rows) == 6


def test_a_journal_of_a_later_version_is_refused_in_words_and_left_as_it_was(tmp_path):
    """Row 24: after a downgrade; going back up, the run goes on with the same bits."""
    with scene(tmp_path, rounds=2) as story:
        story.crowd()
        story.up(crash="publish.after")
        assert story.coordinator.ended() == -signal.SIGKILL
        place = story.run / "journal.sqlite"
        with sqlite3.connect(place) as database:
            database.execute("UPDATE tacit_journal SET version = 99")
            database.commit()
            kept = list(database.iterdump())
        story.coordinator.start()
        assert story.coordinator.ended() != 0
        said = (story.folder / "refused").read_text()
        assert "version 99" in said
        with sqlite3.connect(place) as database:
            assert list(database.iterdump()) == kept
            database.execute("UPDATE tacit_journal SET version = 1")
        run = story.up().finished()
        assert [one.state for one in checked(story, run)].count(State.PUBLISHED) == 2
        alone = story.simulated()
        assert all(torch.equal(run.tensors[name], alone.tensors[name]) for name in alone.tensors)

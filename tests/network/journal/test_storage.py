"""Disks that are full, servers that go away, files that are something else."""

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import OperationalError

from tacit.errors import DamagedFile, StorageError, UsageError
from tacit.network.journal import Journal, State
from tacit.network.journal import journal as journal_module
from tacit.network.office import Kind, Receipt

from .server import Server


def test_no_answer_is_lost_or_taken_twice_when_the_server_restarts(server: Server) -> None:
    where = server.database()
    names = [f"p{number}" for number in range(600)]
    with Journal.open(where, holder="test") as journal:
        journal.open_round(0, 0, names, "down")
        journal.move(0, 0, State.COLLECTING)
        asked: list[Future[Receipt]] = []
        nonces: list[Future[bool]] = []
        half = threading.Event()

        def answering() -> None:
            for number, name in enumerate(names):
                asked.append(journal.answer(0, 0, name, Kind.TRAIN, b"d" * 32, 7))
                nonces.append(journal.fresh(name, bytes(16), 2**50))
                if number % 20 == 0:
                    asked[-1].exception()
                if number == 200:
                    half.set()

        thread = threading.Thread(target=answering)
        thread.start()
        half.wait()
        server.stop()
        server.start()
        thread.join()
        assert [one.result() for one in asked] == [Receipt()] * 600
        assert all(one.result() for one in nonces)
        journal.close_step(0, 0, Kind.TRAIN).result()
        assert {one.participant for one in journal.answers(0, 0, Kind.TRAIN)} == set(names)
        assert journal.problem is None


def test_while_the_server_is_away_writes_fail_and_go_on_when_it_is_back(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "PATIENCE", 0.3)
    with Journal.open(server.database(), holder="test", lease_seconds=60) as journal:
        server.stop()
        try:
            with pytest.raises(StorageError, match="runs and can be reached"):
                journal.remember("a", "b")
            assert journal.problem is not None
            with pytest.raises(StorageError):
                journal.remember("a", "c")
        finally:
            server.start()
        healed = threading.Event()
        while journal.problem is not None:
            healed.wait(0.05)
        journal.remember("a", "d")
        assert journal.recall("a") == "d"


FILL = """
import sys
from pathlib import Path
from tacit.errors import StorageError
from tacit.network.journal import Journal

place, limit = Path(sys.argv[1]), sys.argv[2]
journal = Journal.open(place, holder="test", ballast=0, lease_seconds=3000)
if limit:
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
number = 0
try:
    while True:
        journal.remember(f"k{number}", bytes(20_000))
        print(number, flush=True)
        number += 1
except StorageError as error:
    print("StorageError", bool(journal.problem), flush=True)
try:
    journal.remember("after", "x")
    print("written", flush=True)
except StorageError:
    print("refused", flush=True)
import os
os._exit(0)
"""


def filled(place: Path, limit: str = "") -> int:
    """How many writes were acknowledged until the disk was full."""
    command = [sys.executable, "-c", FILL, str(place), limit]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert said[-3:-1] == ["StorageError True", "refused"]
    assert len(said) > 6
    return len(said) - 3


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_nothing_is_acknowledged_that_is_not_written(disk: Path) -> None:
    acknowledged = filled(disk / "journal")
    subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
    with Journal.open(disk / "journal", holder="later", ballast=0) as journal:
        assert all(journal.recall(f"k{number}") == bytes(20_000) for number in range(acknowledged))


def test_on_a_limit_of_the_file_nothing_is_acknowledged_that_is_not_written(tmp_path: Path) -> None:
    acknowledged = filled(tmp_path / "journal", "500000")
    with Journal.open(tmp_path / "journal", holder="later", ballast=0) as journal:
        assert all(journal.recall(f"k{number}") == bytes(20_000) for number in range(acknowledged))


def test_a_disk_that_was_full_is_written_to_again_when_there_is_space(disk: Path) -> None:
    with Journal.open(disk / "journal", holder="test", ballast=0) as journal:
        filler = disk / "filler"
        with pytest.raises(OSError, match="space"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        with pytest.raises(StorageError, match="full"):
            journal.remember("big", bytes(100_000))
        filler.unlink()
        waiting = threading.Event()
        while journal.problem is not None:
            waiting.wait(0.05)
        journal.remember("big", bytes(100_000))


def sqlite_error(code: int) -> OperationalError:
    error = sqlite3.OperationalError("made by a test")
    error.sqlite_errorcode = code
    return OperationalError("COMMIT", {}, error)


def test_after_a_failed_flush_nothing_is_written_any_more(tmp_path: Path) -> None:
    def fail(connection: Connection) -> None:
        raise sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)

    with Journal.open(tmp_path / "journal", holder="test") as journal:
        journal.remember("before", "x")
        event.listen(journal._database.engine, "commit", fail)
        with pytest.raises(StorageError, match="look at the disk"):
            journal.remember("during", "x")
        event.remove(journal._database.engine, "commit", fail)
        for _ in range(3):
            with pytest.raises(StorageError, match="look at the disk"):
                journal.remember("after", "x")
            threading.Event().wait(0.5)  # long enough to be tried again, if it were
        assert journal.problem is not None
    with Journal.open(tmp_path / "journal", holder="test") as journal:
        assert [journal.recall(key) for key in ("before", "during", "after")] == ["x", None, None]


@pytest.mark.parametrize("happened", [False, True])
def test_a_commit_that_may_have_happened_has_its_effect_once(tmp_path: Path, happened: bool) -> None:
    with Journal.open(tmp_path / "journal", holder="test") as journal:
        dialect = journal._database.engine.dialect
        real, calls = dialect.do_commit, []

        def lost(connection: Any) -> None:
            calls.append(connection)
            if len(calls) > 1:
                real(connection)
                return
            if happened:
                real(connection)
            raise sqlite_error(sqlite3.SQLITE_BUSY).orig

        dialect.do_commit = lost
        assert journal.fresh("a", bytes(16), 2**50).result()
        assert not journal.fresh("a", bytes(16), 2**50).result()
        calls.clear()
        assert journal.note("once").result() == 1
        assert [one.event for one in journal.events()] == ["once"]
        del dialect.do_commit


def test_a_child_of_a_fork_does_not_write_and_does_not_keep_the_lease(tmp_path: Path) -> None:
    code = """
import os, sys, time
from tacit.errors import StorageError
from tacit.network.journal import Journal
journal = Journal.open(sys.argv[1], holder="parent", lease_seconds=600)
child = os.fork()
if child:
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
try:
    journal.remember("a", "b")
except StorageError:
    print("refused", flush=True)
time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "journal")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "refused\n"
    process.stdin.write("\n")
    process.stdin.flush()
    process.wait()
    with Journal.open(tmp_path / "journal", holder="next") as journal:  # though the child lives
        assert journal.recall("a") is None


def test_where_little_space_is_left_only_what_must_be_written_is(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal", holder="test") as journal:
        journal.add_token(bytes(32), expires_ms=2**50)
        journal.enrol(bytes(32), "a", b"k" * 32).result()
        journal.open_round(0, 0, ["a"], "down")
    with Journal.open(tmp_path / "journal", holder="test", ballast=2**60) as journal:
        assert journal.scarce
        for asked in (
            journal.fresh("a", bytes(16), 2**50),
            journal.answer(0, 0, "a", Kind.TRAIN, b"d" * 32, 7),
            journal.enrol(bytes(32), "b", b"l" * 32),
        ):
            with pytest.raises(StorageError, match="little space"):
                asked.result()
        assert journal.problem is None
        journal.move(0, 0, State.COLLECTING)
        journal.fix_survivors(0, 0, ["a"])
        journal.close_step(0, 0, Kind.TRAIN).result()
        journal.abandon(0, 0, "the disk is nearly full")
        journal.revoke("a", "told to")


def test_a_journal_of_another_version_is_refused(where: str) -> None:
    Journal.open(where, holder="test").close()
    engine = create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE tacit_journal SET version = 2"))
    with pytest.raises(StorageError, match="has version 2, and this tacit reads 1"):
        Journal.open(where, holder="test")
    with engine.begin() as connection:
        connection.execute(text("UPDATE tacit_journal SET version = 1"))
        connection.execute(text("ALTER TABLE tacit_facts ADD COLUMN extra INTEGER"))
    engine.dispose()
    with pytest.raises(DamagedFile, match="tacit_facts"):
        Journal.open(where, holder="test")


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no journal, but long enough to be looked at" * 100)
    with pytest.raises(DamagedFile, match="no journal"):
        Journal.open(tmp_path / "text", holder="test")
    with pytest.raises(StorageError, match="no file"):
        Journal.open(tmp_path, holder="test")
    for address in ("mysql://host/name", "redis://", "postgresql+pg8000://host/name"):
        with pytest.raises(UsageError, match="postgresql"):
            Journal.open(address, holder="test")


def test_a_password_is_never_in_a_message(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        Journal.open(f"postgresql+psycopg://tacit:s3cret@/name?host={tmp_path}", holder="test")
    assert "s3cret" not in str(caught.value)


def test_the_file_of_a_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "new" / "journal", holder="test"):
        assert (tmp_path / "new").stat().st_mode & 0o077 == 0
        assert all(one.stat().st_mode & 0o077 == 0 for one in (tmp_path / "new").iterdir())
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["journal"]


def test_a_closed_journal_takes_nothing_and_closes_twice(where: str) -> None:
    journal = Journal.open(where, holder="test")
    waiting = [journal.note("x", n=number) for number in range(100)]
    journal.close()
    journal.close()
    assert [one.result() for one in waiting] == list(range(1, 101))
    with pytest.raises(StorageError, match="closed"):
        journal.remember("a", "b")


def test_commits_are_flushed_to_disk_whatever_the_database_does_by_itself(where: str) -> None:
    asked = {"PRAGMA synchronous": 2, "PRAGMA journal_mode": "wal", "PRAGMA foreign_keys": 1}
    if "://" in where:
        asked = {"SHOW synchronous_commit": "on", "SHOW transaction_isolation": "read committed"}
    with Journal.open(where, holder="test") as journal, journal._database.engine.connect() as connection:
        assert {query: connection.scalar(text(query)) for query in asked} == asked


def test_two_journals_in_two_schemas_of_one_database_are_two(server: Server) -> None:
    with Journal.open(server.database(), holder="one") as one, Journal.open(server.database(), holder="two") as two:
        assert (one.epoch, two.epoch) == (1, 1)
        one.remember("a", "1")
        assert two.recall("a") is None


def test_a_write_that_stumbles_is_undone_and_those_beside_it_are_not(where: str) -> None:
    with Journal.open(where, holder="test") as journal:

        def stumble(connection: Connection) -> None:
            connection.execute(text("DELETE FROM tacit_facts"))
            connection.execute(text("DELETE FROM tacit_events"))
            raise ZeroDivisionError

        journal.remember("a", "b")
        beside = [journal.note("x", n=number) for number in range(50)]
        with pytest.raises(ZeroDivisionError):
            journal._later("stumble", stumble).result()
        assert [one.result() for one in beside] == list(range(1, 51))
        assert journal.recall("a") == "b"
        assert journal.verify()[0] == 50

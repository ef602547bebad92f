"""The ledger when things go wrong: kill -9, two processes at once, edits by hand, files that are none, full disks."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import (
    BudgetExceeded,
    LedgerForked,
    LedgerMissing,
    LedgerTampered,
    StorageError,
    TacitError,
)
from tacit.privacy import store
from tacit.privacy.event import PoissonSampled, charges
from tacit.privacy.ledger import Ledger

EVENT = PoissonSampled(1.0, 0.01)
DIGEST = 64
pytestmark = pytest.mark.timeout(60)


def yes(charges):
    """Allows everything."""


def mine(ledger):
    return ledger.account("ab12", "user")


def forked(target, *arguments):
    child = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    child.start()
    return child


def said_in_a_child(body, *arguments):
    """What `body` returns, or the error that it raises as (class, message), in a process that may spoil itself."""
    here, there = multiprocessing.Pipe(duplex=False)

    def work():
        try:
            there.send(body(*arguments))
        except Exception as error:
            there.send((type(error), str(error)))

    child = forked(work)
    child.join(30)
    assert here.poll(), "the child said nothing"
    return here.recv()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def filled(place):
    """A closed ledger of five entries: three reserves, a commit of the second, a limit."""
    with Ledger(place) as ledger:
        account = mine(ledger)
        entries = [account.reserve("run", round, EVENT, "plan", yes) for round in (1, 2, 3)]
        account.commit(entries[1], "noise")
        account.set_limit(4.0, 1e-5)
    return place


def by_hand(place, *statements):
    file = sqlite3.connect(place)
    with file:
        for statement in statements:
            file.execute(statement)
    file.close()


# -- two processes at once -------------------------------------------------------------------------------------------


def spend_until_refused(place, run, times, budget):
    def allow(charges):
        if sum(count for _, count in charges) > budget:
            raise BudgetExceeded("nothing is left")

    with Ledger(place) as ledger:
        for round in range(times):
            try:
                reserved = mine(ledger).reserve(run, round, EVENT, "plan", allow)
            except BudgetExceeded:
                continue
            mine(ledger).commit(reserved, f"{run} {round}")


def test_two_processes_at_once_cannot_spend_more_than_the_budget(place):
    context = multiprocessing.get_context("spawn")
    children = [context.Process(target=spend_until_refused, args=(place, run, 50, 60)) for run in ("one", "two")]
    for child in children:
        child.start()
    for child in children:
        child.join(50)
    assert [child.exitcode for child in children] == [0, 0]
    with Ledger(place) as ledger:
        ledger.verify()
        entries = mine(ledger).entries()
    assert sum(entry.kind == "reserve" for entry in entries) == 60
    assert sum(entry.kind == "commit" for entry in entries) == 60


def test_processes_that_make_the_ledger_at_once_make_one(tmp_path):
    def make_and_reserve(place, ready, run):
        ready.wait()
        with Ledger(place) as ledger:
            mine(ledger).reserve(run, 1, EVENT, "plan", yes)

    for attempt in range(5):
        place, ready = tmp_path / str(attempt) / "ledger.sqlite", multiprocessing.get_context("fork").Barrier(6)
        children = [forked(make_and_reserve, place, ready, f"run {k}") for k in range(6)]
        for child in children:
            child.join(30)
        assert [child.exitcode for child in children] == [0] * 6
        with Ledger(place) as ledger:
            assert {entry.run for entry in mine(ledger).entries()} == {f"run {k}" for k in range(6)}
        assert list(place.parent.iterdir()) == [place]


def test_a_ledger_that_another_process_keeps_locked_is_an_error_and_not_for_ever(filled, monkeypatch):
    monkeypatch.setattr(store, "WAIT", 0.05)
    holder = sqlite3.connect(filled, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Ledger(filled) as ledger:
        with pytest.raises(StorageError, match=r"locked by another process for 0.05 seconds: wait"):
            mine(ledger).reserve("run", 4, EVENT, "plan", yes)
        assert mine(ledger).charges() == ((EVENT, 3),)  # who only reads does not wait
        holder.execute("ROLLBACK")
        mine(ledger).reserve("run", 4, EVENT, "plan", yes)
    holder.close()


def test_a_ledger_that_was_open_before_a_fork_can_be_used_on_both_sides(filled):
    def reserve(ledger, round):
        return mine(ledger).reserve("run", round, EVENT, "plan", yes).number

    with Ledger(filled) as ledger:
        reserve(ledger, 4)
        assert said_in_a_child(reserve, ledger, 5) == 7
        assert reserve(ledger, 6) == 8
        ledger.verify()


# -- kill -9 ---------------------------------------------------------------------------------------------------------


def spend_and_tell(place, run, told):
    """Reserves and commits for ever; writes the digest of each entry when the call that wrote it has returned."""
    account = mine(Ledger(place))
    for round in range(10**6):
        reserved = account.reserve(run, round, EVENT, "plan", yes)
        os.write(told, reserved.digest.encode())
        os.write(told, account.commit(reserved, f"{run} {round}").digest.encode())


def kill_after(seconds, place, run):
    """The digests that a child told before it was killed, `seconds` after its first one."""
    here, there = os.pipe()
    child = forked(spend_and_tell, place, run, there)
    os.close(there)
    told = os.read(here, DIGEST)
    time.sleep(seconds)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    while more := os.read(here, 1 << 20):
        told += more
    os.close(here)
    return [told[i : i + DIGEST].decode() for i in range(0, len(told), DIGEST)]


def test_killed_at_any_moment_the_ledger_opens_is_whole_and_holds_every_entry_that_was_told(place):
    moments = random.Random(7)
    told = []
    for death in range(15):
        told += kill_after(moments.uniform(0, 0.03), place, f"run {death}")
        with Ledger(place) as ledger:
            ledger.verify()
            entries = mine(ledger).entries()
            reserves = sum(entry.kind == "reserve" for entry in entries)
            assert set(told) <= {entry.digest for entry in entries}
            assert mine(ledger).charges() == ((EVENT, reserves),)
            assert len(entries) - len(told) <= death + 1  # at most one was written and not told, each time
            mine(ledger).require(told[0], "run 0")


def test_killed_between_reserve_and_commit_the_round_counts_and_can_be_completed(place):
    def die():
        mine(Ledger(place)).reserve("run", 1, EVENT, "plan", yes)
        os.kill(os.getpid(), signal.SIGKILL)

    forked(die).join()
    with Ledger(place) as ledger:
        assert mine(ledger).charges() == ((EVENT, 1),)
        (left,) = mine(ledger).open_rounds("run")
        mine(ledger).commit(left, "noise")
        assert mine(ledger).open_rounds("run") == []


def test_killed_while_allow_decides_nothing_is_charged_and_nothing_stays_locked(filled, monkeypatch):
    monkeypatch.setattr(store, "WAIT", 1.0)

    def die():
        mine(Ledger(filled)).reserve("run", 4, EVENT, "plan", lambda charges: os.kill(os.getpid(), signal.SIGKILL))

    child = forked(die)
    child.join()
    assert child.exitcode == -signal.SIGKILL
    with Ledger(filled) as ledger:
        ledger.verify()
        assert mine(ledger).charges() == ((EVENT, 3),)
        mine(ledger).reserve("run", 4, EVENT, "plan", yes)


def test_killed_while_it_is_made_a_ledger_can_still_be_made(tmp_path):
    moments = random.Random(7)
    for death in range(15):
        place = tmp_path / str(death) / "ledger.sqlite"
        child = forked(Ledger, place)
        time.sleep(moments.uniform(0, 0.02))
        child.kill()
        child.join()
        with Ledger(place) as ledger:
            assert mine(ledger).reserve("run", 1, EVENT, "plan", yes).number == 1
            ledger.verify()


# -- edits by hand ---------------------------------------------------------------------------------------------------

EDITS = {
    "number": "number = 77",
    "population": "population = 'cd34'",
    "unit": "unit = 'record'",
    "run": "run = 'another'",
    "kind": "kind = 'limit'",
    "round": "round = 9",
    "event": "event = replace(event, '1.0', '9.0')",
    "an event of spaces": "event = event || ' '",
    "no event": "event = NULL",
    "plan": "plan = 'another'",
    "note": "note = 'hello'",
    "at": "at = '2020-01-01T00:00:00.000+00:00'",
    "previous": "previous = 'aa'",
    "digest": "digest = 'aa'",
    "reserve": "reserve = 1",
    "fingerprint": "fingerprint = 'aa'",
    "epsilon": "epsilon = 99.0",
    "delta": "delta = 0.5",
    "text for a number": "round = 'first'",
    "bytes for a number": "round = x'00ff'",
    "bytes that are no text": "note = CAST(x'ff' AS TEXT)",
    "infinity": "epsilon = 9e999",
    "text for a limit": "epsilon = 'much'",
}


def assert_refused(place, head, entry):
    for use in (Ledger.verify, lambda ledger: mine(ledger).reserve("run", 4, EVENT, "plan", yes), Ledger.accounts):
        with Ledger(place) as ledger, pytest.raises(LedgerTampered, match=rf"entry {entry} of the ledger.*put back"):
            use(ledger)
    with Ledger(place) as ledger, pytest.raises(LedgerForked, match=rf"'run' cannot go on.*entry {entry} of the"):
        mine(ledger).require(head, "run")


def head_of(place):
    with Ledger(place) as ledger:
        return mine(ledger).head()


def test_every_column_is_edited_in_the_test_below():
    assert set(EDITS) >= {column.name for column in store.ENTRIES.columns}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_of_any_column_is_refused_and_the_entry_named(filled, edit):
    head = head_of(filled)
    by_hand(filled, f"UPDATE entries SET {EDITS[edit]} WHERE number = 2")
    assert_refused(filled, head, 2)


@pytest.mark.parametrize(
    ("statements", "entry"),
    [
        (["DELETE FROM entries WHERE number = 1"], 1),
        (["DELETE FROM entries WHERE number = 3"], 3),
        (["DELETE FROM entries WHERE number = 3", "UPDATE entries SET number = number - 1 WHERE number > 3"], 3),
        (["UPDATE entries SET number = -1 WHERE number = 1"], -1),
        (["UPDATE entries SET number = 9 WHERE number = 1", "UPDATE entries SET number = 1 WHERE number = 2"], 1),
        (
            [
                "UPDATE entries SET epsilon = 99.0 WHERE number = 5",
                "INSERT INTO entries SELECT 6, population, unit, run, kind, round, event, plan, note, at, digest, 'aa',"
                " NULL, fingerprint, epsilon, delta FROM entries WHERE number = 5",
            ],
            5,
        ),
    ],
)
def test_entries_that_are_removed_moved_or_put_in_are_refused(filled, statements, entry):
    head = head_of(filled)
    by_hand(filled, *statements)
    assert_refused(filled, head, entry)


def rewrite(place, number, **changes):
    """Changes an entry, and its digest so that it fits."""
    file = sqlite3.connect(place)
    file.row_factory = sqlite3.Row
    row = dict(file.execute("SELECT * FROM entries WHERE number = ?", (number,)).fetchone()) | changes
    del row["digest"]
    changes["digest"] = sha256(json.dumps(row, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    with file:
        for name, value in changes.items():
            file.execute(f"UPDATE entries SET {name} = ? WHERE number = ?", (value, number))
    file.close()


def test_an_edit_with_a_digest_that_fits_breaks_the_chain_at_the_next_entry(filled):
    head = head_of(filled)
    rewrite(filled, 2, event='{"kind":"poisson","noise":9.0,"rate":0.01}')
    assert_refused(filled, head, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"round": "first"},
        {"kind": "gift"},
        {"kind": "commit", "reserve": 4},
        {"kind": "commit", "reserve": 1, "run": "run", "round": 2},
        {"epsilon": None},
        {"event": "gaussian"},
        {"event": '{"kind":"poisson","noise":0.0,"rate":0.01}'},
        {"event": '{"kind":"geometric","noise":1.0}'},
    ],
)
def test_an_entry_that_tacit_would_not_have_written_is_refused_even_where_its_digest_fits(filled, changes):
    rewrite(filled, 5, **changes)
    with Ledger(filled) as ledger, pytest.raises(LedgerTampered, match=r"entry 5 of the ledger.*put back"):
        ledger.verify()


def test_an_edit_is_found_by_who_has_the_ledger_open(filled):
    with Ledger(filled) as ledger:
        account = mine(ledger)
        head = account.head()
        by_hand(filled, "UPDATE entries SET event = replace(event, '1.0', '9.0') WHERE number = 2")
        assert account.charges() == ((EVENT, 3),)  # as it was read
        for look in (ledger.verify, account.entries):
            with pytest.raises(LedgerTampered, match="entry 2"):
                look()
        with pytest.raises(LedgerForked, match="entry 2"):
            account.require(head, "run")
        by_hand(filled, "UPDATE entries SET note = 'x' WHERE number = 5")
        with pytest.raises(LedgerTampered, match="entry 5"):
            account.reserve("run", 4, EVENT, "plan", yes)


def test_an_end_that_is_cut_off_is_found_by_who_has_read_it_and_by_who_kept_its_digest(filled):
    with Ledger(filled) as ledger:
        head = mine(ledger).head()
        by_hand(filled, "DELETE FROM entries WHERE number > 3")
        for use in (ledger.verify, ledger.accounts):
            with pytest.raises(LedgerTampered, match=r"entry 5.*was read before, and is gone"):
                use()
    with Ledger(filled) as ledger:
        ledger.verify()
        with pytest.raises(LedgerMissing):
            mine(ledger).require(head, "run")


def test_a_ledger_that_was_written_anew_from_some_entry_on_does_not_hold_the_head_that_was_kept(filled, tmp_path):
    head = head_of(filled)
    with Ledger(tmp_path / "forged.sqlite") as forged:
        mine(forged).reserve("run", 1, EVENT, "plan", yes)
        forged.verify()
        with pytest.raises(LedgerMissing):
            mine(forged).require(head, "run")


# -- files that are none, damaged files ------------------------------------------------------------------------------


def test_a_file_that_is_no_sqlite_file_is_refused_and_left_as_it_is(place):
    place.write_text("number,population\n1,ab12\n" * 100)
    before = place.read_bytes()
    with pytest.raises(LedgerTampered, match=r"damaged, or no ledger \(file is not a database\): put back"):
        Ledger(place)
    assert place.read_bytes() == before


def test_another_sqlite_file_another_version_and_other_tables_are_refused(filled, tmp_path):
    by_hand(tmp_path / "other.sqlite", "CREATE TABLE entries (number INTEGER)")
    before = (tmp_path / "other.sqlite").read_bytes()
    with pytest.raises(LedgerTampered, match=r"other.sqlite is an SQLite file, and no ledger of tacit"):
        Ledger(tmp_path / "other.sqlite")
    assert (tmp_path / "other.sqlite").read_bytes() == before
    by_hand(filled, "PRAGMA user_version = 2")
    with pytest.raises(LedgerTampered, match="has version 2, and this tacit reads 1: use the tacit that wrote it"):
        Ledger(filled)
    by_hand(
        filled, "PRAGMA user_version = 1", "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END"
    )
    with pytest.raises(LedgerTampered, match=r"tables of the ledger .* are not as tacit makes them"):
        Ledger(filled)
    by_hand(filled, "DROP TRIGGER t", "ALTER TABLE entries ADD COLUMN more TEXT")
    with pytest.raises(LedgerTampered, match="tables of the ledger"):
        Ledger(filled)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.5, 0.8, 0.999])
def test_a_truncated_ledger_is_refused(filled, share):
    size = filled.stat().st_size
    os.truncate(filled, int(size * share))
    with pytest.raises(LedgerTampered, match="put back a copy"), Ledger(filled) as ledger:
        ledger.verify()


@settings(max_examples=60)
@given(st.data())
def test_bytes_that_change_on_the_disk_are_refused_or_change_nothing(data):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ledger.sqlite"
        with Ledger(place) as ledger:
            for round in range(3):
                mine(ledger).commit(mine(ledger).reserve("run", round, EVENT, "plan", yes), f"noise {round}")
            before = mine(ledger).entries()
        content = bytearray(place.read_bytes())
        used = [i for i, byte in enumerate(content) if byte]
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.sampled_from(used))] ^= data.draw(st.integers(1, 255))
        place.write_bytes(content)
        try:
            with Ledger(place) as ledger:
                ledger.verify()
                assert mine(ledger).entries() == before
                assert mine(ledger).charges() == ((EVENT, 3),)
        except (LedgerTampered, StorageError):
            pass


def test_a_folder_a_file_for_a_folder_and_a_link_to_nowhere_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="is no file: give the path of a file"):
        Ledger(tmp_path)
    with pytest.raises(StorageError, match="is no file"):
        Ledger(tmp_path / "link")
    with pytest.raises(StorageError, match=r"cannot be read or written: .*Not a directory.*TACIT_LEDGER"):
        Ledger(tmp_path / "file" / "ledger.sqlite")


def test_a_ledger_that_is_moved_or_replaced_while_it_is_open_is_not_written_any_more(filled, tmp_path):
    shutil.copy(filled, tmp_path / "copy")
    with Ledger(filled) as ledger:
        filled.rename(tmp_path / "away")
        with pytest.raises(LedgerMissing, match="moved, removed or replaced while it was in use: put it back"):
            mine(ledger).reserve("run", 4, EVENT, "plan", yes)
        assert not filled.exists()
        (tmp_path / "copy").rename(filled)
        with pytest.raises(LedgerMissing):
            mine(ledger).reserve("run", 4, EVENT, "plan", yes)
        (tmp_path / "away").replace(filled)
        assert mine(ledger).reserve("run", 4, EVENT, "plan", yes).number == 6


# -- disks -----------------------------------------------------------------------------------------------------------


def as_nobody(body):
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    return body()


@pytest.fixture
def open_to_all():
    """A folder that another user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
        Path(folder).chmod(0o700)


def test_a_folder_or_file_that_may_only_be_read_is_named_with_what_to_do(open_to_all):
    place = open_to_all / "ledger.sqlite"
    open_to_all.chmod(0o555)
    kind, message = said_in_a_child(as_nobody, lambda: Ledger(place))
    assert kind is StorageError and "Permission denied" in message and "TACIT_LEDGER" in message
    open_to_all.chmod(0o700)
    Ledger(place).close()
    place.chmod(0o444)
    open_to_all.chmod(0o555)
    kind, message = said_in_a_child(as_nobody, lambda: Ledger(place))
    assert kind is StorageError and "it may only be read" in message and "make the file and its folder" in message
    place.chmod(0o666)
    kind, message = said_in_a_child(as_nobody, lambda: Ledger(place))
    assert kind is StorageError and "make the file and its folder" in message


def limit_files(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_is_told_keeps_what_was_recorded_and_is_survived(filled):
    def spend():
        told, refusal = [], None
        with Ledger(filled) as ledger:
            limit_files(80_000)
            while refusal is None and len(told) < 1000:
                try:
                    told.append(mine(ledger).reserve("run", 4, EVENT, "plan", yes).digest)
                except TacitError as error:
                    refusal = error
            limit_files(resource.RLIM_INFINITY)
            told.append(mine(ledger).reserve("run", 5, EVENT, "plan", yes).digest)
        return type(refusal), str(refusal), told

    kind, message, told = said_in_a_child(spend)
    assert kind is StorageError and "cannot be read or written" in message and "Free some space" in message
    assert 2 < len(told) < 1000
    with Ledger(filled) as ledger:
        ledger.verify()
        entries = mine(ledger).entries()
        assert [entry.digest for entry in entries[5:]] == told
        assert mine(ledger).charges() == charges([(EVENT, 3 + len(told))])


def test_a_disk_too_full_for_a_new_ledger_is_told_and_no_part_of_one_is_left(place):
    def make():
        limit_files(2000)
        Ledger(place)

    kind, message = said_in_a_child(make)
    assert kind is StorageError and "Free some space" in message
    assert list(place.parent.iterdir()) == []

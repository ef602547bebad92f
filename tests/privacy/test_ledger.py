"""The ledger: what is reserved counts, what is committed is committed once, and a run goes on only with its own one."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import sys
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import (
    BudgetExceeded,
    InsecureRandomness,
    LedgerForked,
    LedgerMissing,
    PrivacyError,
    UnregisteredRelease,
    UsageError,
)
from tacit.privacy import chain
from tacit.privacy.accountant import most
from tacit.privacy.event import FixedSize, Gaussian, PoissonSampled, Truncated, Unbounded, charges
from tacit.privacy.ledger import Ledger

CHEAP, DEAR = PoissonSampled(2.0, 0.01), Gaussian(1.0)
EVENTS = [CHEAP, DEAR, Truncated(1.1, 0.05, 3400, 150), FixedSize(0.8, 10, 100)]


def yes(charges):
    """Allows everything."""


def spend(account, run="run", rounds=(1,), event=CHEAP, commit=True):
    reserved = [account.reserve(run, round, event, "plan", yes) for round in rounds]
    if commit:
        for entry in reserved:
            account.commit(entry, f"noise {entry.number}")
    return reserved


@pytest.fixture
def place(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(place):
    with Ledger(place) as opened:
        yield opened


@pytest.fixture
def account(ledger):
    return ledger.account("ab12", "user")


def test_a_reserve_counts_before_it_is_committed_and_after_the_ledger_was_opened_again(place):
    with Ledger(place) as ledger:
        spend(ledger.account("ab12", "user"), commit=False)
    with Ledger(place) as ledger:
        assert ledger.account("ab12", "user").charges() == ((CHEAP, 1),)


def test_a_commit_costs_nothing_more(account):
    spend(account, rounds=range(1, 4))
    assert account.charges() == ((CHEAP, 3),)
    assert [entry.kind for entry in account.entries()] == ["reserve"] * 3 + ["commit"] * 3


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_of_each_kind_is_read_back_as_it_was_written(account, place, event):
    spend(account, event=event)
    with Ledger(place) as other:
        assert other.account("ab12", "user").charges() == ((event, 1),)


def test_numbers_of_numpy_are_written_as_pythons_own(account):
    entry = account.reserve("run", np.int64(1), PoissonSampled(np.float64(2.0), np.float64(0.01)), "plan", yes)
    assert entry.event == CHEAP and type(entry.event.noise) is float and type(entry.round) is int
    assert account.entries() == [entry]


def test_charges_are_those_of_all_runs_and_can_leave_one_out(account):
    spend(account, "first", [1, 2])
    spend(account, "second", [1], DEAR)
    spend(account, "third", [1], CHEAP, commit=False)
    assert account.charges() == charges([(CHEAP, 3), DEAR])
    assert account.charges(without_run="first") == charges([CHEAP, DEAR])
    assert account.charges(without_run="nobody") == account.charges()


def test_populations_and_units_have_accounts_of_their_own_in_the_order_of_their_first_entries(ledger):
    names = [("ff", "user"), ("aa", "user"), ("ff", "record")]
    for rounds, name in enumerate(names, 1):
        spend(ledger.account(*name), rounds=range(rounds))
    spend(ledger.account("ff", "user"))
    assert [(a.population, a.unit) for a in ledger.accounts()] == names
    assert [dict(a.charges())[CHEAP] for a in ledger.accounts()] == [2, 2, 3]
    assert ledger.account("bb", "user").charges() == ()


def test_allow_sees_the_new_charge_and_those_before(account):
    seen = []
    spend(account)
    account.reserve("run", 2, DEAR, "plan", seen.append)
    assert seen == [charges([CHEAP, DEAR])]


@pytest.mark.parametrize("refusal", [BudgetExceeded("2 rounds are left"), ZeroDivisionError(), KeyboardInterrupt()])
def test_a_refusal_reaches_the_caller_and_leaves_the_ledger_as_it_was(account, refusal):
    spend(account)
    before = account.entries()

    def refuse(charges):
        raise refusal

    with pytest.raises(type(refusal)) as caught:
        account.reserve("run", 2, CHEAP, "plan", refuse)
    assert caught.value is refusal
    assert account.entries() == before
    spend(account, rounds=[2])
    assert account.charges() == ((CHEAP, 2),)


def test_allow_may_read_the_account_and_must_not_write_to_it(account):
    account.set_limit(3.0, 1e-5)
    limits = []
    account.reserve("run", 1, CHEAP, "plan", lambda charges: limits.append((account.limit(), account.charges())))
    assert limits == [((3.0, 1e-5), ())]
    with pytest.raises(UsageError, match="must not write"):
        account.reserve("run", 2, CHEAP, "plan", lambda charges: account.set_limit(1.0, 0.0))
    assert account.charges() == ((CHEAP, 1),) and account.limit() == (3.0, 1e-5)


def test_a_release_that_an_earlier_reserve_paid_for_costs_nothing_and_is_still_asked_for(account):
    asked = []
    spend(account, rounds=[1])
    entry = account.reserve("run", 2, None, "plan", asked.append)
    assert account.commit(entry, "noise").reserve == entry.number
    assert asked == [((CHEAP, 1),)] and account.charges() == ((CHEAP, 1),)


def test_a_release_that_nothing_paid_for_is_refused(account):
    spend(account, "another")
    with pytest.raises(UnregisteredRelease, match=r"round 1 of run 'run'.*reserve it with the event"):
        account.reserve("run", 1, None, "plan", yes)
    assert len(account.entries()) == 2


def test_a_commit_says_what_was_released_and_which_reserve_it_completes(account):
    first, second = spend(account, rounds=[1, 2], commit=False)
    done = account.commit(second, "5eed")
    assert (done.kind, done.run, done.round, done.plan, done.event) == ("commit", "run", 2, "plan", None)
    assert (done.reserve, done.fingerprint) == (second.number, "5eed")
    assert account.open_rounds("run") == [first]
    assert account.last("run") == done and account.head() == done.digest


def test_open_rounds_are_those_of_the_run_oldest_first(account):
    mine = spend(account, rounds=[3, 1, 2], commit=False)
    spend(account, "another", commit=False)
    assert account.open_rounds("run") == mine
    assert account.open_rounds("nobody") == [] and account.last("nobody") is None


def test_a_second_commit_of_one_reserve_is_refused_and_names_the_first(account, place):
    (entry,) = spend(account)
    with pytest.raises(LedgerForked, match=r"round 1 of run 'run' was committed before, as entry 2 at 20.*End one"):
        account.commit(entry, "noise")
    with Ledger(place) as other, pytest.raises(LedgerForked, match="as entry 2"):
        other.account("ab12", "user").commit(entry, "noise")


def test_a_commit_of_another_ledger_account_or_kind_is_refused(ledger, account, tmp_path):
    with Ledger(tmp_path / "another.sqlite") as other:
        (foreign,) = spend(other.account("ab12", "user"), commit=False)
    spend(account, commit=False)
    (neighbour,) = spend(ledger.account("ab12", "record"), commit=False)
    limit = account.set_limit(1.0, 1e-5)
    for entry in (foreign, neighbour, limit):
        with pytest.raises(LedgerForked, match="was not reserved in this account of the ledger"):
            account.commit(entry, "noise")
    assert len(account.open_rounds("run")) == 1


def test_a_limit_is_an_entry_and_may_be_lowered_but_not_raised_unseen(account):
    assert account.limit() is None
    account.set_limit(8, 1e-5)
    account.set_limit(4.0, 1e-6)
    for higher in [(8.0, 1e-6), (4.0, 1e-5), (1.0, 1e-5)]:
        with pytest.raises(PrivacyError, match=r"epsilon 4 at delta 1e-06.*raise_limit=True"):
            account.set_limit(*higher)
    assert account.limit() == (4.0, 1e-6)
    account.set_limit(6.0, 1e-6, raise_limit=True)
    assert [(e.kind, e.budget) for e in account.entries()] == [
        ("limit", (8.0, 1e-5)),
        ("limit", (4.0, 1e-6)),
        ("limit", (6.0, 1e-6)),
    ]
    assert account.charges() == ()


def test_the_limit_that_it_is_already_adds_no_entry(account):
    entry = account.set_limit(4.0, 1e-6)
    assert account.set_limit(4, 1e-6) == entry
    assert account.entries() == [entry]


def test_arguments_that_make_no_sense_are_named_together(ledger, account):
    with pytest.raises(UsageError, match=r"3 problems(.|\n)*run is ''(.|\n)*round is -1(.|\n)*event is 'gaussian'"):
        account.reserve("", -1, "gaussian", "plan", yes)
    with pytest.raises(UsageError, match=r"epsilon is nan(.|\n)*delta is 1"):
        account.set_limit(float("nan"), 1)
    with pytest.raises(UsageError, match=r"note is '\\ud800'"):
        account.reserve("run", 1, CHEAP, "plan", yes, note="\ud800")
    with pytest.raises(UsageError, match="out of range"):
        account.reserve("run", 1, Gaussian(0.0), "plan", yes)
    with pytest.raises(UsageError, match="population is 7"):
        ledger.account(7, "user")
    with pytest.raises(UsageError, match=r"fingerprint is ''(.|\n)*reserved is 1"):
        account.commit(1, "")
    assert account.entries() == []


def test_the_digest_is_sha256_of_the_other_columns_as_json_and_links_to_the_one_before(account, ledger, place):
    spend(account, rounds=[1, 2])
    account.set_limit(2.0, 1e-5)
    ledger.close()
    file = sqlite3.connect(place)
    file.row_factory = sqlite3.Row
    rows = [dict(row) for row in file.execute("SELECT * FROM entries ORDER BY number")]
    file.close()
    previous = ""
    for row in rows:
        digest = row.pop("digest")
        text = json.dumps(row, sort_keys=True, separators=(",", ":"))
        assert (row["previous"], hashlib.sha256(text.encode()).hexdigest()) == (previous, digest)
        previous = digest
    assert len(rows) == 5


def test_entries_keep_their_order_when_the_clock_goes_back(account, ledger, monkeypatch):
    class Back(datetime):
        hour = iter([12, 9, 3])

        @classmethod
        def now(cls, zone=None):
            return datetime(2030, 1, 1, next(Back.hour), tzinfo=UTC)

    monkeypatch.setattr(chain, "datetime", Back)
    spend(account, rounds=[1, 2, 3], commit=False)
    assert [entry.round for entry in account.entries()] == [1, 2, 3]
    assert [entry.at[11:13] for entry in account.entries()] == ["12", "09", "03"]
    ledger.verify()


def test_two_that_have_one_file_open_see_each_others_entries(account, place):
    with Ledger(place) as other:
        theirs = other.account("ab12", "user")
        (entry,) = spend(account, commit=False)
        assert theirs.charges() == ((CHEAP, 1),) and theirs.open_rounds("run") == [entry]
        theirs.commit(entry, "noise")
        assert account.open_rounds("run") == [] and account.head() == theirs.head()


def test_threads_share_a_ledger(account, ledger):
    def work(run):
        spend(account, run, range(5))

    threads = [threading.Thread(target=work, args=(f"run {k}",)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert account.charges() == ((CHEAP, 20),)
    ledger.verify()


def test_a_closed_ledger_says_so(account, ledger):
    ledger.close()
    ledger.close()
    with pytest.raises(UsageError, match="is closed: open it again"):
        account.charges()


def test_the_same_sum_is_not_released_twice(account, ledger):
    one, two = (account.reserve("run", round, CHEAP, "plan", yes) for round in (1, 2))
    account.commit(one, "noise")
    with pytest.raises(InsecureRandomness, match="its noise is not new"):
        account.commit(two, "noise")
    account.commit(two, "other noise")
    other = ledger.account("another", "user")
    other.commit(other.reserve("run", 1, CHEAP, "plan", yes), "noise")
    seeded = [account.reserve("test", round, Unbounded(), "plan", yes) for round in (1, 2)]
    for entry in seeded:  # noise that a seed repeats bounds nothing anyway
        account.commit(entry, "seeded")
    assert most(account.charges(), 1e-5) == float("inf")


# -- going on with a run ---------------------------------------------------------------------------------------------


def test_a_run_goes_on_from_its_checkpoint(account):
    account.require("", "run")
    spend(account, rounds=[1, 2])
    head = account.head()
    account.require(head, "run")
    spend(account, "another", [1, 2, 3])
    spend(account, rounds=[3])
    spend(account, rounds=[4], commit=False)
    before = account.entries()
    account.require(head, "run")
    account.require("", "run")
    assert account.entries() == before, "looking changes nothing"
    assert [entry.round for entry in account.open_rounds("run")] == [4]


def test_an_older_ledger_put_back_is_refused(place, tmp_path):
    with Ledger(place) as ledger:
        spend(ledger.account("ab12", "user"))
    shutil.copy(place, tmp_path / "old")
    with Ledger(place) as ledger:
        account = ledger.account("ab12", "user")
        spend(account, rounds=[2])
        head = account.head()
    shutil.copy(tmp_path / "old", place)
    with Ledger(place) as ledger, pytest.raises(LedgerMissing, match=r"older, or another one. Give the ledger.*begin"):
        ledger.account("ab12", "user").require(head, "run")


def test_a_new_ledger_and_another_account_are_refused(account, ledger, tmp_path):
    spend(account)
    spend(ledger.account("cd34", "user"))
    head = account.head()
    with Ledger(tmp_path / "new.sqlite") as new, pytest.raises(LedgerMissing, match="TACIT_LEDGER"):
        new.account("ab12", "user").require(head, "run")
    with pytest.raises(LedgerMissing):
        ledger.account("cd34", "user").require(head, "run")


def test_the_same_run_spent_in_two_copies_of_a_ledger_is_refused_in_the_other(place, tmp_path):
    with Ledger(place) as ledger:
        spend(ledger.account("ab12", "user"))
    shutil.copy(place, tmp_path / "copy.sqlite")
    heads = []
    for path in (place, tmp_path / "copy.sqlite"):
        with Ledger(path) as ledger:
            account = ledger.account("ab12", "user")
            spend(account, rounds=[2])
            heads.append(account.head())
    with Ledger(place) as ledger:
        ledger.account("ab12", "user").require(heads[0], "run")
        with pytest.raises(LedgerMissing):
            ledger.account("ab12", "user").require(heads[1], "run")


@pytest.mark.parametrize("rounds", [[3, 3], [3, 4, 3], [2], [3, 4, 1, 2]])
def test_two_continuations_of_one_run_are_refused(account, rounds):
    spend(account, rounds=[1, 2])
    head = account.head()
    spend(account, "another", [1])
    spend(account, rounds=rounds)
    with pytest.raises(LedgerForked, match=r"run 'run' committed round \d in entry \d+.*continued twice.*later check"):
        account.require(head, "run")
    account.require(account.head(), "run")


# -- the place -------------------------------------------------------------------------------------------------------


def test_a_new_file_is_its_owners_alone_and_nothing_else_is_left_beside_it(tmp_path):
    place = tmp_path / "new" / "folder" / "ledger.sqlite"
    with Ledger(place) as ledger:
        spend(ledger.account("ab12", "user"))
        assert {path.stat().st_mode & 0o777 for path in place.parent.iterdir()} == {0o600}
    assert place.parent.stat().st_mode & 0o777 == 0o700
    assert list(place.parent.iterdir()) == [place]


@pytest.mark.parametrize(
    ("platform", "environment", "path"),
    [
        ("linux", {}, "home/.local/share/tacit/ledger.sqlite"),
        ("linux", {"XDG_DATA_HOME": "{}/xdg"}, "xdg/tacit/ledger.sqlite"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "home/.local/share/tacit/ledger.sqlite"),
        ("darwin", {}, "home/Library/Application Support/tacit/ledger.sqlite"),
        ("win32", {"LOCALAPPDATA": "{}/local"}, "local/tacit/ledger.sqlite"),
        ("win32", {}, "home/AppData/Local/tacit/ledger.sqlite"),
        ("linux", {"TACIT_LEDGER": ""}, "home/.local/share/tacit/ledger.sqlite"),
        ("linux", {"TACIT_LEDGER": "{}/my own%20.sqlite"}, "my own%20.sqlite"),
        ("linux", {"TACIT_LEDGER": "~/mine.sqlite"}, "home/mine.sqlite"),
        ("linux", {"TACIT_LEDGER": "sqlite:///{}/url.sqlite"}, "url.sqlite"),
    ],
)
def test_the_place_follows_the_environment_and_the_platform(tmp_path, monkeypatch, platform, environment, path):
    for name in ("XDG_DATA_HOME", "LOCALAPPDATA", "TACIT_LEDGER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    monkeypatch.setattr(sys, "platform", platform)
    with Ledger() as ledger:
        assert ledger.place == tmp_path / path
        spend(ledger.account("ab12", "user"))
    assert (tmp_path / path).is_file()


def test_a_place_that_is_given_comes_before_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TACIT_LEDGER", "postgresql://nowhere")
    monkeypatch.chdir(tmp_path)
    for place in ("a.sqlite", Path("a.sqlite"), "sqlite:///a.sqlite"):
        with Ledger(place) as ledger:
            assert ledger.place == tmp_path / "a.sqlite"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("postgresql://me:secret@host/db", r"postgresql://me:\*\*\*@host/db: only SQLite files"),
        ("mysql+pymysql://host/db", "only SQLite files"),
        ("sqlite://", "must outlive the process"),
        ("sqlite:///:memory:", "must outlive the process"),
        ("sqlite:///x.sqlite?mode=memory", "must outlive the process"),
        ("://", "no path and no URL"),
        ("", "give a path as text"),
        (7, "the place of the ledger is 7"),
    ],
)
def test_other_places_are_refused(place, message):
    with pytest.raises(UsageError, match=message):
        Ledger(place)


# -- any history -----------------------------------------------------------------------------------------------------

STEP = st.tuples(
    st.sampled_from(["reserve", "commit", "refuse", "open", "limit"]),
    st.sampled_from(["aa", "bb"]),
    st.sampled_from(["one", "two"]),
    st.sampled_from(EVENTS),
)


@settings(max_examples=30)
@given(st.lists(STEP, max_size=25))
def test_after_any_history_the_ledger_holds_what_was_reserved_and_its_chain_is_whole(steps):
    reserved = {"aa": [], "bb": []}
    waiting = []
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.sqlite")
        for what, population, run, event in steps:
            account = ledger.account(population, "user")
            if what == "reserve":
                waiting.append((population, account.reserve(run, len(waiting), event, "plan", yes)))
                reserved[population].append(event)
            elif what == "commit" and waiting:
                owner, entry = waiting.pop(0)
                ledger.account(owner, "user").commit(entry, f"noise {entry.number}")
            elif what == "refuse":
                with pytest.raises(ZeroDivisionError):
                    account.reserve(run, 1, event, "plan", lambda charges: 1 / 0)
            elif what == "open":
                ledger.close()
                ledger = Ledger(ledger.place)
            elif what == "limit":
                account.set_limit(event.noise, 1e-5, raise_limit=True)
        with ledger:
            ledger.verify()
            for population, events in reserved.items():
                account = ledger.account(population, "user")
                assert account.charges() == charges(events)
                left = [entry for run in ("one", "two") for entry in account.open_rounds(run)]
                assert sorted(e.number for e in left) == [e.number for owner, e in waiting if owner == population]

"""The audit log: whatever is changed in it shows, and what was never finished is told."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import DamagedFile, UsageError
from tacit.network.consent.log import LONGEST, Log


@pytest.fixture
def log(tmp_path):
    kept = Log(tmp_path / "log.jsonl")
    kept.write("enrolled", name="ward-1", coordinator="https://a:1", authority="ab" * 32)
    kept.write("asked", run="ab", round=0, attempt=0, kind="train")
    kept.write("trained", run="ab", round=0, attempt=0, steps=5, seconds=1.5, engine="fused")
    kept.write("counted", run="ab", round=0, attempt=0, counted=True)
    return kept


def test_entries_are_read_as_they_were_written(log):
    entries = log.entries()
    assert [entry.n for entry in entries] == [1, 2, 3, 4]
    assert [entry.event for entry in entries] == ["enrolled", "asked", "trained", "counted"]
    assert entries[2].facts == {
        "run": "ab",
        "round": 0,
        "attempt": 0,
        "steps": 5,
        "seconds": 1.5,
        "engine": "fused",
    }
    assert datetime.fromisoformat(entries[0].time).tzinfo is not None


def test_each_entry_holds_the_digest_of_itself_and_of_the_one_before(log):
    previous = ""
    for line in log.path.read_bytes().splitlines():
        values = json.loads(line)
        rest = {name: value for name, value in values.items() if name != "hash"}
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
        assert values["hash"] == hashlib.sha256(text.encode()).hexdigest()
        assert values["previous"] == previous
        previous = values["hash"]
    assert log.head == previous
    assert previous in log.verify()
    assert log.verify().startswith("4 entries, each as it was written")


@settings(max_examples=60)
@given(data=st.data())
def test_no_byte_can_be_changed_unseen(tmp_path_factory, data):
    log = Log(tmp_path_factory.mktemp("log") / "log.jsonl")
    for round in range(3):
        log.write("asked", run="ab", round=round, attempt=0, kind="train")
    whole = log.path.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 2))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != whole[place]))
    log.path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
    with pytest.raises(DamagedFile):
        log.verify()


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:1] + lines[2:],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:2], lines[1], *lines[2:]],
        lambda lines: lines[1:],
        lambda lines: [*lines[:2], b"", *lines[2:]],
        lambda lines: [*lines[:2], lines[2].replace(b'"steps":5', b'"steps":6'), *lines[3:]],
        lambda lines: [*lines[:2], b" " + lines[2], *lines[3:]],
        lambda lines: [*lines[:2], b"[" * 100_000, *lines[3:]],
    ],
    ids=["removed", "exchanged", "doubled", "first removed", "empty", "changed", "written otherwise", "nested"],
)
def test_lines_cannot_be_moved(log, change):
    log.path.write_bytes(b"\n".join(change(log.path.read_bytes().splitlines())) + b"\n")
    with pytest.raises(DamagedFile, match=r"line|more than"):
        log.verify()


def test_an_end_that_was_cut_off_shows_to_who_kept_a_digest(log):
    head = log.head
    log.path.write_bytes(b"".join(log.path.read_bytes().splitlines(keepends=True)[:2]))
    assert log.verify().startswith("2 entries")
    with pytest.raises(DamagedFile, match="its end was cut off"):
        log.verify(head)


def test_a_torn_end_is_repaired_by_an_entry_that_says_so(log):
    torn = b'{"event":"se'
    with log.path.open("ab") as file:
        file.write(torn)
    assert f"{len(torn)} bytes behind it were never finished" in log.verify()
    log.write("counted", run="ab", round=1, attempt=0, counted=False)
    repaired, counted = log.entries()[-2:]
    assert repaired.event == "repaired"
    assert repaired.facts == {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
    assert (counted.event, counted.n) == ("counted", 6)
    assert log.verify().startswith("6 entries")


def test_nothing_is_added_behind_a_line_that_was_changed(log):
    whole = log.path.read_bytes()
    log.path.write_bytes(whole.replace(b'"counted":true', b'"counted":false'))
    with pytest.raises(DamagedFile, match="the last line"):
        log.write("counted", run="ab", round=1, attempt=0, counted=True)
    assert log.path.read_bytes() == whole.replace(b'"counted":true', b'"counted":false')


def test_only_the_facts_of_an_event_are_kept(log):
    with pytest.raises(UsageError, match="trained has no fact 'examples_read'"):
        log.write("trained", examples_read=5)
    with pytest.raises(UsageError, match="event is 'learned'"):
        log.write("learned")
    with pytest.raises(UsageError, match="steps is a list"):
        log.write("trained", steps=[1, 2])
    assert len(log.entries()) == 4


def test_long_texts_are_cut_and_infinite_numbers_become_text(log):
    entry = log.write("error", text="é" * 5000)
    assert len(entry.facts["text"]) == LONGEST
    assert log.write("charged", epsilon=float("inf")).facts == {"epsilon": "inf"}
    assert log.write("charged", epsilon=float("nan")).facts == {"epsilon": "nan"}
    log.verify()


def test_a_log_that_nobody_wrote_to_is_empty(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    assert log.entries() == []
    assert log.verify() == "0 entries, each as it was written"
    assert log.head == ""

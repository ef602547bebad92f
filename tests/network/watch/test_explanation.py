"""What an operator is told of a round, exactly; and that a journal is read as it was written."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from tacit.errors import StorageError, UsageError
from tacit.network.journal import Journal, State
from tacit.network.office import Kind
from tacit.network.watch.archive import Archive
from tacit.network.watch.explanation import REMEDIES, Step, Tried, Trouble, as_values, explained

BEGAN = 1_760_000_000_000
ABANDONED = Tried(
    11,
    0,
    "abandoned",
    "secure aggregation, mask: 3 clients were left, 4 are needed",
    ["a", "b", "c", "d"],
    None,
    BEGAN,
    BEGAN + 31_000,
    steps=[
        Step("train", 4, 4, BEGAN + 900, BEGAN + 2000, BEGAN + 2100),
        Step("mask", 4, 3, BEGAN + 2500, BEGAN + 2600),
    ],
    troubles=[Trouble("d", "mask", "late", "no answer came within 30 seconds", BEGAN + 31_000)],
)
PUBLISHED = Tried(
    11, 1, "published", "", ["a", "b", "c", "d"], ["a", "b", "c"], BEGAN + 32_000, BEGAN + 34_500, "ab" * 32
)


def test_a_round_that_failed_says_who_where_why_and_what_to_do() -> None:
    text = explained(12, [ABANDONED])
    lines = text.splitlines()
    assert lines[0] == (
        "round 12 was not done: 1 attempt, the last one abandoned: "
        "secure aggregation, mask: 3 clients were left, 4 are needed"
    )
    assert "    d, asked to send the hidden report: late" in lines
    assert "      it was said  no answer came within 30 seconds" in lines
    assert f"      to do        {REMEDIES['late']}" in lines
    assert (
        "    send the hidden report         3 of 4 answered, 1 did not, the last one 2.60 s after the beginning"
        in lines
    )
    assert lines[-1] == "      +31.0 s  d is lost: late"


def test_a_round_that_was_tried_again_tells_both_attempts() -> None:
    text = explained(12, [ABANDONED, PUBLISHED])
    assert text.startswith("round 12 was published, after 2 attempts, in 34.5 s")
    assert "attempt 1: abandoned, 31.0 s" in text
    assert "attempt 2: published, 2.50 s" in text
    assert "  in the sum 3 of 4; without d" in text


def test_a_round_that_was_not_tried_says_so() -> None:
    assert explained(99, []).startswith("round 99 was not tried")


def test_what_a_peer_says_cannot_speak_to_the_terminal() -> None:
    evil = Trouble("a\x1b[2J", "train", "data", "red\x1b[31m\nround 12 was published", BEGAN)
    text = explained(12, [Tried(0, 0, "abandoned", "x", ["a"], None, BEGAN, BEGAN, troubles=[evil])])
    assert "\x1b" not in text
    assert not any(line.startswith("round 12 was published") for line in text.splitlines())


def test_every_cause_has_a_remedy_for_programs_too() -> None:
    [values, _] = as_values([ABANDONED, PUBLISHED])
    assert values["troubles"] == [{**vars(ABANDONED.troubles[0]), "remedy": REMEDIES["late"]}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A coordinator's folder: round 1 was abandoned once, and then published."""
    with Journal.open(tmp_path / "journal.sqlite", holder="test") as journal:
        journal.open_round(0, 0, ["a", "b", "c"], "00" * 32)
        journal.move(0, 0, State.COLLECTING)
        for name in ("a", "b"):
            journal.answer(0, 0, name, Kind.TRAIN, sha256(name.encode()).digest(), 10).result()
        journal.lost(0, 0, "c", Kind.TRAIN, "memory", "it has 1 GiB and needs 2").result()
        journal.close_step(0, 0, Kind.TRAIN).result()
        journal.abandon(0, 0, "2 reports, 3 are needed")
        journal.open_round(0, 1, ["a", "b", "c"], "00" * 32)
        journal.move(0, 1, State.COLLECTING)
        for name in ("a", "b", "c"):
            journal.answer(0, 1, name, Kind.TRAIN, sha256(name.encode()).digest(), 10).result()
        journal.close_step(0, 1, Kind.TRAIN).result()
        journal.fix_survivors(0, 1, ["a", "b", "c"])
        journal.move(0, 1, State.SUMMED)
        journal.publish(0, 1, "cd" * 32)
    return tmp_path


def test_a_journal_is_read_as_it_was_written(folder: Path) -> None:
    archive = Archive(folder)
    first, second = archive.tried(0)
    archive.close()
    assert (first.state, first.reason, first.survivors) == ("abandoned", "2 reports, 3 are needed", None)
    assert [(step.kind, step.asked, step.answered) for step in first.steps] == [("train", 3, 2)]
    assert first.steps[0].closed is not None
    assert [(one.participant, one.kind, one.cause) for one in first.troubles] == [("c", "train", "memory")]
    assert (second.state, second.survivors, second.model) == ("published", ("a", "b", "c"), "cd" * 32)


def test_it_is_read_while_a_coordinator_holds_it(folder: Path) -> None:
    with Journal.open(folder / "journal.sqlite", holder="coordinator") as journal:
        journal.open_round(1, 0, ["a"], "00" * 32)
        archive = Archive(folder / "journal.sqlite")
        assert [one.state for one in archive.tried(1)] == ["open"]
        archive.close()
        journal.move(1, 0, State.COLLECTING)  # the lease is still its own


def test_what_is_no_journal_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no coordinator's journal"):
        Archive(tmp_path)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "journal.sqlite").touch()
    with pytest.raises(StorageError, match="no journal of a coordinator"):
        Archive(tmp_path)

"""Answers: taken once, in time, and from those who were asked."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread

import pytest

from tacit.network.journal import IllegalMove, Journal, State
from tacit.network.office import Code, Kind, Receipt, Refused

NAMES = [f"p{number}" for number in range(40)]


def begun(journal: Journal) -> Journal:
    journal.open_round(0, 0, NAMES, "down")
    journal.move(0, 0, State.COLLECTING)
    return journal


def code(asked: Future[Receipt]) -> Code:
    error = asked.exception()
    assert isinstance(error, Refused), error
    return error.code


def test_an_answer_is_taken_once_and_the_same_bytes_again(opened: Callable[[], Journal]) -> None:
    journal = begun(opened())
    assert journal.answer(0, 0, "p1", Kind.TRAIN, b"d" * 32, 7).result() == Receipt()
    assert journal.answer(0, 0, "p1", Kind.TRAIN, b"d" * 32, 7).result() == Receipt(again=True)
    journal = opened()
    assert journal.answer(0, 0, "p1", Kind.TRAIN, b"d" * 32, 7).result() == Receipt(again=True)
    assert code(journal.answer(0, 0, "p1", Kind.TRAIN, b"e" * 32, 7)) is Code.CONFLICT
    assert journal.answer(0, 0, "p1", Kind.MASK, b"e" * 32, 7).result() == Receipt()
    assert [(one.participant, one.digest, one.size) for one in journal.answers(0, 0, Kind.TRAIN)] == [
        ("p1", b"d" * 32, 7)
    ]


def test_duplicates_in_one_batch_are_one_answer(journal: Journal) -> None:
    begun(journal)
    asked = [journal.answer(0, 0, "p1", Kind.TRAIN, b"d" * 32, 7) for _ in range(30)]
    asked += [journal.answer(0, 0, "p1", Kind.TRAIN, b"e" * 32, 7)]
    assert sorted(one.result().again for one in asked[:-1]) == [False] + [True] * 29
    assert code(asked[-1]) is Code.CONFLICT


def test_after_the_close_an_answer_comes_too_late_and_a_repeated_one_does_not(journal: Journal) -> None:
    begun(journal)
    journal.answer(0, 0, "p1", Kind.TRAIN, b"d" * 32, 7).result()
    journal.close_step(0, 0, Kind.TRAIN).result()
    taken = journal.answers(0, 0, Kind.TRAIN)
    assert [one.participant for one in taken] == ["p1"]
    assert code(journal.answer(0, 0, "p2", Kind.TRAIN, b"d" * 32, 7)) is Code.GONE
    assert journal.answer(0, 0, "p1", Kind.TRAIN, b"d" * 32, 7).result() == Receipt(again=True)
    assert journal.answer(0, 0, "p2", Kind.SHARE, b"d" * 32, 7).result() == Receipt()
    journal.close_step(0, 0, Kind.TRAIN).result()
    assert journal.answers(0, 0, Kind.TRAIN) == taken


def test_what_was_acknowledged_is_what_there_was_at_the_close_whoever_is_faster(journal: Journal) -> None:
    begun(journal)
    asked: dict[str, Future[Receipt]] = {}

    def answering() -> None:
        for name in NAMES:
            asked[name] = journal.answer(0, 0, name, Kind.TRAIN, b"d" * 32, 7)

    thread = Thread(target=answering)
    thread.start()
    journal.close_step(0, 0, Kind.TRAIN).result()
    taken = journal.answers(0, 0, Kind.TRAIN)
    thread.join()
    acknowledged = {name for name, one in asked.items() if one.exception() is None}
    assert {one.participant for one in taken} == acknowledged
    assert all(code(asked[name]) is Code.GONE for name in set(NAMES) - acknowledged)


def test_an_abandoned_attempt_takes_nothing(journal: Journal) -> None:
    begun(journal)
    journal.abandon(0, 0, "too few")
    assert code(journal.answer(0, 0, "p1", Kind.TRAIN, b"d" * 32, 7)) is Code.GONE


def test_who_was_not_asked_cannot_answer(journal: Journal) -> None:
    begun(journal)
    assert code(journal.answer(0, 0, "stranger", Kind.TRAIN, b"d" * 32, 7)) is Code.UNKNOWN
    assert code(journal.answer(3, 0, "p1", Kind.TRAIN, b"d" * 32, 7)) is Code.UNKNOWN
    with pytest.raises(IllegalMove):
        journal.close_step(3, 0, Kind.TRAIN).result()


def test_why_an_answer_did_not_come_is_read_back_and_the_first_reason_stays(journal: Journal) -> None:
    begun(journal)
    assert journal.lost(0, 0, "p1", Kind.TRAIN, "data", "a column\0is missing \ud800").result()
    assert not journal.lost(0, 0, "p1", Kind.TRAIN, "deadline", "too slow").result()
    assert journal.lost(0, 0, "p0", Kind.MASK, "deadline", "no answer in 3 s").result()
    found = [(one.participant, one.kind, one.cause, one.text) for one in journal.losses(0, 0)]
    assert found == [
        ("p0", Kind.MASK, "deadline", "no answer in 3 s"),
        ("p1", Kind.TRAIN, "data", "a column?is missing ?"),
    ]
    with pytest.raises(IllegalMove):
        journal.lost(1, 0, "p1", Kind.TRAIN, "data", "?").result()

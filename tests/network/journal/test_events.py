"""The log of what happened."""

from collections.abc import Callable

import pytest
from sqlalchemy import create_engine, text

from tacit.errors import DamagedFile
from tacit.network.journal import Journal


def test_events_come_back_in_order_and_in_pages(opened: Callable[[], Journal]) -> None:
    journal = opened()
    numbers = [one.result() for one in [journal.note("run.started", number=number) for number in range(30)]]
    assert numbers == list(range(1, 31))
    journal = opened()
    assert journal.note("again").result() == 31
    assert [event.facts for event in journal.events(after=28)] == [{"number": 28}, {"number": 29}, {}]
    assert [event.number for event in journal.events(after=3, limit=2)] == [4, 5]
    assert journal.verify() == (31, journal.events(after=30)[0].digest)


def test_rounds_and_registrations_write_their_own_events(journal: Journal) -> None:
    journal.add_token(bytes(32), expires_ms=2_000_000_000)
    journal.enrol(bytes(32), "a", b"k" * 32).result()
    journal.open_round(0, 0, ["a"], "d")
    journal.abandon(0, 0, "nobody came")
    journal.revoke("a", "gone")
    names = ["token.added", "participant.enrolled", "round.opened", "round.abandoned", "participant.revoked"]
    assert [event.event for event in journal.events()] == names


def test_facts_that_are_no_json_are_refused_at_once(journal: Journal) -> None:
    with pytest.raises(TypeError):
        journal.note("bad", what=object())
    with pytest.raises(ValueError, match="JSON"):
        journal.note("bad", what=float("nan"))
    assert journal.events() == []


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE tacit_events SET facts = '{\"n\":9}' WHERE number = 3",
        "UPDATE tacit_events SET at = at + 1 WHERE number = 3",
        "DELETE FROM tacit_events WHERE number = 3",
        "UPDATE tacit_events SET number = 99 WHERE number = 3",
    ],
)
def test_a_change_of_the_log_shows(where: str, opened: Callable[[], Journal], change: str) -> None:
    journal = opened()
    for number in range(5):
        journal.note("x", n=number).result()
    engine = create_engine(where if "://" in where else f"sqlite:///{where}")
    with engine.begin() as connection:
        connection.execute(text(change.replace(":", r"\:")))
    engine.dispose()
    with pytest.raises(DamagedFile, match="event 3"):
        journal.verify()

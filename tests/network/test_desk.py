"""The desk: an answer that goes into a sum is durable before anything follows from it."""

import threading
import time
from concurrent.futures import Future

import pytest

from tacit.network.desk import Asking, Desk
from tacit.network.journal.errors import Away
from tacit.network.office import Kind, Receipt

DIGEST = b"d" * 32


class Notes:
    """A journal whose writes are decided by the test."""

    def __init__(self):
        self.asked = []

    def __call__(self, assignment, participant, digest, size):
        self.asked.append(Future())
        return self.asked[-1]


def asked(desk, **options):
    """Asks one participant in a thread. Returns the thread, and what came of it."""
    found = []

    def run():
        try:
            found.append(desk.ask(Asking(Kind.MASK, 0, 0, 30.0, 100, {"a": b""}, lambda name, body: None, **options)))
        except Away as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not desk.open_for("a"):
        time.sleep(0.005)
    return thread, found


def test_what_is_counted_waits_until_it_is_noted():
    notes = Notes()
    desk = Desk(lambda names: None, lambda name: "process", notes)
    thread, found = asked(desk, counted=True)
    desk.take("a", desk.open_for("a")[0].id, b"body", DIGEST)
    thread.join(0.3)
    assert thread.is_alive()
    notes.asked[0].set_result(Receipt())
    thread.join(5)
    assert found[0].answered == ["a"]


def test_what_could_not_be_noted_is_not_counted():
    notes = Notes()
    desk = Desk(lambda names: None, lambda name: "process", notes)
    thread, found = asked(desk, counted=True)
    desk.take("a", desk.open_for("a")[0].id, b"body", DIGEST)
    notes.asked[0].set_exception(Away("the disk is full"))
    thread.join(5)
    assert isinstance(found[0], Away) and "the disk is full" in str(found[0])


def test_an_answer_that_is_noted_at_the_second_try_is_counted_and_nobody_waits_on():
    notes = Notes()
    desk = Desk(lambda names: None, lambda name: "process", notes)
    thread, found = asked(desk, counted=True)
    id = desk.open_for("a")[0].id
    with desk._change:  # the round's thread looks when all of this has happened
        desk.take("a", id, b"body", DIGEST)
        notes.asked[0].set_exception(Away("the disk is full"))
        desk.take("a", id, b"body", DIGEST)
        notes.asked[1].set_result(Receipt())
    thread.join(5)
    assert not thread.is_alive() and found[0].answered == ["a"]


def test_a_late_answer_is_not_taken():
    desk = Desk(lambda names: None, lambda name: "process", Notes())
    answers = desk.ask(Asking(Kind.MASK, 0, 0, 0.05, 100, {"a": b""}, pytest.fail, counted=True))
    assert answers.failed["a"].kind == "late"

"""Nonces, which are taken once, and facts, which are known by name."""

from collections.abc import Callable

from tacit.network.journal import Journal

from .conftest import Clock


def test_a_nonce_is_fresh_once_also_in_one_batch_and_after_a_restart(opened: Callable[[], Journal]) -> None:
    journal = opened()
    asked = [journal.fresh("a", bytes([number % 20]) * 16, 2_000_000_000) for number in range(60)]
    assert [one.result() for one in asked] == [True] * 20 + [False] * 40
    assert journal.fresh("b", bytes(16), 2_000_000_000).result()
    journal = opened()
    assert not journal.fresh("a", bytes(16), 2_000_000_000).result()
    assert journal.fresh("a", b"n" * 16, 2_000_000_000).result()


def test_a_nonce_is_forgotten_only_after_its_time(where: str, clock: Clock) -> None:
    with Journal.open(where, holder="test", clock=clock, lease_seconds=0.03) as journal:
        until = int(clock.now * 1000) + 1000
        assert journal.fresh("a", bytes(16), until).result()
        clock.now += 50
        for _ in range(5):
            journal.renew()
        assert not journal.fresh("a", bytes(16), until).result()
        clock.now += 20
        while not journal.fresh("a", bytes(16), until).result():  # at the next chance
            journal.renew()


def test_facts_are_remembered_as_they_were_given(opened: Callable[[], Journal]) -> None:
    journal = opened()
    assert journal.recall("run") is None
    journal.remember("run", "ünïcode")
    journal.remember("terms", b"\0\xff")
    journal.remember("run", "second")
    journal = opened()
    assert journal.recall("run") == "second"
    assert journal.recall("terms") == b"\0\xff"


def test_what_is_settled_never_changes(journal: Journal) -> None:
    assert journal.settle("roster", "a,b") == "a,b"
    assert journal.settle("roster", "b,a") == "a,b"
    assert journal.recall("roster") == "a,b"

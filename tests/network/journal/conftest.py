"""Journals of the tests: each in SQLite, and in a real PostgreSQL server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tacit.network.journal import Journal

from .server import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "journal.sqlite")
    return request.getfixturevalue("server").database()


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def opened(where: str, clock: Clock) -> Iterator[Callable[[], Journal]]:
    """Opens the journal of the test, anew after it was closed."""
    found: list[Journal] = []

    def open_it(holder: str = "test") -> Journal:
        for one in found:
            one.close()
        found.append(Journal.open(where, holder=holder, clock=clock))
        return found[-1]

    yield open_it
    for one in found:
        one.close()


@pytest.fixture
def journal(opened: Callable[[], Journal]) -> Journal:
    return opened()

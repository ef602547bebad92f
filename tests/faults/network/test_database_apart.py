"""A network between the coordinator and its database that goes away: silent, deaf, or reset again and again."""

from __future__ import annotations

import time

import pytest

from tests.faults.network.checker import checked
from tests.faults.network.proxy import Proxy
from tests.faults.network.scene import free_port, scene, until
from tests.faults.network.test_storage import ready
from tests.network.journal.server import Server

pytestmark = [pytest.mark.timeout(200), pytest.mark.slow]


class Distant(Server):
    """A database server at a port, as one of another machine."""

    def __init__(self):
        self.port = free_port()
        super().__init__()

    def start(self):
        options = f"-k {self.folder} -p {self.port} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=50"
        self._run(self._control, "-D", str(self.folder / "data"), "-w", "-o", options, "start")

    def database(self, port):
        """The address of the database, through a port."""
        return f"postgresql+psycopg://tacit@127.0.0.1:{port}/postgres"


@pytest.fixture
def distant():
    """A database behind a network of its own: the server, and the network."""
    server = Distant()
    proxy = Proxy(free_port(), server.port)
    try:
        yield server, proxy
    finally:
        proxy.close()
        server.close()


def trained(story):
    """How often the first client has trained: told without a look at the journal."""
    trace = story.folder / f"{story.names[0]}.trace"
    return len(trace.read_text().splitlines()) if trace.exists() else 0


@pytest.mark.parametrize(
    "weather",
    [
        pytest.param({"down": True}, id="reset"),
        pytest.param({"stalled": True}, id="silent"),
        pytest.param({"one_way": True}, id="deaf"),
    ],
)
def test_a_coordinator_that_is_cut_off_from_its_database_loses_nothing_and_says_so(weather, distant, tmp_path):
    """Row 15: for longer than writes wait. Meanwhile it is not ready; afterwards every report is counted once."""
    server, proxy = distant
    sections = {"network": {"absence": 30.0, "attempts": 50}}
    with scene(tmp_path, 4, 8, vectors=True, journal=server.database(proxy.port), **sections) as story:
        story.up()
        story.crowd()
        until(lambda: trained(story) >= 2, story.said)
        proxy.set(**weather)
        until(lambda: ready(story) == 503, story.said)
        before = trained(story)
        time.sleep(1.0)
        assert trained(story) <= before + 1  # no round goes on without its journal
        proxy.set()
        until(lambda: ready(story) == 200, story.said)
        run = story.finished(120)
        checked(story, run)
        assert len(run.rows) == 8


def test_a_network_to_the_database_that_comes_and_goes_loses_nothing(distant, tmp_path):
    """Row 15: flapping; connections that are reset in the middle of a commit leave it in doubt, and never twice."""
    server, proxy = distant
    with scene(tmp_path, 4, 10, vectors=True, journal=server.database(proxy.port)) as story:
        story.up()
        story.crowd()
        until(lambda: trained(story) >= 1, story.said)
        for number in range(40):
            proxy.set(**({"down": True}, {"stalled": True}, {"one_way": True}, {"delay": 0.05})[number % 4])
            time.sleep(0.2)
            proxy.reset()
            proxy.set()
            time.sleep(0.1)
        run = story.finished(120)
        checked(story, run)
        assert len(run.rows) == 10

"""Thousands of devices that come back in one moment, when the coordinator is there again after an outage."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.faults.network import devices
from tests.faults.network.checker import checked
from tests.faults.network.scene import Actor, scene, until
from tests.faults.network.test_network import alike

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 and /proc"),
]
EACH = 64 * 2**10
"""Bytes that a device may cost: its connection, its request and its nonce."""
BESIDE = 64 * 2**20
"""Bytes for the run itself, which goes on beside them."""


def most_memory(process):
    """The most bytes that a process ever held in memory."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


@pytest.mark.parametrize(
    ("count", "seconds", "begun"),
    [(300, 20.0, False), pytest.param(5000, 60.0, True, marks=pytest.mark.slow)],
    ids=["300", "5000 in the middle of a run"],
)
def test_devices_that_come_back_all_at_once_are_all_served_and_the_run_goes_on(count, seconds, begun, tmp_path):
    """Row 20: kill -9 while they wait; all come back at once, are served or told when to come again, in bounded memory.

    A device that is told to come again does so after the time that it was told, as every participant does.
    """
    with scene(tmp_path, rounds=5 if begun else 2, network={"absence": 75.0, "attempts": 50}) as story:
        devices.taken_in(story, count)
        story.up()
        before = most_memory(story.coordinator.process)
        if begun:
            story.crowd([1, 2, 3])
            story.parties[0].start()
            until(lambda: "counted" in story.log(0), story.said)
            story.parties[0].kill()  # so that there is a round to go on with
        herd = Actor(devices.herd, story.spec, story.port, count).start()
        story.actors.append(herd)
        until(lambda: (tmp_path / "herd.there").exists(), story.said)
        story.coordinator.signal(signal.SIGKILL)
        until(lambda: (tmp_path / "herd.away").exists(), story.said)
        story.coordinator.process.join()
        story.up()
        until(lambda: (tmp_path / "herd.served").exists() or not herd.alive, story.said, 2 * seconds)
        told = json.loads((tmp_path / "herd.served").read_text())
        assert told["wrong"] == []
        assert len(told["seconds"]) == count
        assert max(told["seconds"]) < seconds
        assert told["cut"] <= count // 10  # by the system, where more knock at once than it keeps waiting
        assert most_memory(story.coordinator.process) - before < count * EACH + BESIDE
        if begun:
            story.parties[0].start()
        else:
            story.crowd()
        run = story.finished()
        checked(story, run)
        assert alike(story, run)

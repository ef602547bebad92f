"""Many connections that dawdle: they take no more places than they may, and those who work hardly notice them."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import urllib.request

import pytest

from tests.faults.network import devices
from tests.faults.network.checker import checked
from tests.faults.network.scene import Actor, scene, until
from tests.faults.network.test_network import alike

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(200),
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8"),
]
SLOWER = 5.0
"""So many times longer requests may take under the siege (98 of 100 of them), or `ANYWAY`: other programs run, too."""
ANYWAY = 0.5
"""Seconds."""


def latency(port, who, count):
    """The 98th percentile of a signed request's seconds, each fifth over a connection of its own."""

    async def story():
        took, writer = [], None
        for number in range(count):
            began = time.perf_counter()
            if number % 5 == 0:
                if writer is not None:
                    writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(devices.asking(who))
            found = await devices.reply(reader)
            assert found.status == 200, found
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.025)  # within the rate of one participant
        writer.close()
        return sorted(took)[int(0.98 * count)]

    return asyncio.run(asyncio.wait_for(story(), 90))


def connections(port):
    """How many the coordinator says are open."""
    text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    return int(float(re.search(r"^tacit_connections (\S+)", text, re.M)[1]))


COUNT, REQUESTS = 2400, 300


def test_requests_take_hardly_longer_while_thousands_dawdle(tmp_path):
    """Row 14: silent, slow heads, and bodies of one byte a second, of strangers and of participants."""
    each = COUNT // 2 // devices.ADDRESSES  # half of them find no place
    limits = {"idle": 10.0, "grace": 5.0, "per_address": each, "connections": COUNT}

    def told():
        place = tmp_path / "siege"
        return json.loads(place.read_text()) if place.exists() else {"open": 0, "cut": 0, "refused": 0}

    with scene(tmp_path, rounds=3) as story:
        devices.taken_in(story, COUNT + 1)
        story.up(limits=limits)
        port, who = story.port, devices.device(COUNT)
        quiet = latency(port, who, REQUESTS)
        siege = Actor(devices.siege, story.spec, port, COUNT).start()
        story.actors.append(siege)
        until(lambda: told()["cut"] > COUNT // 4, story.said)  # it goes on, in waves
        busy = latency(port, who, REQUESTS)
        assert busy < max(SLOWER * quiet, ANYWAY)
        found = connections(port)
        assert COUNT // 4 < found <= devices.ADDRESSES * each + 8
        assert told()["refused"] > 0
        story.crowd()
        run = story.finished()
        assert siege.alive
        checked(story, run)
        assert alike(story, run)

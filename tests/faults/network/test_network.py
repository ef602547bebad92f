"""Bad networks between participants and coordinator: slow, cut, deaf, wrong; and machines whose clocks are."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch

from tests.faults.network.checker import checked
from tests.faults.network.scene import scene, until

pytestmark = pytest.mark.timeout(120)


def alike(story, run):
    """Whether a run ended with the bits of its simulation."""
    alone = story.simulated()
    return all(torch.equal(run.tensors[name], alone.tensors[name]) for name in alone.tensors)


@pytest.mark.parametrize(
    "weather",
    [
        pytest.param({"delay": 0.02}, marks=pytest.mark.slow, id="late"),
        pytest.param({"cut_after": 1500}, id="cut at once"),
        pytest.param({"cut_after": 6000}, marks=pytest.mark.slow, id="cut now and then"),
        pytest.param({"rate": 20_000.0}, marks=pytest.mark.slow, id="slow"),
    ],
)
def test_a_bad_network_changes_no_bit(weather, tmp_path):
    """Rows 2 and 15: late, byte by byte, or over connections that end in the middle of a request."""
    with scene(tmp_path, rounds=2, proxied=True) as story:
        story.proxy.set(**weather)
        story.up()
        story.crowd()
        if weather.get("cut_after") == 1500:
            time.sleep(3.0)  # nothing passes whole in this weather
            story.proxy.set()
        run = story.finished()
        checked(story, run)
        assert alike(story, run)


def test_a_model_that_was_damaged_on_its_way_is_fetched_again_and_never_trained_on(tmp_path):
    """Row 21: what was trained on is told by the model at the end, to the bit."""
    with scene(tmp_path, rounds=4, proxied=True, network={"attempts": 50}) as story:
        story.up()
        story.crowd()
        until(lambda: "counted" in story.log(0), story.said)
        story.proxy.set(corrupt=600)
        time.sleep(1.5)
        story.proxy.set()
        run = story.finished()
        checked(story, run)
        assert alike(story, run)


@pytest.mark.parametrize("weather", ["down", pytest.param("stalled", marks=pytest.mark.slow), "one_way"])
def test_a_network_that_goes_and_comes_back_needs_nobody(weather, tmp_path):
    """Row 15: flapping, deaf, and deaf in one direction only."""
    with scene(tmp_path, rounds=4, proxied=True) as story:
        story.up()
        story.crowd()
        until(lambda: "sent" in story.log(0), story.said)
        for _ in range(3):
            story.proxy.set(**{weather: True})
            time.sleep(0.3)
            story.proxy.set()
            time.sleep(0.3)
        run = story.finished()
        checked(story, run)
        assert alike(story, run)


@pytest.mark.slow
def test_half_of_the_participants_behind_a_partition_come_back_by_themselves(tmp_path):
    """Row 15: the other half waits, as all are needed; no round is made twice."""
    with scene(tmp_path, rounds=5, proxied=True, apart=[0, 1], network={"absence": 3.0, "attempts": 50}) as story:
        story.up()
        story.crowd([0, 1])
        story.crowd([2, 3])
        until(lambda: "counted" in story.log(0), story.said)
        story.proxy.set(down=True)
        time.sleep(4.0)
        story.proxy.set()
        run = story.finished()
        checked(story, run)
        assert alike(story, run)


def test_who_sleeps_through_a_round_does_not_hold_up_the_others(tmp_path):
    """Rows 1 and 5: paused in the middle, it wakes up to an assignment that is closed, and goes on with the next."""
    sections = {
        "aggregation": {"minimum": 3, "dropout": 0.3},
        "network": {"absence": 3.0, "answer": 3.0, "patience": 3.0},
    }
    with scene(tmp_path, 5, 12, vectors=True, **sections) as story:
        story.up()
        story.crowd([1, 2, 3, 4])
        sleeper = story.parties[0].start()
        until(lambda: "counted" in story.log(0), story.said)
        sleeper.pause()
        counted = story.log(1).count('"counted"')
        until(lambda: story.log(1).count('"counted"') > counted + 4, story.said)
        sleeper.go_on()
        run = story.finished()
        attempts = checked(story, run)
        assert any(story.names[0] not in one.facts["counted"] for one in attempts if one.state == "published")


@pytest.mark.parametrize("days", [1, pytest.param(-1, marks=pytest.mark.slow)])
def test_a_participant_whose_clock_is_wrong_by_a_day_takes_part(days, tmp_path):
    """Row 18: it is told the time, and signs by that."""
    with scene(tmp_path, rounds=2) as story:
        story.up()
        story.crowd([1, 2, 3])
        story.parties[0].start(skew=86_400.0 * days)
        run = story.finished()
        checked(story, run)
        assert alike(story, run)


def test_a_step_of_the_coordinators_clock_changes_no_deadline(tmp_path):
    """Row 18: an hour on, in the middle of the run; what waits, waits by a clock that only grows."""
    with scene(tmp_path, rounds=6) as story:
        story.up(step=(1.5, 3600.0))
        story.crowd()
        run = story.finished()
        attempts = checked(story, run)
        assert alike(story, run)
        assert len(attempts) == 6


def test_slow_and_silent_connections_do_not_hold_up_a_round(tmp_path):
    """Row 14: several hundred that say nothing, dawdle over a head, or over a body of one byte a second."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with scene(tmp_path, rounds=3) as story:
        story.up(limits={"idle": 2.0, "grace": 1.0, "connections": 600, "per_address": 500})
        starts = [b"", b"GET /v1/ti", b"POST /v1/enrol HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"]
        slow = []
        for number in range(300):
            slow.append(socket.create_connection(("127.0.0.1", story.port)))
            slow[-1].sendall(starts[number % 3])
        story.crowd()
        run = story.finished()
        checked(story, run)
        assert alike(story, run)
        for one in slow:
            one.close()


def memory_of(process):
    """Bytes that a process holds in memory."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_herd_that_comes_back_at_once_is_served_in_bounded_memory(tmp_path):
    """Row 20: 200 connections ask at the same moment, ten times each, after an outage."""
    with scene(tmp_path, rounds=3) as story:
        story.up(limits={"requests": 5000.0, "burst": 5000})
        before = memory_of(story.coordinator.process)
        herd = story.herd(200, 10)
        until(lambda: not herd.alive or memory_of(story.coordinator.process) - before > 200 * 2**20, story.said)
        assert herd.ended() == 0, story.said()
        assert memory_of(story.coordinator.process) - before < 120 * 2**20
        story.crowd()
        run = story.finished()
        checked(story, run)
        assert alike(story, run)


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True)


@pytest.fixture
def apart():
    """A network namespace of its own, joined by a cable that can be pulled."""
    name = f"t{os.getpid()}"
    if os.geteuid() or ip("netns", "add", name).returncode:
        pytest.skip("only root can make network namespaces, with `ip`")
    made = [
        ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name),
        ip("addr", "add", "10.213.7.1/24", "dev", f"{name}a"),
        ip("link", "set", f"{name}a", "up"),
        ip("-n", name, "addr", "add", "10.213.7.2/24", "dev", f"{name}b"),
        ip("-n", name, "link", "set", f"{name}b", "up"),
    ]
    if any(one.returncode for one in made):
        ip("netns", "del", name)
        pytest.skip(f"no cable between network namespaces here: {[one.stderr for one in made]}")
    yield name
    ip("netns", "del", name)
    ip("link", "del", f"{name}a")


def test_a_cable_that_is_pulled_between_two_network_namespaces(apart, tmp_path):
    """Row 15: between real interfaces, where a peer that is gone sends no reset; over TLS, as beyond one machine."""
    with scene(tmp_path, rounds=4, at="10.213.7.1", network={"absence": 3.0, "attempts": 50}) as story:
        story.up()
        story.crowd([1, 2, 3])
        story.parties[0].start(namespace=apart)
        until(lambda: "counted" in story.log(0), story.said)
        ip("link", "set", f"{apart}a", "down")
        time.sleep(4.0)
        ip("link", "set", f"{apart}a", "up")
        run = story.finished()
        checked(story, run)
        assert alike(story, run)


def test_kill_9_of_everybody_at_once(tmp_path):
    """Row 13: a power cut; whatever was in memory is gone, and nothing that was acknowledged is."""
    with scene(tmp_path, rounds=4, algorithm={"name": "Scaffold"}) as story:
        story.up()
        crowd = story.crowd()
        until(lambda: "counted" in story.log(0), story.said)
        story.coordinator.signal(signal.SIGKILL)
        crowd.kill()
        story.coordinator.process.join()
        story.up()
        story.crowd()
        run = story.finished()
        checked(story, run)
        assert alike(story, run)

"""Requests that somebody recorded, sent again to the coordinator that was started anew after kill -9."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import defaultdict
from contextlib import suppress
from types import SimpleNamespace

import pytest

from tacit.network import operator_box
from tacit.network.office import CheckIn, Code, Reply
from tacit.network.wire import Enrol, decode, encode
from tests.faults.network import scene as scenes
from tests.faults.network.checker import checked
from tests.faults.network.devices import device, taken_in
from tests.faults.network.proxy import Proxy
from tests.faults.network.scene import scene, until
from tests.network.http.serving import Someone, head, sent, written

pytestmark = pytest.mark.timeout(120)
WHO = device(0)


def recorded(method, path, body=b"", who=WHO):
    """A request as it goes over the wire."""
    return written(method, path, head(who, method, path, body), body)


class Tap:
    """A reader whose bytes are kept."""

    def __init__(self, reader, kept):
        self._reader, self._kept = reader, kept

    async def read(self, most):
        data = await self._reader.read(most)
        self._kept += data
        return data


class Recorder(Proxy):
    """A proxy that keeps all that goes to the coordinator."""

    def __init__(self, *given):
        self.kept = []
        super().__init__(*given)

    async def _pass(self, reader, writer, up):
        if up:
            self.kept.append(bytearray())
            reader = Tap(reader, self.kept[-1])
        await super()._pass(reader, writer, up)

    def requests(self):
        """Every whole request, by method."""
        found = defaultdict(list)
        for data in map(bytes, self.kept):
            while (end := data.find(b"\r\n\r\n") + 4) > 3:
                length = re.search(rb"\r\nContent-Length: (\d+)\r\n", data[:end], re.I)
                end += int(length[1]) if length else 0
                whole, data = data[:end], data[end:]
                found[whole.split(b" ", 1)[0].decode()].append(whole)
        return found


@pytest.mark.slow
def test_all_that_was_recorded_in_a_run_is_refused_after_kill_9(tmp_path, monkeypatch):
    """Row 8: check-ins, keys, shares, masked reports, signatures: again, and again after another crash."""
    monkeypatch.setattr(scenes, "Proxy", Recorder)
    with scene(tmp_path, 4, 4, vectors=True, proxied=True) as story:
        story.up()
        crowd = story.crowd()
        until(lambda: story.log(0).count("counted") >= 4, story.said)  # two rounds: a line says it twice
        story.coordinator.kill()
        crowd.kill()
        requests = story.proxy.requests()
        changing = [one for method in ("POST", "PUT", "PATCH") for one in requests[method]]
        assert len(requests["PUT"]) >= 4 * 2 * 5

        async def again():
            server = SimpleNamespace(address=("127.0.0.1", story.port))
            return [(one, await sent(server, one)) for one in changing]

        last = {}
        for _ in range(2):
            story.up()
            for one, reply in asyncio.run(again()):
                assert reply.status in (401, 404, 410), (one[:200], reply)
                # what was refused the first time leaves no trace, and is refused for the same reason again
                assert reply.code in (Code.REPLAYED, Code.UNKNOWN, Code.GONE)
                last[one] = reply.code
            story.coordinator.kill()
        assert list(last.values()).count(Code.REPLAYED) > 0.9 * len(changing)
        with story.journal() as journal:
            answered = len(journal.rounds())
        story.up()
        story.crowd()
        run = story.finished()
        assert len(checked(story, run)) >= answered


def test_what_changes_something_is_refused_when_it_comes_again_after_kill_9(tmp_path):
    """Row 8: killed as soon as the reply is there; twice. What never came is taken, once."""
    with scene(tmp_path, 4, 2) as story:
        taken_in(story, 1)
        story.up()
        server = SimpleNamespace(address=("127.0.0.1", story.port))
        body = encode(CheckIn("0" * 32))
        taken, lost = recorded("POST", "/v1/check-in", body), recorded("POST", "/v1/check-in", body)
        leaving = recorded("POST", "/v1/withdraw")
        assert asyncio.run(sent(server, taken)).status == 200
        for _ in range(2):
            story.coordinator.kill()
            story.up()
            assert asyncio.run(sent(server, taken)).code is Code.REPLAYED
        assert asyncio.run(sent(server, lost)).status == 200
        story.coordinator.kill()
        story.up()
        assert asyncio.run(sent(server, lost)).code is Code.REPLAYED
        assert asyncio.run(sent(server, leaving)).status == 200
        story.coordinator.kill()
        story.up()
        assert asyncio.run(sent(server, leaving)).code is Code.REVOKED


def test_what_only_reads_tells_nobody_more_than_was_told_before(tmp_path):
    """Row 8: a GET does not wait for its nonce, so a crash may forget that: then it is answered once more.

    What comes is the bytes that the path names by their digest, as its sender was given them; and not to whoever was
    sent away meanwhile.
    """
    with scene(tmp_path, 4, 2) as story:
        taken_in(story, 1)
        story.up(crash="fresh.before:2")
        server = SimpleNamespace(address=("127.0.0.1", story.port))
        asking = recorded("POST", "/v1/check-in", encode(CheckIn("0" * 32)))
        found = decode(Reply, asyncio.run(sent(server, asking)).body)
        path = f"/v1/blobs/{found.terms.sha256}"
        reading = recorded("GET", path)
        with suppress(OSError, EOFError):  # it dies before it has written that nonce, whether its reply left or not
            assert asyncio.run(sent(server, reading)).status == 200
        assert story.coordinator.ended() == -signal.SIGKILL
        story.up()
        whole = asyncio.run(sent(server, recorded("GET", path)))
        once_more = asyncio.run(sent(server, reading))
        assert (once_more.status, once_more.body) == (200, whole.body)
        assert asyncio.run(sent(server, reading)).code is Code.REPLAYED
        elsewhere = reading.replace(found.terms.sha256.encode(), b"0" * 64)
        assert asyncio.run(sent(server, elsewhere)).code is Code.UNSIGNED
        operator_box.revoke(story.run, WHO.name, "its key was stolen")
        until(lambda: asyncio.run(sent(server, recorded("GET", path))).code is Code.REVOKED, story.said)
        assert asyncio.run(sent(server, reading)).code is Code.REVOKED


def test_an_enrolment_that_comes_again_takes_nobody_else_in(tmp_path):
    """Row 9: the same token, name and key are answered as the first time, also after kill -9; others are not."""
    with scene(tmp_path, 4, 2) as story:
        story.up()
        server = SimpleNamespace(address=("127.0.0.1", story.port))
        token = operator_box.invite(story.run, note="a test").token
        until(lambda: not list((story.run / operator_box.FOLDER).glob("*.json")), story.said)
        who, thief = Someone("newcomer"), Someone("thief")
        body = encode(Enrol(token, who.name, who.key))
        enrolling = recorded("POST", "/v1/enrol", body, who)
        first = asyncio.run(sent(server, enrolling))
        assert first.status == 200
        story.coordinator.kill()
        story.up()
        assert asyncio.run(sent(server, enrolling)).body == first.body
        stolen = recorded("POST", "/v1/enrol", encode(Enrol(token, thief.name, thief.key)), thief)
        assert asyncio.run(sent(server, stolen)).code is Code.FORBIDDEN
        posing = Someone(who.name, thief.private)
        renamed = recorded("POST", "/v1/enrol", encode(Enrol(token, posing.name, posing.key)), posing)
        assert asyncio.run(sent(server, renamed)).code is Code.FORBIDDEN
        story.coordinator.kill()
        with story.journal() as journal:
            assert [one.name for one in journal.participants()].count(who.name) == 1
            assert len(journal.participants()) == 5

"""Dashboard, metrics and log beside the protocol, as a coordinator's own server serves them."""

from __future__ import annotations

import io
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from tacit.network.watch import dashboard, metrics
from tacit.network.watch.log import NAME, Log, opened
from tacit.network.watch.observer import Observer
from tacit.network.watch.status import read
from tests.network.watch import samples
from tests.network.watch.test_probe import coordinator


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream, logger = io.StringIO(), logging.getLogger(NAME)
    before = logger.handlers[:], logger.level, logger.propagate
    opened(stream, level=logging.DEBUG)
    yield stream
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as reply:
        found: bytes = reply.read()
        return found


def test_a_coordinator_serves_people_and_monitors_beside_participants(lines: io.StringIO) -> None:
    observer = Observer(log=Log())
    extra = [*dashboard.routes(samples.training), *metrics.routes(observer, samples.training)]
    with coordinator(extra_routes=extra, observe=observer.observe) as url:
        assert b"<title>tacit</title>" in get(url)
        assert b"setTimeout" in get(f"{url}/dashboard/page.js")
        assert read(get(f"{url}/v1/status"))["round"] == 37
        assert get(f"{url}/livez") == b"ok\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{url}/v1/nothing")
        text = get(f"{url}/metrics").decode()
    assert 'tacit_requests_total{route="livez",status="200"} 1.0' in text
    assert 'tacit_refusals_total{code="unknown"} 1.0' in text
    assert observer.failures() == {"unknown": 1}
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(one["event"], one["route"]) for one in events] == [("request", "livez"), ("request.refused", "none")]

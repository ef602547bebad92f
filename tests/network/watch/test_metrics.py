"""What is counted, what Prometheus reads of it, and that no participant is in it."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from threading import Thread

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tacit.network.watch.metrics import routes
from tacit.network.watch.observer import MOST_VALUES, Observer
from tacit.network.watch.status import problems
from tests.network.watch import samples
from tests.network.watch.serving import served


def told(observer: Observer, route: str = "answer", code: str = "", participant: str = "clinic-a") -> None:
    """A request as the server tells of it."""
    facts = {"received": 1000, "sent": 10, "seconds": 0.02, "participant": participant}
    observer.observe("request", route=route, method="PUT", status=410 if code else 200, code=code, **facts)


def read(url: str, **headers: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of a page of metrics."""
    asked = urllib.request.Request(f"{url}/metrics", headers={k.replace("_", "-"): v for k, v in headers.items()})
    text = urllib.request.urlopen(asked, timeout=10).read().decode()
    assert "clinic-a" not in text
    families = text_string_to_metric_families(text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def test_prometheus_reads_what_was_counted_and_how_the_run_goes() -> None:
    observer = Observer(connections=lambda: 6, queue=lambda: 2)
    for _ in range(3):
        told(observer)
    told(observer, code="gone")
    observer.observe("answer", kind="train", participant="clinic-a")
    observer.observe("lost", kind="mask", cause="late", participant="clinic-a", text="of clinic-a")
    observer.observe("attempt", state="published", seconds=2.5)
    observer.observe("commit", seconds=0.004, writes=7)
    observer.observe("connection", refused="address")
    observer.observe("something that is not known", names=["clinic-a"])
    with served(routes(observer, samples.training)) as url:
        found = read(url)
    assert found["tacit_requests_total", (("route", "answer"), ("status", "200"))] == 3
    assert found["tacit_requests_total", (("route", "answer"), ("status", "410"))] == 1
    assert found["tacit_request_seconds_count", (("route", "answer"),)] == 4
    assert found["tacit_received_bytes_total", (("route", "answer"),)] == 4000
    assert found["tacit_refusals_total", (("code", "gone"),)] == 1
    assert found["tacit_answers_total", (("kind", "train"),)] == 1
    assert found["tacit_lost_answers_total", (("cause", "late"), ("kind", "mask"))] == 1
    assert found["tacit_attempts_total", (("state", "published"),)] == 1
    assert found["tacit_journal_commit_seconds_bucket", (("le", "0.005"),)] == 1
    assert found["tacit_journal_writes_total", ()] == 7
    assert found["tacit_connections_refused_total", (("why", "address"),)] == 1
    assert found["tacit_connections", ()] == 6
    assert found["tacit_journal_queue", ()] == 2
    assert found["tacit_round", ()] == 37
    assert found["tacit_participants", (("state", "online"),)] == 5
    assert found["tacit_state", (("state", "training"),)] == 1
    assert found["tacit_state", (("state", "failed"),)] == 0
    assert found["tacit_epsilon_limit", ()] == 4
    assert found["tacit_resident_bytes", ()] > 10_000_000


@pytest.mark.parametrize("status", [samples.gathering(), samples.troubled()])
def test_what_is_not_known_is_left_out(status: dict[str, object]) -> None:
    with served(routes(Observer(), lambda: status)) as url:
        found = read(url)
    assert ("tacit_epsilon", ()) not in found
    assert ("tacit_journal_queue", ()) not in found


def test_metrics_are_for_who_shows_the_token() -> None:
    with served(routes(Observer(), samples.training, "a-token-of-the-operator")) as url:
        with pytest.raises(urllib.error.HTTPError, match="401"):
            read(url)
        assert read(url, Authorization="Bearer a-token-of-the-operator")["tacit_rounds", ()] == 100


def test_a_peer_cannot_make_more_series_than_a_few() -> None:
    observer = Observer()
    for k in range(10 * MOST_VALUES):
        told(observer, route=f"route-{k}", code=f"code-{k}")
    assert len(observer.failures()) == MOST_VALUES + 1
    assert observer.failures()["other"] == 9 * MOST_VALUES


def test_a_status_takes_load_and_failures_from_it() -> None:
    observer = Observer(connections=lambda: 3)
    told(observer)
    told(observer, code="replayed")
    status = {**samples.training(), "load": observer.load(), "failures": observer.failures()}
    assert problems(status) == []
    assert (status["load"]["requests"], status["load"]["bytes_in"], status["load"]["connections"]) == (2, 2000, 3)
    assert status["failures"] == {"replayed": 1}


def test_nothing_is_lost_when_many_threads_tell_at_once() -> None:
    observer = Observer()
    threads = [Thread(target=lambda: [told(observer) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert observer.load()["requests"] == 2000
    assert observer.registry.get_sample_value("tacit_requests_total", {"route": "answer", "status": "200"}) == 2000


def test_the_lag_of_the_event_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tacit.network.watch.observer.LOOK", 0.01)
    observer = Observer()

    async def stall() -> None:
        import time

        watching = asyncio.create_task(observer.watch_loop())
        await asyncio.sleep(0.03)
        time.sleep(0.2)  # what a loop must not do
        await asyncio.sleep(0.03)
        watching.cancel()

    asyncio.run(stall())
    assert observer.lag is not None
    assert observer.lag >= 0.1

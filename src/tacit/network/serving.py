"""A coordinator as a process: its rounds, its socket, its page and its metrics, until the run has ended."""

from __future__ import annotations

import asyncio
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tacit.errors import Problems, UsageError
from tacit.network import operator_box
from tacit.network.coordinator import Coordinator
from tacit.network.event_loop import NEW_LOOP
from tacit.network.http.server import Server
from tacit.network.identity.tls import server_context
from tacit.network.watch import dashboard, metrics
from tacit.network.watch.observer import Observer
from tacit.record.run import Run

if TYPE_CHECKING:
    from tacit.network.http.limits import Limits
    from tacit.network.watch.log import Log

EVERYWHERE = ("0.0.0.0", "::", "")
"""Hosts that are none."""


@dataclass(frozen=True)
class Listening:
    """Where and how a coordinator listens.

    Attributes:
        host, port: the address; port 0 takes a free one.
        certificate, key: files for TLS; None serves in clear, on loopback only.
        ca: of the authority that signed the certificate, for invitations; None where the system knows it.
        clients: of the authority that signed participants' certificates, which they must show then.
        url: by which participants reach it, where that is another than the address.
        token: that whoever looks at the page must show; None lets in those on this machine only.
        limits: what peers may take.
        linger: seconds for which it goes on after the run, so that everybody can fetch the model.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    clients: Path | None = None
    url: str | None = None
    token: str | None = None
    limits: Limits | None = None
    linger: float = 30.0

    def problems(self) -> Iterator[str]:
        """What is wrong with it."""
        if self.host in EVERYWHERE and self.url is None:
            yield f"host is {self.host}, which nobody can reach under this name: give the url that participants use"
        if self.url is not None and urlsplit(self.url).port is None:
            yield f"url is {self.url}: give it with its port, as {self.url.rstrip('/')}:443"
        if self.url is not None and self.token is None:
            yield (
                "a proxy or a name stands before it (url), so whoever looks at the page may seem to be on this "
                "machine: give a token for the page"
            )

    def known_as(self, url: str) -> str:
        """The url with the host as it was given, for which certificates are made."""
        return url.replace(url.partition("://")[2].rpartition(":")[0], self.host, 1) if ":" not in self.host else url

    def context(self) -> ssl.SSLContext | None:
        """For the server.

        Raises:
            UsageError: half of a pair, or files that are no certificates.
        """
        if self.certificate is None and self.key is None:
            return None
        if self.certificate is None or self.key is None:
            raise UsageError("a certificate and its key go together: give both, as `tacit certs` made them")
        return server_context(self.certificate, self.key, self.clients)

    def authority(self) -> bytes | None:
        """The certificate of the authority, as invitations hold it (DER).

        Raises:
            UsageError: the file holds none.
        """
        if self.ca is None:
            return None
        try:
            return x509.load_pem_x509_certificate(self.ca.read_bytes()).public_bytes(Encoding.DER)
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.ca} holds no certificate: {error}") from error


def served(
    make: Callable[[], Coordinator],
    listening: Listening,
    *,
    log: Log | None = None,
    started: Callable[[str, Coordinator], None] = lambda url, coordinator: None,
    told: Callable[[Coordinator], None] = lambda coordinator: None,
) -> Run | None:
    """Serves until the run has ended, or until it is told to stop (Ctrl-C, SIGTERM): it can be taken up again then.

    Args:
        make: opens the coordinator.
        listening: where.
        log: of what happens.
        started: called when participants can come, with the url.
        told: called now and then, for progress.

    Returns:
        The run; None where it was stopped before its end.

    Raises:
        TacitError: the run failed.
    """
    with asyncio.Runner(loop_factory=NEW_LOOP) as runner:
        return runner.run(_served(make, listening, log, started, told))


async def _served(
    make: Callable[[], Coordinator],
    listening: Listening,
    log: Log | None,
    started: Callable[[str, Coordinator], None],
    told: Callable[[Coordinator], None],
) -> Run | None:
    with Problems("the coordinator cannot listen like this", UsageError) as problems:
        problems.extend(listening.problems())
    context, ca = listening.context(), listening.authority()
    coordinator = make()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError, ValueError):  # in a thread that is not the main one
            loop.add_signal_handler(number, stop.set)
    server: Server | None = None
    try:
        observer = Observer(lambda: 0 if server is None else server.connections, None, log)
        coordinator.load, coordinator.failures = observer.load, observer.failures
        coordinator.mutual = listening.clients is not None
        coordinator.minutes.tell = _telling(observer, log)
        server = Server(
            coordinator,
            host=listening.host,
            port=listening.port,
            tls=context,
            limits=listening.limits,
            spool=coordinator.folder.path / "uploads",
            extra_routes=[
                *dashboard.routes(coordinator.status, listening.token),
                *metrics.routes(observer, coordinator.status, listening.token),
            ],
            observe=observer.observe,
            before=coordinator.journal.nonces_until(),
        )
        await server.start()
        url = listening.url or listening.known_as(server.url)
        operator_box.say_address(coordinator.folder.path, url, bytes.fromhex(coordinator.terms.authority), ca)
        operator_box.emptied(coordinator.folder.path, coordinator)
        coordinator.open()
        coordinator.minutes.tell("coordinator.started", address=url, tls=context is not None)
        started(url, coordinator)
        watching = [asyncio.create_task(observer.watch_loop()), asyncio.create_task(_box(coordinator))]
        await _until_over(coordinator, stop, told, listening.linger)
        for task in watching:
            task.cancel()
        return None if stop.is_set() and coordinator.progress.state != "finished" else coordinator.result
    finally:
        coordinator.minutes.tell("coordinator.stopping")
        if server is not None:
            await server.stop(max(5.0, listening.linger) if coordinator.over.is_set() else 5.0)
        await asyncio.to_thread(coordinator.close)
        coordinator.minutes.tell("coordinator.stopped")


def _telling(observer: Observer, log: Log | None) -> Callable[..., None]:
    """Tells the log, and whoever counts, of what happens."""

    def tell(event: str, **facts: Any) -> None:
        if log is not None:
            log(event, **facts)
        if event == "answer.lost":
            observer.observe("lost", kind=facts["kind"], cause=facts["cause"])
        elif event == "step.closed":
            for _ in range(facts["answered"]):
                observer.observe("answer", kind=facts["kind"])
        elif event in ("round.published", "round.abandoned"):
            observer.observe("attempt", state=event.removeprefix("round."), seconds=facts["seconds"])

    return tell


async def _until_over(
    coordinator: Coordinator, stop: asyncio.Event, told: Callable[[Coordinator], None], linger: float
) -> None:
    """Until the run has ended and everybody knows, or the operator stops it.

    Raises:
        StorageError: nothing can be written any more, and the journal must be opened anew.
    """
    while not stop.is_set() and not coordinator.over.is_set():
        told(coordinator)
        _require_whole(coordinator)
        with suppress(TimeoutError):
            async with asyncio.timeout(operator_box.LOOK):
                await stop.wait()
    told(coordinator)
    loop = asyncio.get_running_loop()
    until = loop.time() + linger
    while not stop.is_set() and loop.time() < until and not coordinator.everybody_knows():
        await asyncio.sleep(0.2)


def _require_whole(coordinator: Coordinator) -> None:
    """Rounds see by themselves that nothing can be written any more; before they begin nobody else would.

    Raises:
        StorageError: it is so.
    """
    error = coordinator.journal.broken()
    if error is not None and coordinator.progress.state == "gathering":
        raise error


async def _box(coordinator: Coordinator) -> None:
    """Looks into the operator's box, now and then."""
    while True:
        await asyncio.sleep(operator_box.LOOK)
        await asyncio.to_thread(operator_box.emptied, coordinator.folder.path, coordinator)

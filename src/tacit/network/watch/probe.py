"""Whether a participant can work with a coordinator from here: route, TLS, clock, versions, disk, one after the other.

What was found is a list of findings, each with what to do. Nothing is sent that is secret, and nothing is signed.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import aiohttp

from tacit import __version__
from tacit.network.http.gate import VERSIONS
from tacit.network.http.limits import Limits
from tacit.network.office import Refused
from tacit.network.watch.asking import Shown, Target, context_for, get, may_want_certificate
from tacit.network.watch.certificate import SOON, Certificate, why
from tacit.network.wire import Time, decode

CONNECT = 5.0
"""Seconds for which a connection is waited for."""
PROBES = 7
FAR, LITTLE, TOO_LITTLE = 1.0, 2**30, 100 * 2**20
SKEW = 30.0
"""Seconds by which a clock may be off before it is worth a word; requests are refused beyond `Limits.window`."""


class Level(StrEnum):
    """How bad it is."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: how it is.
        what: was looked at: "route", "tls", ...
        said: what was found.
        todo: about it; empty where all is well.
    """

    level: Level
    what: str
    said: str
    todo: str = ""


async def examined(
    target: Target,
    ca: bytes | None,
    folder: Path,
    clock: Callable[[], float] = time.time,
    own: Shown | None = None,
) -> list[Finding]:
    """Everything that can be seen from here; what needs something that has failed is left out.

    Args:
        target: the coordinator.
        ca: certificate (DER) of the authority that is trusted; None asks the system's.
        folder: in which a participant keeps what is its own.
        clock: seconds since 1970.
        own: certificate and key of this machine, for a coordinator that asks for them.

    Raises:
        StorageError: a file of these cannot be read.
    """
    return [*[one async for one in _network(target, ca, clock, own)], _disk(folder)]


async def _network(
    target: Target, ca: bytes | None, clock: Callable[[], float], own: Shown | None
) -> AsyncIterator[Finding]:
    addresses, finding = await _resolved(target)
    yield finding
    if not addresses:
        return
    finding = await _route(target, addresses)
    yield finding
    if finding.level is Level.FAIL:
        return
    context = context_for(target, ca, own)
    trusted = True
    async for one in _tls(target, context, ca, clock):
        trusted = trusted and one.level is not Level.FAIL
        yield one
    if trusted:
        timeout = aiohttp.ClientTimeout(total=2 * CONNECT)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            async for one in _service(session, target, context, clock, own):
                yield one


async def _resolved(target: Target) -> tuple[list[str], Finding]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        said = f"{target.host} has no address: {getattr(error, 'strerror', None) or error}"
        return [], Finding(Level.FAIL, "name", said, "check how it is spelt, and this machine's DNS")
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    return addresses, Finding(Level.OK, "name", f"{target.host} is {', '.join(addresses[:4])}")


async def _route(target: Target, addresses: list[str]) -> Finding:
    failed: list[tuple[str, OSError]] = []
    for address in addresses[:4]:
        began = time.perf_counter()
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, target.port), CONNECT)
        except OSError as problem:  # TimeoutError is one
            failed.append((address, problem))
            continue
        took = time.perf_counter() - began
        writer.close()
        said = f"{address} port {target.port} accepts connections, in {1000 * took:.1f} ms"
        if failed:
            return Finding(Level.WARN, "route", f"{said}; {failed[0][0]} does not", "have its name point to one only")
        return Finding(Level.OK, "route", said)
    return _blocked(target, *failed[0])


def _blocked(target: Target, address: str, error: OSError) -> Finding:
    if isinstance(error, ConnectionRefusedError):
        todo = "nothing listens there: start `tacit serve`, and check the port"
        return Finding(Level.FAIL, "route", f"{address} refuses port {target.port}", todo)
    if isinstance(error, TimeoutError):
        todo = "a firewall swallows it, most often: it takes outgoing TCP to this port, and nothing incoming"
        return Finding(Level.FAIL, "route", f"{address} port {target.port} is silent for {CONNECT:g} s", todo)
    said = f"{address} cannot be reached: {error.strerror or error}"
    return Finding(Level.FAIL, "route", said, "check this machine's network, and its route there")


async def _tls(
    target: Target, context: ssl.SSLContext | None, ca: bytes | None, clock: Callable[[], float]
) -> AsyncIterator[Finding]:
    if context is None:
        if target.loopback:
            yield Finding(Level.WARN, "tls", "not encrypted, on this machine only", "take https for anything real")
        else:
            yield Finding(Level.FAIL, "tls", "not encrypted: whoever listens reads everything", "take https://")
        return
    try:
        version, der = await _handshake(target, context)
    except ssl.SSLCertVerificationError as error:
        reason, todo = why(error)
        seen = await _seen(target)
        said = f" (it is for {', '.join(seen.names) or 'no name'}, until {seen.ends}, by {seen.issuer})" if seen else ""
        yield Finding(Level.FAIL, "certificate", f"not trusted: {reason}{said}", todo)
        return
    except OSError as error:
        said = getattr(error, "reason", None) or str(error) or "no answer"
        todo = "the other side may speak no TLS 1.3, or no TLS, or ask for a client certificate; a proxy may be between"
        yield Finding(Level.FAIL, "tls", f"no TLS 1.3 comes about: {said}", todo)
        return
    yield Finding(Level.OK, "tls", f"{version.replace('TLSv', 'TLS ')}")
    certificate = Certificate.read(der)
    if certificate is not None:
        yield _expiry(certificate, ca, clock())


def _expiry(certificate: Certificate, ca: bytes | None, now: float) -> Finding:
    left = certificate.days(now)
    by = "the authority that is pinned" if ca is not None else "an authority that this system trusts"
    said = f"trusted through {by}, until {certificate.ends} ({left:.0f} days); sha256 {certificate.fingerprint[:16]}…"
    if left < SOON:
        return Finding(Level.WARN, "certificate", said, "have it renewed before: `tacit certs`")
    return Finding(Level.OK, "certificate", said)


async def _handshake(target: Target, context: ssl.SSLContext) -> tuple[str, bytes]:
    _, writer = await asyncio.wait_for(
        asyncio.open_connection(target.host, target.port, ssl=context, server_hostname=target.host), CONNECT
    )
    found: ssl.SSLObject = writer.get_extra_info("ssl_object")
    version, der = found.version() or "", found.getpeercert(binary_form=True) or b""
    writer.close()
    return version, der


async def _seen(target: Target) -> Certificate | None:
    """The certificate of a server that is not trusted: nothing is sent to it."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    try:
        _, der = await _handshake(target, blind)
    except OSError:
        return None
    return Certificate.read(der)


async def _service(
    session: aiohttp.ClientSession,
    target: Target,
    context: ssl.SSLContext | None,
    clock: Callable[[], float],
    own: Shown | None,
) -> AsyncIterator[Finding]:
    told, why_not, before, todo = None, "", clock(), "this is no tacit coordinator, or a proxy answers for it"
    try:
        status, body = await get(session, target, "/v1/time", context)
        told, why_not = (decode(Time, body), "") if status == 200 else (None, f"answers {status}")
    except (aiohttp.ClientError, OSError, Refused) as error:
        why_not = f"gives no time: {str(error) or type(error).__name__}"
        if own is None and context is not None and may_want_certificate(error):
            todo = f"it may ask for a client certificate: give --cert and --key; or {todo}"
    after = clock()
    if told is None:
        yield Finding(Level.FAIL, "service", f"{target.url}/v1/time {why_not}", todo)
        return
    yield _clocks(told.now / 1000 - (before + after) / 2, (after - before) / 2)
    yield _versions(told)
    try:
        yield await _ready(session, target, context)
        yield await _latency(session, target, context)
    except (aiohttp.ClientError, OSError, Refused) as error:
        said = f"it stopped answering: {str(error) or type(error).__name__}"
        yield Finding(Level.WARN, "service", said, "try again; look whether the coordinator is overloaded")


def _clocks(skew: float, unsure: float) -> Finding:
    side = "ahead of" if skew < 0 else "behind"
    said = f"this machine's is {abs(skew):.1f} s {side} the coordinator's (to within {unsure:.2f} s)"
    window = Limits().window
    if abs(skew) > window:
        todo = f"set the clocks (NTP): requests that are off by more than {window:g} s are refused"
        return Finding(Level.FAIL, "clock", said, todo)
    if abs(skew) > SKEW:
        return Finding(Level.WARN, "clock", said, "set the clocks (NTP)")
    return Finding(Level.OK, "clock", said)


def _versions(told: Time) -> Finding:
    common = [version for version in VERSIONS if version in told.speaks]
    said = f"the coordinator is tacit {told.version}, this is {__version__}; protocol {', '.join(told.speaks)}"
    if not common:
        todo = f"this tacit speaks {', '.join(VERSIONS)}: bring the older side up to date"
        return Finding(Level.FAIL, "versions", said, todo)
    if told.version != __version__:
        return Finding(Level.WARN, "versions", said, "the same model bit for bit takes the same tacit on all sides")
    return Finding(Level.OK, "versions", said)


async def _ready(session: aiohttp.ClientSession, target: Target, context: ssl.SSLContext | None) -> Finding:
    status, body = await get(session, target, "/readyz", context)
    if status == 200:
        return Finding(Level.OK, "ready", "it serves")
    text = " ".join(body[:500].decode("utf-8", "replace").split())
    return Finding(
        Level.WARN, "ready", f"it does not serve now: {text or status}", "its operator sees why: tacit status"
    )


async def _latency(session: aiohttp.ClientSession, target: Target, context: ssl.SSLContext | None) -> Finding:
    times = []
    for _ in range(PROBES):
        began = time.perf_counter()
        await get(session, target, "/livez", context)
        times.append(time.perf_counter() - began)
    middle, most = statistics.median(times), max(times)
    said = f"a request takes {1000 * middle:.1f} ms, {1000 * most:.1f} ms at most (of {PROBES})"
    if middle > FAR:
        return Finding(Level.WARN, "latency", said, "rounds have several steps: give them more seconds")
    return Finding(Level.OK, "latency", said)


def _disk(folder: Path) -> Finding:
    """How much space is left where a participant keeps what is its own."""
    near = next(place for place in (folder, *folder.parents) if place.exists())
    try:
        free = shutil.disk_usage(near).free
    except OSError as error:
        return Finding(Level.FAIL, "disk", f"{near} cannot be looked at: {error.strerror}", "make it readable")
    said = f"{free / 2**30:.1f} GiB are free for {folder}"
    if free >= LITTLE:
        return Finding(Level.OK, "disk", said)
    level = Level.FAIL if free < TOO_LITTLE else Level.WARN
    return Finding(level, "disk", said, "free some space: models and unfinished answers are kept there")

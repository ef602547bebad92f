"""Looks at a coordinator without being known to it: can it be reached, by which TLS, and how does its clock stand."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp

from tacit.network.http.link import CONNECT, STALL, unreachable
from tacit.network.http.url import checked
from tacit.network.identity.tls import client_context
from tacit.network.office import Refused
from tacit.network.wire import Time, decode
from tacit.network.wire.codec import largest

DAY = 86_400


@dataclass(frozen=True)
class Probe:
    """What was found.

    Attributes:
        time: its clock, versions and program.
        seconds: that a request took on an open connection.
        skew: seconds by which its clock is ahead.
        tls: version, "TLSv1.3"; empty where it speaks in clear, or only a proxy leads there.
        days: for which its certificate still holds; None where that is not known.
    """

    time: Time
    seconds: float
    skew: float
    tls: str = ""
    days: float | None = None


async def probe(url: str, *, context: ssl.SSLContext | None = None, insecure: bool = False) -> Probe:
    """Asks a coordinator for its clock, twice: the second time the connection is open.

    Raises:
        UsageError: the url is none, or would be spoken to in clear.
        Unreachable: it cannot be reached, or what answers is no coordinator.
    """
    url, loopback = checked(url, insecure)
    connector = aiohttp.TCPConnector(ssl=True if context is None else context)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=STALL)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=not loopback) as session:
            await _time(session, url)
            begun = time.perf_counter()
            told = await _time(session, url)
            seconds = time.perf_counter() - begun
        tls, days = await _tls(url, context)
    except (aiohttp.ClientError, OSError, TimeoutError, asyncio.IncompleteReadError, Refused) as error:
        raise unreachable(url, error) from None
    return Probe(told, seconds, told.now / 1000 - (time.time() - seconds / 2), tls, days)


async def _time(session: aiohttp.ClientSession, url: str) -> Time:
    async with session.get(f"{url}/v1/time", allow_redirects=False) as response:
        return decode(Time, await response.content.read(largest(Time)))


async def _tls(url: str, context: ssl.SSLContext | None) -> tuple[str, float | None]:
    """The version of TLS and the days of the certificate; unknown where only a proxy leads to the coordinator."""
    parts = urlsplit(url)
    if parts.scheme != "https":
        return "", None
    try:
        async with asyncio.timeout(CONNECT):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=context or client_context()
            )
    except (OSError, TimeoutError):
        return "", None
    spoken = writer.get_extra_info("ssl_object")
    ends = ssl.cert_time_to_seconds(str(spoken.getpeercert()["notAfter"]))
    writer.close()
    return str(spoken.version()), (ends - time.time()) / DAY

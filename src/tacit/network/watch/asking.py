"""Asking a coordinator over HTTP as an operator or a doctor does: unsigned, with one authority that is trusted."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import aiohttp

from tacit.errors import StorageError, UsageError
from tacit.network.identity import Enrolment
from tacit.network.identity.tls import client_context
from tacit.network.office import Code, Refused
from tacit.network.watch.status import LARGEST, Status, read

PATIENCE = 10.0
"""Seconds for which a reply is waited for."""
ADDRESS = "address.json"
"""In a run's folder: what the coordinator says of itself."""
PORTS = {"https": 443, "http": 80}
LEFT = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError, ssl.SSLError)
OTHERWISE = (aiohttp.ClientConnectorError, ssl.SSLCertVerificationError)
Shown: TypeAlias = tuple[Path, Path | None]
"""Files (PEM) of an own certificate and of its key; the key may be in the first."""


@dataclass(frozen=True)
class Target:
    """Where a coordinator is.

    Attributes:
        scheme: "https" or "http".
        host: name or address, without brackets.
        port: of it.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Target:
        """The coordinator that an address names.

        Raises:
            UsageError: it names none.
        """
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
            parts = urlsplit("")
        plain = not (parts.username or parts.password or parts.query or parts.fragment) and parts.path in ("", "/")
        if parts.scheme not in PORTS or not host or not plain or port == 0:
            raise UsageError(f"{text!r} is no address of a coordinator: give one such as https://hospital.example:8443")
        return cls(parts.scheme, host, port or PORTS[parts.scheme])

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether it is surely this machine, by its name alone."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


def authority(target: Target, file: Path | None, folder: Path) -> bytes | None:
    """The certificate (DER) of the one authority that vouches for a coordinator; None where the system is asked.

    Args:
        target: the coordinator.
        file: of the certificate, PEM or DER; None takes that of an enrolment with this coordinator, if there is one.
        folder: of the participant that may be enrolled.

    Raises:
        UsageError: the file holds no certificate.
        StorageError: it cannot be read; the enrolment is damaged.
    """
    if file is None:
        known = Enrolment.read(folder) if (folder / "enrolment.json").exists() else None
        return known.ca if known is not None and Target.of(known.url) == target else None
    try:
        data = file.read_bytes()
    except OSError as error:
        raise StorageError(f"the certificate {file} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("ascii") if b"-----BEGIN" in data else ""
        return ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN") :].strip()) if text else data
    except ValueError:
        raise UsageError(f"{file} holds no certificate: give the authority's, as `tacit certs` writes it") from None


def address_in(folder: Path) -> tuple[Target, bytes | None] | None:
    """Where the coordinator of a run's folder says that it listens, and its authority; None where it does not say."""
    try:
        told = json.loads((folder / ADDRESS).read_text(encoding="utf-8"))
        return Target.of(told["url"]), None if told["ca"] is None else bytes.fromhex(told["ca"])
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return None


def shown(certificate: Path | None, key: Path | None) -> Shown | None:
    """What is shown to a coordinator that asks for a certificate, as a person gave it; None where nothing is.

    Raises:
        UsageError: a key without its certificate.
    """
    if certificate is None and key is not None:
        raise UsageError(f"--key is {key}, and its certificate is missing: give --cert, too")
    return None if certificate is None else (certificate, key)


def context_for(target: Target, ca: bytes | None, own: Shown | None = None) -> ssl.SSLContext | None:
    """How a coordinator is spoken to; None in clear.

    Args:
        target: the coordinator.
        ca: certificate (DER) of the authority that is trusted; None asks the system's.
        own: what is shown to it, where it asks for a certificate.

    Raises:
        StorageError: a file of these cannot be read, or holds something else.
    """
    return client_context(ca, *(own or ())) if target.scheme == "https" else None


def may_want_certificate(error: BaseException) -> bool:
    """Whether a connection ended as that of who shows no certificate does: TLS 1.3 says so only after the handshake."""
    return isinstance(error, LEFT) and not isinstance(error, OTHERWISE)


async def get(
    session: aiohttp.ClientSession, target: Target, path: str, context: ssl.SSLContext | None, token: str | None = None
) -> tuple[int, bytes]:
    """Status and body of one reply; a redirect is not followed.

    Raises:
        aiohttp.ClientError, OSError: there was none.
        Refused: it is longer than anything that is asked for here (TOO_LARGE).
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    options = {"headers": headers, "allow_redirects": False, "ssl": True if context is None else context}
    async with session.get(target.url + path, **options) as reply:  # type: ignore[arg-type]
        body = bytearray()
        async for chunk in reply.content.iter_chunked(2**16):
            body += chunk
            if len(body) > LARGEST:
                raise Refused(Code.TOO_LARGE, f"{target.url}{path} sends more than {LARGEST:,} bytes")
        return reply.status, bytes(body)


async def status_of(target: Target, ca: bytes | None, token: str | None, own: Shown | None = None) -> Status:
    """What a coordinator says of its run.

    Args:
        target, ca, own: as for `context_for`.
        token: of the operator.

    Raises:
        UsageError: a token would be sent in clear.
        Refused: it cannot be reached, or does not tell.
        MalformedMessage: what it says is no status.
    """
    if token and target.scheme == "http" and not target.loopback:
        raise UsageError(f"{target.url} is not encrypted: a token is sent over https only")
    context = context_for(target, ca, own)
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
            status, body = await get(session, target, "/v1/status", context, token)
    except (aiohttp.ClientError, OSError) as error:
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        why = getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
        todo = f"see `tacit doctor {target.url}`"
        if context is not None and own is None and may_want_certificate(cause):
            todo = f"it may ask for a client certificate: give --cert and --key, or {todo}"
        raise Refused(Code.BUSY, f"{target.url} cannot be reached: {why}", todo) from error
    if status in (401, 403):
        todo = "ask on its own machine, or set TACIT_DASHBOARD_TOKEN to the operator's token"
        raise Refused(Code.FORBIDDEN, f"{target.url} does not show its run to you", todo)
    if status != 200:
        raise Refused(Code.UNKNOWN, f"{target.url} answers {status} for its status", "is this a tacit coordinator?")
    return read(body)

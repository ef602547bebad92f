"""The address of a coordinator: https, or http on loopback where that is asked for."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from tacit.errors import UsageError


def checked(url: str, insecure: bool) -> tuple[str, bool]:
    """The address without a slash at its end, and whether it is this machine's loopback.

    Raises:
        UsageError: it is none, or would send in clear beyond this machine.
    """
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in {"https", "http"} or not parts.hostname or port == -1:
        raise UsageError(f"{url!r} is no address of a coordinator: give https://host:port")
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise UsageError(f"{url!r} holds more than a host and a port: give https://host:port")
    loopback = is_loopback(parts.hostname)
    if parts.scheme == "http" and not (insecure and loopback):
        raise UsageError(
            f"{url!r} is not encrypted: give https://, or, for a trial on this machine alone, 127.0.0.1 with insecure"
        )
    return f"{parts.scheme}://{parts.netloc}", loopback


def is_loopback(host: str) -> bool:
    """Whether a host is this machine and nothing else."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

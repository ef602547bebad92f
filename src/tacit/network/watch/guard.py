"""Who may look at a coordinator: somebody on its own machine, or somebody who shows the operator's token.

Behind a proxy on the same machine everybody seems to come from it, so without a token a request that a proxy passed on
is refused, and so is one for a name other than this machine's (a page elsewhere that had its own name point here).
With a token everybody shows it, this machine too: as `Authorization: Bearer TOKEN`, or, in a browser, once.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address

from aiohttp import web

from tacit.errors import UsageError

COOKIE = "tacit_dashboard"
SHORTEST = 16
"""Fewest characters of a token: fewer can be guessed."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
PASSED_ON = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


@dataclass(frozen=True)
class Guard:
    """Lets requests in, or not.

    Attributes:
        token: that everybody shows; None lets in those on this machine only.

    Raises:
        UsageError: the token is short.
    """

    token: str | None = field(repr=False)

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < SHORTEST:
            raise UsageError(
                f"a dashboard token of {len(self.token)} characters can be guessed: give at least {SHORTEST}, such as "
                "`openssl rand -hex 32` prints"
            )

    def allows(self, request: web.BaseRequest) -> bool:
        """Whether a request may see what there is."""
        if self.token is None:
            return _local(request)
        kind, _, shown = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.matches(shown.strip()):
            return True
        return _same(request.cookies.get(COOKIE, ""), self.pass_for(self.token))

    def matches(self, shown: str) -> bool:
        """Whether somebody shows the token; as quick for a wrong one as for a right one."""
        return self.token is not None and _same(shown, self.token)

    @staticmethod
    def pass_for(token: str) -> str:
        """What a browser keeps instead of the token, which it does not tell."""
        return hmac.new(token.encode("utf-8", "surrogatepass"), b"tacit dashboard", sha256).hexdigest()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(*(text.encode("utf-8", "surrogatepass") for text in (one, other)))


def _local(request: web.BaseRequest) -> bool:
    try:
        near = request.remote is not None and ip_address(request.remote).is_loopback
    except ValueError:  # a Unix socket has no address
        near = False
    name = request.host.rpartition(":")[0] if not request.host.endswith("]") else request.host
    asked = (name or request.host).strip("[]").lower()
    return near and asked in LOCAL_NAMES and not any(header in request.headers for header in PASSED_ON)

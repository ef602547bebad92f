"""Who may pass: version, signature, time, rate and nonce of every request, before a byte of its body is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from tacit.network.http.limits import Limits
from tacit.network.http.rates import Rates
from tacit.network.http.signing import VERSION, Signed
from tacit.network.office import Code, Office, Refused

VERSIONS = ("1",)
"""Versions of the protocol that this side speaks, the best first: the current one, and the one before it."""
EMPTY = hashlib.sha256(b"").digest()


SPAN = 60_000
"""Milliseconds of signing whose nonces are forgotten together."""


class Nonces:
    """The nonces that this process has seen and whose time is not over: what comes twice is refused at once.

    Args:
        window: seconds by which the time in a signature may be off.
    """

    def __init__(self, window: float) -> None:
        self._window = round(1000 * window)
        self._seen: dict[int, set[bytes]] = {}

    def use(self, signed: Signed, now: int) -> bool:
        """Whether a request was not seen before; `now` in ms since 1970."""
        span = signed.time // SPAN
        seen = self._seen.get(span)
        if seen is None:
            oldest = (now - self._window) // SPAN
            self._seen = {at: some for at, some in self._seen.items() if at >= oldest}
            seen = self._seen[span] = set()
        mark = hashlib.blake2b(signed.nonce + signed.participant.encode(), digest_size=16).digest()
        fresh = mark not in seen
        seen.add(mark)
        return fresh


@dataclass(frozen=True)
class Gate:
    """Lets requests pass that are what they claim.

    Attributes:
        office: that knows keys and nonces.
        limits: window and rates.
        versions: that are spoken, the best first.
        clock: seconds since 1970.
        rates: of participants.
        strangers: rates of addresses that enrol.
        before: ms since 1970 until which a nonce of an earlier process may be valid; None where that is not known.
        nonces: of this process.
    """

    office: Office
    limits: Limits
    versions: tuple[str, ...]
    clock: Callable[[], float]
    rates: Rates
    strangers: Rates
    before: int | None = None
    nonces: Nonces = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nonces", Nonces(self.limits.window))

    @property
    def now(self) -> int:
        """The coordinator's clock, ms since 1970."""
        return round(1000 * self.clock())

    def read(self, request: web.Request) -> Signed:
        """What the head of a request claims, in a version that is spoken.

        Raises:
            Refused: UPGRADE, UNSIGNED or SKEWED.
        """
        version = request.headers.get(VERSION)
        if version is not None and version not in self.versions:
            raise Refused(
                Code.UPGRADE,
                f"version {version[:16]!r} of the protocol is not spoken here",
                f"speak {' or '.join(self.versions)}",
            )
        return Signed.read(request.headers)

    def known(self, request: web.Request) -> Signed:
        """Lets a participant pass; it remains to be noted, durably, that its nonce was used: `noted`.

        Raises:
            Refused: UPGRADE, UNSIGNED, REVOKED, SKEWED, TOO_MANY or REPLAYED.
        """
        signed = self.read(request)
        signed.verify(self.office.key_of(signed.participant), request.method, request.raw_path)
        signed.check_time(self.clock(), self.limits.window)
        self.rates.take(signed.participant)
        if not self.nonces.use(signed, self.now):
            raise _replayed()
        return signed

    def doubtful(self, signed: Signed) -> bool:
        """Whether an earlier process may have seen this request: it must be noted before anything follows from it."""
        return self.before is None or self._until(signed) <= self.before

    async def noted(self, signed: Signed) -> None:
        """Returns when it is durable that the nonce was used.

        Raises:
            Refused: it was used before (REPLAYED).
        """
        if not await self.office.fresh(signed.participant, signed.nonce, self._until(signed)):
            raise _replayed()

    def _until(self, signed: Signed) -> int:
        return signed.time + round(1000 * self.limits.window) + 1

    def stranger(self, request: web.Request) -> Signed:
        """Lets somebody begin to enrol; the signature is verified once its key was read.

        Raises:
            Refused: UPGRADE, UNSIGNED, SKEWED or TOO_MANY.
        """
        self.strangers.take(request.remote or "")
        signed = self.read(request)
        signed.check_time(self.clock(), self.limits.window)
        return signed


def _replayed() -> Refused:
    return Refused(Code.REPLAYED, "the nonce was used before", "sign every request anew")

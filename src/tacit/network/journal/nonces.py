"""Which nonces were used: a request that was seen once is refused for as long as its signature would be valid."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from sqlalchemy import Connection, func, select

from tacit.network.journal.part import Part, matching
from tacit.network.journal.schema import NONCES
from tacit.network.journal.writer import Write

KEPT = 60_000
"""Milliseconds for which a nonce is kept beyond its time: a clock that is set back a little lets nothing in again."""


_USED = NONCES.insert()


class Nonces(Part):
    """The nonces of signed requests."""

    def fresh(self, participant: str, nonce: bytes, until: int) -> Future[bool]:
        """Remembers a nonce. The future says, when that is on disk, whether it was not used before.

        Args:
            participant: who has signed.
            nonce: of its request.
            until: when the signature is not valid any more, in milliseconds since 1970.
        """
        return self._writer.put(Write("fresh", _fresh, (participant, nonce, until), minor=True, free=True))

    def nonces_until(self) -> int:
        """Until when the last nonce that is remembered could be used, in milliseconds since 1970; 0 where none is."""
        latest = self._read(lambda connection: connection.scalar(select(func.max(NONCES.c.until))))
        return int(latest or 0)

    def _prune(self, connection: Connection) -> None:
        connection.execute(NONCES.delete().where(NONCES.c.until < self._ms() - KEPT))


def _fresh(connection: Connection, items: list[tuple[str, bytes, int]]) -> Sequence[bool]:
    asked = {(participant, nonce) for participant, nonce, _ in items}
    rows = matching(connection, (NONCES.c.participant, NONCES.c.nonce), (NONCES.c.participant, NONCES.c.nonce), asked)
    seen = {(participant, bytes(nonce)) for participant, nonce in rows}
    outcomes, new = [], []
    for participant, nonce, until in items:
        outcomes.append((participant, nonce) not in seen)
        if outcomes[-1]:
            seen.add((participant, nonce))
            new.append({"participant": participant, "nonce": nonce, "until": until})
    if new:
        connection.execute(_USED, new)
    return outcomes

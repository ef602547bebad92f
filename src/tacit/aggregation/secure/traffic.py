"""What a client sends and receives in a session in which nobody is lost, message by message, in bytes."""

from __future__ import annotations

from tacit.aggregation.secure.config import DIGEST, Config
from tacit.aggregation.secure.identity import KEY, SIGNATURE
from tacit.aggregation.secure.messages import COMMITMENT, SEALED
from tacit.aggregation.secure.shamir import SHARE

HEAD = 5
"""Bytes of every message that say what it is."""


def traffic(config: Config, clients: int, name: int = 10) -> tuple[dict[str, int], dict[str, int]]:
    """Bytes up and down, by message, of one of so many clients.

    Args:
        config: settings of the session.
        clients: in the roster.
        name: bytes of a client's name.

    Raises:
        UsageError: no graph of so many clients does what is asked.
    """
    holders, members = config.degree(clients).neighbours + 1, (clients + 7) // 8
    advertise = HEAD + DIGEST + 2 + name + 2 * KEY + DIGEST + 1
    advertise += (2 * KEY + 2 * SIGNATURE) if config.signed else 0
    up = {
        "advertise": advertise,
        "shares": HEAD + 2 * DIGEST + 4 + holders * (4 + SEALED + 2 * COMMITMENT),
        "masked": HEAD + DIGEST + config.length * config.bits // 8,
        "confirm": HEAD + DIGEST + SIGNATURE,
        "unmask": HEAD + 2 * DIGEST + 4 + holders * (4 + SHARE),
    }
    down = {
        "roster": HEAD + 4 + clients * (2 + advertise),
        "inbox": HEAD + DIGEST + members + 4 + holders * (4 + SEALED + 2 * COMMITMENT),
        "survivors": HEAD + DIGEST + members,
        "confirmed": HEAD + DIGEST + 4 + holders * (4 + SIGNATURE),
    }
    if not config.signed:
        del up["confirm"], down["confirmed"]
    return up, down

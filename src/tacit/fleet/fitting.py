"""Whether devices, and the rule by which rounds on them are closed, fit a population."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tacit.checks import offers
from tacit.fleet.buffered import FedBuff
from tacit.fleet.device import Fleet

SHOWN = 5
"""Names in a message."""


def unfitting(fleet: object, closing: object, clients: Sequence[str] | None) -> Iterator[str]:
    """Everything that is wrong.

    Args:
        fleet: what was given for one, or None.
        closing: what was given for a rule, or None.
        clients: ids of the population, or None where there is none to look at.
    """
    if closing is not None and not isinstance(closing, FedBuff) and not offers(closing, "close", "problems"):
        yield f"closing is {closing!r}: give a rule such as tacit.PartialWork() or tacit.WaitForAll()"
    elif closing is not None:
        yield from closing.problems()  # type: ignore[attr-defined]
        if fleet is None:
            yield f"closing is {closing!r}, and there is no time without devices: give a fleet, too"
    if fleet is None:
        return
    if not isinstance(fleet, Fleet):
        yield f"fleet is a {type(fleet).__name__}: give a tacit.fleet.Fleet, such as tacit.fleet.phones(N, seed=0)"
    elif clients is not None and fleet.names is None and len(fleet) != len(clients):
        yield (
            f"the fleet has {len(fleet)} devices, and the population {len(clients)} clients: give each client one, or "
            "devices with the names of clients"
        )
    elif clients is not None and fleet.names is not None:
        known = set(map(str, fleet.names.tolist()))
        lacking = [name for name in clients if name not in known]
        if lacking:
            more = f" and {len(lacking) - SHOWN} others" if len(lacking) > SHOWN else ""
            yield f"the fleet has no device for the clients {lacking[:SHOWN]}{more}: give each client one, by its name"

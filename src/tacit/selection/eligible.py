"""Who may be asked, by what is known of the devices: memory, network, power, version, speed, failures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit import checks
from tacit.fleet import Flag
from tacit.selection.cohort import Cohort, Informed, Sampling, Selection
from tacit.selection.inner import drawn_inside, inner_problems, inner_uses, unclaimed
from tacit.selection.table import PARTICIPATION, SYSTEM, Bool, ClientTable, Float

PRIOR = 10.0
"""Requests at the failure rate of all that are added to each client's own, so that one failure is no verdict."""


@dataclass(frozen=True)
class Eligible(Informed):
    """Draws with `inner` from those who meet all requirements; what is unknown of a client meets none.

    A pool refined from system data, and chance within it: what [Jiang24] arXiv:2401.02880 calls informed selection made
    random. Shares are of those who meet the other requirements; of clients that are equal, none is left out for being
    the same as the last one kept.

    Sampling: coins of `Poisson` are thrown for all clients, in the pool or not, so its rate stays true and is declared,
    unless `unreliable` is given: the pool then follows from who took part before, which amplification must not. Every
    other sampling becomes "arbitrary": a cohort is uniform over a pool that varies, not over the population.

    Reveals to the server: nothing that it does not know of the devices. Being in a cohort tells whoever sees cohorts
    that a device meets the requirements. Speeds and versions are what clients say of themselves.

    Args:
        inner: what draws.
        memory: megabytes free for training, at least.
        unmetered: only on an unmetered link.
        charging: only on external power.
        version: of the participant's software, at least.
        slowest: the share, by the seconds for all of their work, that is left out as too slow.
        unreliable: the share, by how often requests came to nothing, that is left out.
    """

    inner: Selection
    memory: float | None = None
    unmetered: bool = False
    charging: bool = False
    version: int | None = None
    slowest: float | None = None
    unreliable: float | None = None

    def __post_init__(self) -> None:
        checks.make_plain(self)

    @property
    def uses(self) -> tuple[str, ...]:
        """System data; participation where `unreliable` is given; and what `inner` uses."""
        return inner_uses(self.inner, SYSTEM, *(() if self.unreliable is None else (PARTICIPATION,)))

    def problems(self, clients: int) -> list[str]:
        """Requirements out of range, and the problems of `inner`."""
        found = inner_problems(self.inner, clients)
        found += [] if self.memory is None else checks.positive("memory", self.memory, " number of megabytes")
        found += [*checks.truth("unmetered", self.unmetered), *checks.truth("charging", self.charging)]
        if self.version is not None and not checks.is_whole(self.version, 0):
            found.append(f"version is {self.version!r}: give a whole number from 0")
        for name in ("slowest", "unreliable"):
            share = getattr(self, name)
            found += [] if share is None else checks.decay(name, share)
        return found

    def sampling(self, clients: int) -> Sampling:
        """That of a Poisson `inner`, or "arbitrary"."""
        inner = self.inner.sampling(clients)
        return inner if inner.kind == "poisson" and self.unreliable is None else unclaimed(inner)

    def narrowed(self, table: ClientTable, round: int) -> ClientTable:
        """The table with those in the pool who meet all requirements."""
        keep = table.pool.copy()
        if self.memory is not None:
            keep &= table.memory >= self.memory
        if wanted := Flag.UNMETERED * bool(self.unmetered) | Flag.CHARGING * bool(self.charging):
            keep &= (table.flags & wanted) == wanted
        if self.version is not None:
            keep &= table.version >= self.version
        if self.slowest is not None:
            _leave_out(keep, table.seconds, self.slowest)
        if self.unreliable is not None:
            _leave_out(keep, failures(table), self.unreliable)
        return table.narrowed(keep)

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """What `inner` draws from those who meet all requirements; nobody, where there are none."""
        return drawn_inside(self, table, seed, round)


def failures(table: ClientTable) -> Float:
    """The share of requests to each client that came to nothing, (N,), with `PRIOR` requests at that of all."""
    failed: Float = (table.asked - table.counted + PRIOR * table.dropout) / (table.asked + PRIOR)
    return failed


def _leave_out(keep: Bool, column: Float, share: float) -> None:
    """Takes out of `keep`, in place, the `share` with the highest values, and all of whom nothing is known."""
    keep &= np.isfinite(column)
    values = column[keep]
    stay = len(values) - int(share * len(values))
    if 0 < stay < len(values):
        keep &= column <= np.partition(values, stay - 1)[stay - 1]

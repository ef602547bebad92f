"""What came of a round: who counts, who does not and why, when it ended, and what it cost the devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.fleet.journey import Fate, Journey, Load

Float: TypeAlias = NDArray[np.float64]
Int: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]

COLUMNS = ("clients", "fate", "work", "arrival", "download", "compute", "upload", "bytes_down", "bytes_up")


@dataclass(frozen=True, eq=False)
class Outcome:
    """A round of K clients, known before anything is trained. Devices stop when the round is closed.

    Attributes:
        start, end: of the round, in seconds of virtual time.
        clients: (K,) positions in the fleet, as they were asked.
        fate: (K,) a `Fate` each.
        work: (K,) units of work in the report that counts; 0 for those that do not count.
        arrival: (K,) when the report came; infinite for those that do not count.
        download, compute, upload: (K,) seconds that each device spent.
        bytes_down, bytes_up: (K,) bytes that each moved.
    """

    start: float
    end: float
    clients: Int
    fate: Int
    work: Float
    arrival: Float
    download: Float
    compute: Float
    upload: Float
    bytes_down: Float
    bytes_up: Float

    @property
    def counts(self) -> Bool:
        """(K,) whose report counts."""
        counts: Bool = self.fate == Fate.COUNTED
        return counts

    @property
    def counted(self) -> Int:
        """The clients that count, in the order in which they were asked: only these need to be trained."""
        return self.clients[self.counts]

    @property
    def seconds(self) -> float:
        """How long the round took."""
        return self.end - self.start

    @property
    def device_seconds(self) -> Float:
        """(K,) how long each device was busy."""
        return self.download + self.compute + self.upload

    def in_vain(self) -> Outcome:
        """The same round if its reports were thrown away, as those of clients that are late."""
        fate = np.where(self.counts, Fate.LATE, self.fate).astype(np.int64)
        nothing, never = np.zeros(len(fate)), np.full(len(fate), np.inf)
        return replace(self, fate=fate, work=nothing, arrival=never)

    def without(self, lost: Int) -> Outcome:
        """The same round if these clients (L,) had failed: they were lost, or set aside, after they had trained."""
        if not len(lost):
            return self
        gone = self.counts & np.isin(self.clients, lost)
        fate = np.where(gone, Fate.DROPPED, self.fate).astype(np.int64)
        return replace(
            self, fate=fate, work=np.where(gone, 0.0, self.work), arrival=np.where(gone, np.inf, self.arrival)
        )

    @property
    def failures(self) -> dict[str, int]:
        """How many clients do not count, by reason: "late", "dropped", "left", "unavailable"."""
        many = np.bincount(self.fate, minlength=len(Fate))
        return {fate.name.lower(): int(many[fate]) for fate in Fate if fate is not Fate.COUNTED}


def settle(journey: Journey, load: Load, start: float, end: float, counted: Bool) -> Outcome:
    """The outcome of a round that was closed at `end`.

    Args:
        journey: the ways of the K clients.
        load: what they were asked.
        start, end: of the round, in seconds.
        counted: (K,) whose report is in.
    """
    fate = np.where(journey.lost <= end, journey.loss, Fate.LATE)
    fate = np.where(journey.begin < np.inf, fate, Fate.UNAVAILABLE)
    fate = np.where(counted, Fate.COUNTED, fate).astype(np.int64)
    # A report that counts was sent in full, though its arrival and the end may differ by rounding.
    down, training, up = journey.used(np.where(counted, np.inf, end))
    return Outcome(
        start,
        end,
        load.clients,
        fate,
        work=np.where(counted, journey.work, 0.0),
        arrival=np.where(counted, journey.arrival, np.inf),
        download=down,
        compute=training,
        upload=up,
        bytes_down=np.where(counted, load.down, load.down * _share(down, journey.download)),
        bytes_up=np.where(counted, load.up, load.up * _share(up, journey.upload)),
    )


def joined(parts: Sequence[Outcome], start: float, end: float) -> Outcome:
    """One outcome from `start` to `end` of several, their clients one after another."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS} if parts else {}
    empty = {"clients": np.int64, "fate": np.int64}
    return Outcome(start, end, **(columns or {name: np.zeros(0, empty.get(name, np.float64)) for name in COLUMNS}))


def _share(spent: Float, whole: Float) -> Float:
    return np.divide(spent, whole, out=np.zeros(len(spent)), where=whole > 0)

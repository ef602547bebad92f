"""The books of a run over virtual time: hours, bytes, waste, who took part, and why others did not."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.fleet.device import Fleet
from tacit.fleet.journey import HOUR
from tacit.fleet.outcome import Outcome

Float: TypeAlias = NDArray[np.float64]
Int: TypeAlias = NDArray[np.int64]

SUMS = ("start", "end", "used", "wasted", "moved", "moved_in_vain", "failures", "rounds", "abandoned")


class Tally:
    """Adds up outcomes. Adding one costs as much as its cohort is large.

    Args:
        fleet: the devices; their tiers are kept.

    Attributes:
        asked: (N,) rounds in which each device was asked.
        reports: (N,) rounds in which its report was in a sum that was released.
        start, end: seconds of virtual time of the first round's start, None before it, and of the last one's end.
        used, wasted: device-seconds by phase: "download", "compute", "upload". What is wasted is used too.
        moved, moved_in_vain: bytes by direction: "down", "up".
        failures: clients that do not count, by reason; those of abandoned rounds as "abandoned".
        rounds, abandoned: how many, and how many were abandoned, by reason.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.asked, self.reports = np.zeros(len(fleet), np.int64), np.zeros(len(fleet), np.int64)
        self.start: float | None = None
        self.end = 0.0
        self.used = dict.fromkeys(("download", "compute", "upload"), 0.0)
        self.wasted = dict(self.used)
        self.moved = dict.fromkeys(("down", "up"), 0.0)
        self.moved_in_vain = dict(self.moved)
        self.failures: dict[str, int] = {}
        self.rounds = 0
        self.abandoned: dict[str, int] = {}
        self._tier, self._tiers = fleet.tier, fleet.tiers

    def add(self, outcome: Outcome, *, abandoned: str | None = None) -> None:
        """Books a round.

        Args:
            outcome: what came of it.
            abandoned: why nothing of it was released, if so; then all of its work is wasted, and nobody took part.
        """
        counts = outcome.counts if abandoned is None else np.zeros(len(outcome.clients), np.bool_)
        np.add.at(self.asked, outcome.clients, 1)
        np.add.at(self.reports, outcome.clients[counts], 1)
        self.start = outcome.start if self.start is None else min(self.start, outcome.start)
        self.end = max(self.end, outcome.end)
        for phase in self.used:
            spent = getattr(outcome, phase)
            self.used[phase] += float(spent.sum())
            self.wasted[phase] += float(spent[~counts].sum())
        for way in self.moved:
            bytes_ = getattr(outcome, f"bytes_{way}")
            self.moved[way] += float(bytes_.sum())
            self.moved_in_vain[way] += float(bytes_[~counts].sum())
        given_up = int(outcome.counts.sum() - counts.sum())
        for reason, many in (outcome.failures | {"abandoned": given_up}).items():
            self.failures[reason] = self.failures.get(reason, 0) + many
        self.rounds += 1
        if abandoned is not None:
            self.abandoned[abandoned] = self.abandoned.get(abandoned, 0) + 1

    def spend(self, outcome: Outcome) -> None:
        """Books what devices did beside a round, to be chosen for it: time and bytes, and no participation."""
        self.start = outcome.start if self.start is None else min(self.start, outcome.start)
        self.end = max(self.end, outcome.end)
        for phase in self.used:
            self.used[phase] += float(getattr(outcome, phase).sum())
        for way in self.moved:
            self.moved[way] += float(getattr(outcome, f"bytes_{way}").sum())

    def state(self) -> dict[str, Any]:
        """All that it takes to go on: `asked` and `reports`, (N,) each, and `sums`, JSON values."""
        sums = {name: value for name, value in vars(self).items() if name in SUMS}
        return {"asked": self.asked.copy(), "reports": self.reports.copy(), "sums": deepcopy(sums)}

    @classmethod
    def resumed(cls, fleet: Fleet, state: Mapping[str, Any]) -> Tally:
        """Goes on from a `state`, with the fleet that was."""
        tally = cls(fleet)
        tally.asked, tally.reports = (np.array(state[name], np.int64) for name in ("asked", "reports"))
        for name in SUMS:
            setattr(tally, name, deepcopy(state["sums"][name]))
        return tally

    @property
    def virtual_hours(self) -> float:
        """Hours from the first round's start to the last one's end, waits between rounds included."""
        return 0.0 if self.start is None else (self.end - self.start) / HOUR

    @property
    def device_hours(self) -> float:
        """Hours for which devices were busy, of all together."""
        return sum(self.used.values()) / HOUR

    @property
    def wasted_fraction(self) -> float:
        """The share of device-hours whose work is in no sum that was released."""
        used = sum(self.used.values())
        return sum(self.wasted.values()) / used if used else 0.0

    def by_tier(self) -> Float:
        """The share of all reports that each tier made, fastest first, (tiers,); zeros while there are none."""
        many = np.bincount(self._tier, weights=self.reports, minlength=self._tiers)
        return many / max(float(many.sum()), 1.0)

    def representation(self, devices: ArrayLike) -> float:
        """How far `devices`, (K,) positions, keep their share: their reports per device over those of all; 1: fair."""
        mean = float(self.reports.mean())
        return float(self.reports[np.asarray(devices, np.int64)].mean()) / mean if mean else 0.0

    def as_json(self) -> dict[str, Any]:
        """The table `fleet` of result.json, as JSON values."""
        return {
            "virtual_hours": self.virtual_hours,
            "device_hours": self.device_hours,
            "device_hours_by_phase": {phase: seconds / HOUR for phase, seconds in self.used.items()},
            "wasted_fraction": self.wasted_fraction,
            "wasted_hours_by_phase": {phase: seconds / HOUR for phase, seconds in self.wasted.items()},
            "bytes_down": round(self.moved["down"]),
            "bytes_up": round(self.moved["up"]),
            "bytes_wasted": round(sum(self.moved_in_vain.values())),
            "participation_gini": gini(self.reports),
            "participation_by_tier": self.by_tier().tolist(),
            "devices_by_tier": (np.bincount(self._tier, minlength=self._tiers) / len(self._tier)).tolist(),
            "failures": dict(self.failures),
            "rounds_abandoned": dict(self.abandoned),
        }


def gini(counts: ArrayLike) -> float:
    """The Gini coefficient of counts, (N,): 0 where all are equal, (N - 1) / N where one has all; 0 of zeros."""
    ascending = np.sort(np.asarray(counts, np.float64))
    total, many = float(ascending.sum()), len(ascending)
    if not total:
        return 0.0
    rank = np.arange(1, many + 1)
    return float(2.0 * (rank * ascending).sum() / (many * total) - (many + 1) / many)

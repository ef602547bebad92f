"""What may be claimed of how cohorts are drawn, once devices decide who is there and who is in time."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

from tacit.fleet import Deadline, FedBuff, FirstArrivals, PartialWork, WaitForAll
from tacit.selection.cohort import Sampling

if TYPE_CHECKING:
    from tacit.fleet import Closing, Fleet

CHANCE = ("poisson", "uniform")


def claimed(sampling: Sampling, fleet: Fleet | None, closing: Closing | FedBuff | None) -> Sampling:
    """The sampling of a run's cohorts.

    - A fixed number of clients from those who happen to be there is no uniform draw from all of them. Independent coins
      stay coins: who is not there, or late, sends what a client of zeros would.
    - A buffer is filled by whoever is done first, as the first reports are: see below.
    - The first reports come from the fastest devices, and a limit that follows who was in time tells who took part: by
      neither can chance be claimed, nor by a rule that is not tacit's own.
    - A round that waits for its slowest client ends when that is done, so who was in it decides who is there for the
      next one, where devices come and go.

    Args:
        sampling: as the selection declares it.
        fleet: the devices, or None.
        closing: how rounds are closed, or None.
    """
    if fleet is None:
        return sampling
    if isinstance(closing, FedBuff):
        return Sampling("arbitrary", closing.buffer, sampling.of)
    size = closing.count if isinstance(closing, FirstArrivals) and closing.count else sampling.size
    own = closing is None or type(closing) in (WaitForAll, Deadline, PartialWork)
    follows = isinstance(closing, Deadline) and bool(closing.pace)
    always = fleet.availability.everybody
    timed = closing is not None and closing.seconds == inf and not always
    pooled = sampling.kind == "uniform" and not always
    if sampling.kind in CHANCE and (not own or follows or timed or pooled):
        return replace(sampling, kind="arbitrary", size=min(size, sampling.size), rate=None)
    return sampling

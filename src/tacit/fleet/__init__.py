"""Devices that differ in speed, links and availability, and a virtual clock that times rounds on them."""

from tacit.fleet.arrivals import Arrivals, Event
from tacit.fleet.availability import Availability
from tacit.fleet.buffered import FedAsync, FedBuff
from tacit.fleet.by_tier import ByTier
from tacit.fleet.clock import Clock
from tacit.fleet.closing import Closing, Deadline, FirstArrivals, PartialWork, WaitForAll
from tacit.fleet.device import Flag, Fleet
from tacit.fleet.generators import lognormal, phones, silos
from tacit.fleet.journey import Fate, Load, expected
from tacit.fleet.outcome import Outcome, joined
from tacit.fleet.tally import Tally, gini
from tacit.fleet.traces import read, write

__all__ = [
    "Arrivals",
    "Availability",
    "ByTier",
    "Clock",
    "Closing",
    "Deadline",
    "Event",
    "Fate",
    "FedAsync",
    "FedBuff",
    "FirstArrivals",
    "Flag",
    "Fleet",
    "Load",
    "Outcome",
    "PartialWork",
    "Tally",
    "WaitForAll",
    "expected",
    "gini",
    "joined",
    "lognormal",
    "phones",
    "read",
    "silos",
    "write",
]

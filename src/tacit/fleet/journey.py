"""The way of each client through one round: download, training, upload, and where it may be lost.

How long these take does not depend on what is learned, so they are known before anything is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tacit.errors import Problems, UsageError
from tacit.fleet.device import Fleet
from tacit.fleet.draws import normal_pairs, uniform_pairs

Float: TypeAlias = NDArray[np.float64]
Int: TypeAlias = NDArray[np.int64]

HOUR = 3600.0
ROUNDING = 1e-12
"""Share of a time by which the same time, computed in another order, may differ: no reason to call a client late."""


class Fate(IntEnum):
    """What became of a client in a round."""

    COUNTED = 0
    """Its report is in the sum."""
    LATE = 1
    """It had not reported when the round was closed, or not a single step of its work fitted."""
    DROPPED = 2
    """It failed."""
    LEFT = 3
    """Its time ended before its work did: unplugged, in use, or on a metered link again."""
    UNAVAILABLE = 4
    """It was not there at the start."""


@dataclass(frozen=True, eq=False)
class Load:
    """What the clients of a round are asked to do.

    Attributes:
        clients: (K,) positions in the fleet.
        work: (K,) units of work, those of `Fleet.seconds`: examples, counted as often as they are trained on.
        down: bytes that each downloads, one number or (K,).
        up: bytes that each uploads, one number or (K,).
        step: units of work in a local step, one number or (K,): partial work is a whole number of steps.

    Raises:
        UsageError: numbers that are negative or not finite, shapes that do not fit, a client twice.
    """

    clients: Int
    work: Float
    down: Float
    up: Float
    step: Float

    def __init__(
        self, clients: ArrayLike, work: ArrayLike, down: ArrayLike = 0.0, up: ArrayLike = 0.0, step: ArrayLike = 1.0
    ) -> None:
        who = np.atleast_1d(np.asarray(clients))
        with Problems("the round cannot be timed", UsageError) as problems:
            whole = who.ndim == 1 and (who.dtype.kind in "iu" or not len(who))
            problems.check(whole, f"clients are {who.dtype} of shape {who.shape}: give positions, a vector of integers")
        who = who.astype(np.int64)
        object.__setattr__(self, "clients", who)
        with Problems("the round cannot be timed", UsageError) as problems:
            for name, value in (("work", work), ("down", down), ("up", up), ("step", step)):
                column = _numbers(name, value, who.shape, problems)
                object.__setattr__(self, name, np.broadcast_to(column, who.shape))
            ascending = bool((np.diff(who) > 0).all())
            problems.check(ascending or len(np.unique(who)) == len(who), "a client is asked twice: give each once")

    def __len__(self) -> int:
        """K, how many clients there are."""
        return len(self.clients)

    def take(self, rows: Int) -> Load:
        """What some of them are asked, those at these places: sound, for the whole is."""
        part = object.__new__(Load)
        for name in ("clients", "work", "down", "up", "step"):
            object.__setattr__(part, name, getattr(self, name)[rows])
        return part

    def row(self, k: int) -> Load:
        """What one of them is asked, the k-th."""
        if len(self) == 1 and k == 0:
            return self
        return Load(self.clients[k : k + 1], self.work[k], self.down[k], self.up[k], self.step[k])

    def check(self, fleet: Fleet) -> None:
        """Raises a UsageError if there are clients that `fleet` does not have."""
        wrong = self.clients[(self.clients < 0) | (self.clients >= len(fleet))]
        if len(wrong):
            raise UsageError(f"client {wrong[0]} is not in the fleet: give positions from 0 to {len(fleet) - 1}")


@dataclass(frozen=True, eq=False)
class Journey:
    """The ways of K clients, as columns of seconds; times are of the virtual clock.

    Attributes:
        begin: (K,) when each begins; infinite for those that are not there.
        download, compute, upload: (K,) how long each part takes.
        work: (K,) units of work that each will do: all, or what fits.
        arrival: (K,) when its report would be in; infinite if nothing is going to be reported.
        lost: (K,) when it is lost before that; infinite if it is not.
        loss: (K,) its `Fate` if it is lost.
    """

    begin: Float
    download: Float
    compute: Float
    upload: Float
    work: Float
    arrival: Float
    lost: Float
    loss: Int

    @property
    def settled(self) -> Float:
        """(K,) when the server knows of each that nothing will come after: arrived, lost, or unable to do a step."""
        idle = np.where(np.isfinite(self.begin), self.begin + self.download, -np.inf)
        return np.minimum(np.where(np.isfinite(self.arrival), self.arrival, idle), self.lost)

    def row(self, k: int) -> Journey:
        """The way of one of them, the k-th."""
        return Journey(*(getattr(self, column.name)[k : k + 1] for column in fields(self)))

    def used(self, end: ArrayLike) -> tuple[Float, Float, Float]:
        """Seconds that each has downloaded, trained and uploaded, (K,) each, when all stop at `end` at the latest."""
        spent = np.maximum(np.minimum(self.settled, end) - self.begin, 0.0)
        down = np.minimum(spent, self.download)
        training = np.minimum(spent - down, self.compute)
        return down, training, np.minimum(spent - down - training, self.upload)


def _numbers(name: str, value: ArrayLike, shape: tuple[int, ...], problems: Problems) -> Float:
    """One number or one for each, or 0 in their place, with the problem that they are."""
    try:
        column = np.asarray(value, np.float64)
    except (TypeError, ValueError) as error:
        problems.add(f"{name} cannot be read as numbers ({error})")
        return np.zeros(())
    if column.shape not in ((), shape):
        problems.add(f"{name} has shape {column.shape}: give one number, or one for each of {shape[0]} clients")
        return np.zeros(())
    good = np.isfinite(column) & ((column > 0) if name == "step" else (column >= 0))
    least = "above 0" if name == "step" else "from 0"
    if not good.all():
        problems.add(f"{name} is {column[~good][0]:g}: give finite numbers {least}")
    return column


def expected(fleet: Fleet, load: Load, margin: float = 0.0) -> Float:
    """The seconds that each client of `load` takes when its transfers take their median time, (K,).

    For a deadline at a quantile of them, over a cohort or over the whole fleet.

    Args:
        fleet: the devices.
        load: what they do.
        margin: standard deviations of jitter by which its transfers may take longer.
    """
    load.check(fleet)
    who = load.clients
    transfers = load.down / fleet.down[who] + load.up / fleet.up[who]
    return load.work * fleet.seconds[who] + transfers * np.exp(fleet.jitter[who] * margin)


def journeys(
    fleet: Fleet,
    load: Load,
    start: float | Float,
    *,
    seed: int,
    round: int | Int,
    patience: float | Float = 0.0,
    deadline: float = np.inf,
    margin: float = 2.0,
) -> Journey:
    """Times the way of every client. What is drawn for one does not depend on the others.

    Args:
        fleet: the devices.
        load: what they do.
        start: when the round starts, in seconds, or (K,) when each does.
        seed: of the run.
        round: the round, or (K,) numbers that stand for it: other numbers, other draws.
        patience: seconds, one number or (K,), for which a client that is not available is waited for.
        deadline: the time until which each does as much work as fits, all when it is infinite.
        margin: standard deviations of the upload's jitter that are left for it before the deadline.
    """
    load.check(fleet)
    who = load.clients
    begin = fleet.availability.next_on(who, start)
    begin[begin > start + patience] = np.inf
    there = np.isfinite(begin)
    jitter = fleet.jitter[who]
    download, upload = load.down / fleet.down[who], load.up / fleet.up[who]
    kept = upload
    if jitter.any():
        z_down, z_up = normal_pairs(seed, "transfer", who, round)
        kept = upload * np.exp(jitter * margin)
        download, upload = download * np.exp(jitter * z_down), upload * np.exp(jitter * z_up)
    left = np.where(there, deadline - kept - download - np.where(there, begin, 0.0), 0.0)
    work = np.where(there, _fitting(load, fleet.seconds[who], left), 0.0)
    compute = work * fleet.seconds[who]
    reports = there & ((work > 0) | (load.work == 0))
    upload = np.where(reports, upload, 0.0)
    arrival = np.where(reports, begin + (download + compute + upload), np.inf)
    lost, loss = _losses(fleet, load, begin, download + compute + upload, seed, round)
    gone = lost < np.where(reports, arrival, begin + download)
    lost = np.where(gone & there, lost, np.inf)
    return Journey(begin, download, compute, upload, work, arrival, lost, loss)


def _fitting(load: Load, seconds: Float, left: Float) -> Float:
    """The work that fits into `left` seconds, a whole number of steps if it is not all."""
    fits = left / seconds * (1.0 + ROUNDING)
    steps = np.floor(np.clip(fits, 0.0, load.work) / load.step)
    return np.where(fits >= load.work, load.work, steps * load.step)


def _losses(fleet: Fleet, load: Load, begin: Float, whole: Float, seed: int, round: int | Int) -> tuple[Float, Int]:
    """When each would be lost, (K,), and to what: a failure by the hour, one by the round, or the end of its time."""
    who = load.clients
    hazard, dropout, after = fleet.hazard[who], fleet.dropout[who], np.full(len(who), np.inf)
    if hazard.any() or dropout.any():
        by_hour, by_round = uniform_pairs(seed, "failure", who, round)
        with np.errstate(over="ignore"):  # a hazard so small that nobody lives to see it
            np.divide(-np.log(by_hour) * HOUR, hazard, out=after, where=hazard > 0)
        failing = np.flatnonzero(by_round < dropout)
        moment, _ = uniform_pairs(seed, "moment", who[failing], np.broadcast_to(round, who.shape)[failing])
        after[failing] = np.minimum(after[failing], moment * whole[failing])
    there = np.isfinite(begin)
    leaves = np.full(len(who), np.inf)
    if not fleet.availability.everybody:
        leaves = np.where(there, fleet.availability.until(who, np.where(there, begin, 0.0)), np.inf)
    dropped = begin + after
    return np.minimum(dropped, leaves), np.where(dropped <= leaves, Fate.DROPPED, Fate.LEFT).astype(np.int64)

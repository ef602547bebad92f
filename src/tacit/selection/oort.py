"""Cohorts of clients that are thought to be useful: those with high losses, the fast, and the long unseen."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log

import numpy as np

from tacit import checks, keys
from tacit.selection.cohort import Cohort, Informed, Sampling, Uniform
from tacit.selection.pps import probabilities, sizes_of, systematic
from tacit.selection.table import CLIENT_LOSSES, PARTICIPATION, SYSTEM, ClientTable, Float, Int

UNCERTAINTY = 0.1
"""Weight of the time since a client's loss was seen, in Algorithm 1 of [Lai21]."""
LEAST_FLOOR = 0.2


@dataclass(frozen=True)
class Oort(Informed):
    """Guided selection as in Oort ([Lai21] arXiv:2010.06081, Algorithm 1), with a part of each cohort left to chance.

    The utility of a client whose loss is known, in round R (from 1), with its loss of round L:

        u = min(n |loss|, c) / c + sqrt(0.1 ln R / L),    times (T / t)^penalty where t > T

    with `n` its examples, `c` the `clip` quantile of `n |loss|` over those with a loss, `t` its seconds and `T` the
    `pace` quantile of seconds, all of those who may be asked. Of a cohort of K, `floor K` are due to everybody alike;
    of the others a share `max(exploration decay^(R - 1), least_exploration)` is due to clients that were never asked,
    in proportion to their speed, and the rest, in proportion to `u`, to those with at least `cut_off` times the utility
    that just comes in. Those who were asked and gave no loss, because they failed or were late, have the floor alone
    while there are others: asked again and again as unknown, they would make every round slow. One systematic draw
    gives everybody exactly the probability that follows.

    What differs from the paper: the mean training loss stands for the root mean square of the losses of single
    examples, which clients would have to compute for this alone; utilities are divided by `c`, so that the second term
    means the same for every loss; T is a quantile and does not move; a floor bounds what a client gains by lying;
    nobody is retired for having been chosen often (`Spaced(Oort(...), most=...)` does that).

    Sampling: "arbitrary".

    Reveals to the server: the training loss of every single client in every round in which it reports, which tells how
    well the model fits that client's examples and can tell whether given examples are among them; and its number of
    examples. Masks and noise on the sum do not protect this. Losses and speeds are what clients say of themselves: one
    that reports a high loss is chosen more often, up to the clip.

    Args:
        cohort: K, clients in a round.
        exploration, decay, least_exploration: the share of clients that were never asked, at first, what a round leaves
            of it, and where it ends.
        penalty: alpha, how much slow clients lose; 0 for nothing.
        pace: the quantile of seconds up to which nothing is lost.
        clip: the quantile of utilities at which they are cut.
        cut_off: how near to the last admitted a client must come.
        floor: the share of a cohort that is drawn blindly, at least 0.2.
    """

    cohort: int
    exploration: float = 0.9
    decay: float = 0.98
    least_exploration: float = 0.2
    penalty: float = 2.0
    pace: float = 0.8
    clip: float = 0.95
    cut_off: float = 0.95
    floor: float = LEAST_FLOOR

    def __post_init__(self) -> None:
        checks.make_plain(self)

    @property
    def uses(self) -> tuple[str, ...]:
        """Losses of single clients, system data and participation."""
        return (CLIENT_LOSSES, SYSTEM, PARTICIPATION)

    def problems(self, clients: int) -> list[str]:
        """A cohort out of range, shares that are none, a floor below 0.2."""
        found = Uniform(self.cohort).problems(clients)
        for name in ("exploration", "decay", "least_exploration", "pace", "clip", "cut_off"):
            share = getattr(self, name)
            if not (checks.is_number(share) and 0 <= share <= 1):
                found.append(f"{name} is {share!r}: give a share from 0 to 1")
        if not (checks.is_number(self.floor) and LEAST_FLOOR <= self.floor <= 1):
            found.append(f"floor is {self.floor!r}: give a share from {LEAST_FLOOR:g}, which keeps liars off, to 1")
        return found + checks.not_negative("penalty", self.penalty)

    def sampling(self, clients: int) -> Sampling:
        """No claim."""
        return Sampling("arbitrary", self.cohort, clients)

    def utilities(self, table: ClientTable, who: Int, round: int) -> Float:
        """The utilities in `round`, from 0, of clients whose losses are known.

        Args:
            table: what is known.
            who: (n,) positions; the quantiles are over these.
            round: from 0.

        Returns:
            (n,) from 0 to 1, and the term for their age.
        """
        worth = sizes_of(table)[who] * np.abs(table.loss[who])
        top = _quantile(worth, self.clip)
        useful = np.minimum(worth, top) / top if top > 0 else np.zeros(len(who))
        age = np.sqrt(UNCERTAINTY * log(round + 1) / np.maximum(table.loss_round[who] + 1, 1))
        seconds = table.seconds[who]
        pace = _quantile(table.seconds[np.isfinite(table.seconds) & table.pool], self.pace)
        slow: Float = np.where(seconds > pace, pace / seconds, 1.0) ** self.penalty
        return (useful + age) * slow

    def inclusion(self, table: ClientTable, round: int) -> Float:
        """With what probability each of `table.eligible` is drawn, (E,); they add up to the cohort."""
        who = table.eligible
        size = min(self.cohort, len(who))
        if size == len(who):
            return np.ones(size)
        known = np.isfinite(table.loss[who])
        fresh = ~known & (table.asked[who] == 0)
        seen, unseen, failed = (np.flatnonzero(which) for which in (known, fresh, ~known & ~fresh))
        base, left = self.floor * size / len(who), (1 - self.floor) * size
        room = 1 - base
        explored = max(self.exploration * self.decay**round, self.least_exploration) * left
        exploited = min(left - min(explored, room * len(unseen)), room * len(seen))
        explored = min(left - exploited, room * len(unseen))
        worth = _admitted(self.utilities(table, who[seen], round), exploited / room, self.cut_off)
        chances: Float = np.full(len(who), base)
        chances[seen] += probabilities(worth, exploited, room)
        chances[unseen] += probabilities(_speed(table.seconds[who[unseen]]), explored, room)
        chances[failed] += probabilities(np.ones(len(failed)), max(left - exploited - explored, 0.0), room)
        np.minimum(chances, 1.0, out=chances)  # sums are rounded
        return chances

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """One systematic draw from those with a loss and those without; all, where no more are there than asked for."""
        who, chances = table.eligible, self.inclusion(table, round)
        rng = keys.generator(seed, "cohort", round)
        places = systematic(rng, chances, np.isfinite(table.loss[who]))
        return Cohort(who[places], self.sampling(len(table)), inclusion=chances[places])


def _quantile(values: Float, share: float) -> float:
    """The value that so many are at most, one of those given; 0 of none."""
    return float(np.quantile(values, share, method="lower")) if len(values) else 0.0


def _admitted(utilities: Float, count: float, cut_off: float) -> Float:
    """The utilities, 0 for those too far below the last of the best `count`."""
    last = len(utilities) - ceil(count)
    if count <= 0 or last <= 0:
        return utilities
    return np.where(utilities >= cut_off * np.partition(utilities, last)[last], utilities, 0.0)


def _speed(seconds: Float) -> Float:
    """Work in a second, (n,); the median of the others where it is not known."""
    known = np.isfinite(seconds)
    told = seconds if bool(known.all()) else seconds[known]
    if not len(told):
        return np.ones(len(seconds))
    speed: Float = 1 / (seconds if len(told) == len(seconds) else np.where(known, seconds, np.median(told)))
    return speed

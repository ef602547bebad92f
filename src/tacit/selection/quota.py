"""A part of every cohort for those who had the fewest turns."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from tacit import checks, keys
from tacit.selection.cohort import Cohort, Informed, Sampling, Uniform
from tacit.selection.pps import Float, Int
from tacit.selection.table import PARTICIPATION, ClientTable


@dataclass(frozen=True)
class Quota(Informed):
    """Gives `share` of every cohort to those who were asked least often, at random among equals; the rest is uniform.

    Turns are counted when a client is asked: one that never reports would otherwise be asked in every round.

    Sampling: "arbitrary", for who is next follows from who was before.

    Reveals to the server: nothing that it does not know, for it asked them.

    Args:
        cohort: clients in a round.
        share: of them, to those with the fewest turns; the number is rounded up.
    """

    cohort: int
    share: float = 0.5

    def __post_init__(self) -> None:
        checks.make_plain(self)

    @property
    def uses(self) -> tuple[str, ...]:
        """Participation."""
        return (PARTICIPATION,)

    def problems(self, clients: int) -> list[str]:
        """A cohort out of range, a share that is none."""
        found = Uniform(self.cohort).problems(clients)
        if not (checks.is_number(self.share) and 0 <= self.share <= 1):
            found.append(f"share is {self.share!r}: give a share from 0 to 1")
        return found

    def sampling(self, clients: int) -> Sampling:
        """No claim."""
        return Sampling("arbitrary", self.cohort, clients)

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """Those with the fewest turns, then a uniform draw from the others; all, where fewer may be asked."""
        rng, who = keys.generator(seed, "cohort", round), table.eligible
        size = min(self.cohort, len(who))
        first = ceil(self.share * size)
        places, chances = _fewest(rng, table.asked[who], first)
        others = np.ones(len(who), np.bool_)
        others[places] = False
        more = rng.choice(np.flatnonzero(others), size - first, replace=False, shuffle=False)
        chosen = np.sort(np.concatenate([places, more]))
        chance = (size - first) / max(len(who) - first, 1)
        inclusion = chances[chosen] + (1 - chances[chosen]) * chance
        return Cohort(who[chosen], self.sampling(len(table)), inclusion=inclusion)


def _fewest(rng: np.random.Generator, turns: Int, count: int) -> tuple[Int, Float]:
    """Places of the `count` lowest `turns`, at random among equals, and the probability of each place, (n,)."""
    if not count:
        return np.empty(0, np.int64), np.zeros(len(turns))
    last = int(np.searchsorted(np.cumsum(np.bincount(turns)), count))
    before, equals = np.flatnonzero(turns < last), np.flatnonzero(turns == last)
    left = count - len(before)
    chances = np.where(turns < last, 1.0, np.where(turns == last, left / len(equals), 0.0))
    return np.concatenate([before, rng.choice(equals, left, replace=False, shuffle=False)]), chances

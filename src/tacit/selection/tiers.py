"""Cohorts of one tier each, of devices that are about as fast as each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit import checks, keys
from tacit.selection.cohort import Cohort, Informed, Sampling, Uniform
from tacit.selection.table import SYSTEM, TIER_LOSSES, ClientTable, Float


@dataclass(frozen=True)
class Tiers(Informed):
    """TiFL ([Chai20] arXiv:2001.09249): a round's cohort is of one tier, so that nobody waits for a slower tier.

    Tier t is drawn with probability `floor / T + (1 - floor) l_t / sum(l)`, where `l_t` is the mean training loss of
    its last round, and the cohort uniformly within it. A tier without a round yet counts as the one with the highest
    loss, a loss below 0 as 0. Only tiers with `cohort` clients that may be asked are drawn from; where there is none,
    the largest is.

    Two things differ from the paper: the training loss, which rides in the sum of reports, stands for the accuracy
    of each tier on test data, which would have to be sent; and the floor stands for the credits that limit how
    often a tier comes up.

    Sampling: "arbitrary".

    Reveals to the server: the sum of the losses of each cohort, all of one tier, and no loss of a single client. Which
    tier a client is in, its speed has told.

    Args:
        cohort: clients in a round.
        floor: the share of the probability that all tiers have in equal parts.
    """

    cohort: int
    floor: float = 0.2

    def __post_init__(self) -> None:
        checks.make_plain(self)

    @property
    def uses(self) -> tuple[str, ...]:
        """System data, and loss sums of tiers."""
        return (SYSTEM, TIER_LOSSES)

    def problems(self, clients: int) -> list[str]:
        """A cohort out of range, a floor that is no share."""
        found = Uniform(self.cohort).problems(clients)
        if not (checks.is_number(self.floor) and 0 < self.floor <= 1):
            found.append(f"floor is {self.floor!r}: give a share above 0, of at most 1")
        return found

    def sampling(self, clients: int) -> Sampling:
        """No claim."""
        return Sampling("arbitrary", self.cohort, clients)

    def probabilities(self, table: ClientTable) -> Float:
        """With what probability the cohort is of each tier, (T,)."""
        there = np.bincount(table.tier[table.pool], minlength=len(table.tier_loss))
        most = int(there.max(initial=0))
        if not most:
            return np.zeros(len(there))
        equal: Float = (there >= min(self.cohort, most)) / np.count_nonzero(there >= min(self.cohort, most))
        known = np.isfinite(table.tier_loss)
        loss = np.maximum(np.where(known, table.tier_loss, np.max(table.tier_loss, where=known, initial=0.0)), 0.0)
        loss = np.where(equal > 0, loss, 0.0)
        return self.floor * equal + (1 - self.floor) * (loss / loss.sum() if loss.sum() > 0 else equal)

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """A tier by its probability, and a uniform draw within it."""
        sampling, chances = self.sampling(len(table)), self.probabilities(table)
        if not chances.any():
            return Cohort(np.empty(0, np.int64), sampling, inclusion=np.empty(0))
        tier = int(keys.generator(seed, "tier", round).choice(len(chances), p=chances / chances.sum()))
        inside = Uniform(self.cohort).choose(table.narrowed(table.tier == tier), seed, round)
        assert inside.inclusion is not None
        return Cohort(inside.clients, sampling, inclusion=inside.inclusion * chances[tier])

"""The virtual clock of synchronous rounds: who counts is decided first, and only those are trained.

Virtual time costs nothing to pass. A round of a cohort costs a few vectorised draws, whatever the size of the fleet.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from tacit import checks
from tacit.errors import Problems, UsageError
from tacit.fleet.closing import Closing
from tacit.fleet.device import Fleet
from tacit.fleet.journey import Load, journeys
from tacit.fleet.outcome import Outcome, settle


@dataclass(frozen=True)
class Clock:
    """Times the rounds of a fleet. It has no state: a round depends on its number, its start and the seed alone.

    Attributes:
        fleet: the devices.
        seed: of the run.
    """

    fleet: Fleet
    seed: int

    def round(self, number: int, load: Load, rule: Closing, start: float, *, patience: float = 0.0) -> Outcome:
        """One round.

        Args:
            number: of the round, from 0: other rounds, other draws.
            load: who is asked to do what.
            rule: when the round is closed.
            start: when it starts, in seconds.
            patience: seconds for which a client that is not available is waited for.

        Returns:
            What came of it. A round in which nobody was available ends when it starts: see `wake`.

        Raises:
            UsageError: a rule that cannot be kept, times that are none, clients that the fleet does not have.
        """
        with Problems("the round cannot be timed", UsageError) as problems:
            problems.check(checks.is_whole(number, 0), f"the round is {number!r}: give a whole number from 0")
            problems.check(checks.is_whole(self.seed), f"the seed is {self.seed!r}: give a whole number")
            problems.extend(rule.problems())
            limit = inf if rule.seconds is None else rule.seconds
            problems.check(
                rule.seconds is not None, f"{rule!r} has no limit yet: give it in seconds, rule.within(60.0)"
            )
            problems.extend(checks.not_negative("start", start))
            problems.extend(checks.not_negative("patience", patience))
        partial = {} if rule.margin is None else {"deadline": start + limit, "margin": rule.margin}
        journey = journeys(
            self.fleet, load, start, seed=self.seed, round=number, patience=min(patience, limit), **partial
        )
        arrival = np.where(journey.lost < journey.arrival, np.inf, journey.arrival)
        end, counted = rule.close(arrival, journey.settled, start)
        return settle(journey, load, start, end, counted & np.isfinite(arrival))

    def wake(self, t: float) -> float:
        """The first time from `t` seconds on at which any device is available; infinite if there is none."""
        return float(self.fleet.availability.next_on(None, t).min())

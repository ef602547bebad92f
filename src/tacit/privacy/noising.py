"""The noise of one run: on sums, or, by the clients, on what they add up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.privacy.bound import Bound
from tacit.privacy.correlated import coefficients
from tacit.privacy.local_level import LAPLACE
from tacit.privacy.noise import NoiseSource
from tacit.privacy.plan import PrivacyPlan

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Noising:
    """Draws noise as a plan says, from one source.

    Attributes:
        plan: of the run.
        source: of its randomness.
    """

    plan: PrivacyPlan
    source: NoiseSource

    def add(self, round: int, total: Tensor, places: Sequence[tuple[Bound, slice]], clients: int) -> None:
        """Adds the noise of a round to a sum of integers, once.

        Args:
            round: from 0.
            total: (m,) int64, changed in place.
            places: bounds, and where in the sum each is.
            clients: in the sum, where each adds noise of its own.
        """
        for bound, place in places:
            z = self.plan.noises()[bound.name]
            draws = self._draws(bound.name, round, place.stop - place.start, clients)
            total[place] += torch.from_numpy(np.rint(draws * (z * bound.norm / bound.grid)).astype(np.int64))

    def share(self, round: int, clients: int, count: int, whose: str = "") -> Int:
        """What so many clients add to their sum under its masks, (count,) in grid steps.

        Args:
            round: from 0.
            clients: how many: the sum of independent Skellam draws is one of the sum of their variances.
            count: numbers in a report.
            whose: one client's own, where each is drawn alone.
        """
        assert self.plan.shares is not None
        variance = clients * self.plan.shares.variance(self.plan.noise)
        return self.source.skellam(f"share {whose}", round, count, variance)

    def share_of(self, round: int, count: int) -> Callable[[str], Int] | None:
        """What one client adds to its report under the masks, by its name; None where clients add nothing."""
        if self.plan.shares is None:
            return None
        return lambda name: self.share(round, 1, count, name)

    def _draws(self, name: str, round: int, count: int, clients: int) -> NDArray[np.float64]:
        """The noise on a sum in units of its scale: of one draw, or of one draw of each client in it."""
        if not self.plan.local:
            return self.source.normal(name, round, count, coefficients(self.plan.bands))
        if self.plan.level.mechanism == LAPLACE:
            return self.source.laplace(name, round, count, clients)
        draws = self.source.normal(name, round, count)
        draws *= sqrt(clients)
        return draws

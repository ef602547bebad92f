"""The twin of a private federation: the same method, clip, noise multiplier and rate, with room for canaries."""

from __future__ import annotations

import copy
from dataclasses import replace
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np
import torch

from tacit.aggregation.secure_sum import SecureSum
from tacit.learning.batches import Examples
from tacit.population.population import Int, Population
from tacit.privacy.distributed import ClipDiscrete
from tacit.privacy.plan import PrivacyPlan
from tacit.selection.cohort import Poisson, Selection, Separated, Uniform

if TYPE_CHECKING:
    from tacit.federation import Federation
    from tacit.privacy.canaries import Audit
    from tacit.privacy.user_level import UserLevel

BORROWED = 16
"""Most examples on which a canary trains: what comes of it is thrown away."""


class Joined(Population):
    """A population, and after its clients so many canaries, which borrow the first examples of its first client.

    It is marked as synthetic: no ledger is charged for it (see `audit` for why).
    """

    synthetic = True

    def __init__(self, population: Population, canaries: int) -> None:
        few = min(BORROWED, int(population.sizes[0]))
        self._population, self._canaries = population, canaries
        prefix = "canary-"
        while any(client.startswith(prefix) for client in population.ids):
            prefix += "-"
        self.ids = (*population.ids, *(f"{prefix}{k}" for k in range(canaries)))
        self.sizes = np.concatenate([population.sizes, np.full(canaries, few, dtype=np.int64)])
        self.classes = population.classes

    def examples(self, clients: Int) -> Examples:
        """See `Population.examples`."""
        owners, at = np.unique(np.where(clients < len(self._population), clients, 0), return_inverse=True)
        found = self._population.examples(owners)
        return Examples(found.x, found.y, found.start[at], self.sizes[clients])

    def cast(self, dtype: torch.dtype) -> Joined:
        """See `Population.cast`."""
        return Joined(self._population.cast(dtype), self._canaries)


def joined(selection: Selection, clients: int, canaries: int) -> Selection:
    """The selection that takes of clients and canaries the share that `selection` takes of clients.

    A cap keeps its distance from the mean, in standard deviations. A rule that is none of tacit's own stays as it is.
    """
    factor = (clients + canaries) / clients
    if isinstance(selection, Poisson):
        expected, cap = selection.expected * factor, selection.cap
        if cap is not None:
            cap = ceil(expected + (cap - selection.expected) * sqrt(factor))
        return Poisson(expected, cap)
    if isinstance(selection, Uniform | Separated):
        return type(selection)(max(round(selection.cohort * factor), 1))
    return selection


def level_of(plan: PrivacyPlan, clients: int, insecure: int) -> UserLevel:
    """What the twin asks for: the noise multiplier of `plan`, and its delta where that is below `1 / clients`.

    Args:
        plan: of the run that is audited.
        clients: canaries included.
        insecure: added to the seed of a run whose noise comes from one, for other noise.
    """
    seed = plan.level.insecure_seed
    level = replace(
        plan.level,
        epsilon=None,
        noise_multiplier=plan.noise,
        delta=plan.delta if plan.delta < 1 / clients else None,
        population_budget=None,
        insecure_seed=None if seed is None else seed + insecure,
    )
    return replace(level, delta=level.delta_for(clients))


def twin_of(federation: Federation, plan: PrivacyPlan, canaries: int, audit: Audit, insecure: int) -> Federation:
    """A federation like `federation`, with canaries.

    Args:
        federation: not changed.
        plan: of its run.
        canaries: how many clients join.
        audit: plants them.
        insecure: see `level_of`.
    """
    clients = len(federation.population)
    twin = copy.copy(federation)
    twin.given = twin.population = Joined(federation.population, canaries)
    twin.selection = joined(federation.selection, clients, canaries)
    twin.privacy = level_of(plan, clients + canaries, insecure)
    twin.audit = audit
    if isinstance(twin.aggregation, SecureSum):  # nobody is lost, and all add their noise: as little as is claimed
        twin.aggregation = replace(twin.aggregation, lost=(), corrupt=0.0)
    # An adaptive clip norm follows the share of a cohort, so the clip has to know the twin's.
    *stages, _ = federation.chain.stages
    twin.chain = twin.chained(stages)
    *others, clip = twin.chain.stages
    if isinstance(clip, ClipDiscrete):
        needed = max(1, round(twin.selection.sampling(clients + canaries).size))
        twin.chain = replace(
            twin.chain, stages=(*others, replace(clip, shares=replace(clip.shares, honest=needed), places=clip.places))
        )
    return twin

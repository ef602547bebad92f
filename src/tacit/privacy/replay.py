"""Replay with equal randomness: what one client changes in the sums, on neighbouring populations, run by the program.

Cohorts, noise and every other coin come from one known seed, so that two runs differ in nothing but a client's data,
and the difference of what they release is that of their sums before noise. That difference must be no longer than the
clip norm: from it every epsilon follows. A mean instead of a sum, a weight that is not bounded, a report that is not
clipped, noise that depends on data, or clients that learn of each other make it longer.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import hypot, inf, isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tacit.errors import DataError, UsageError
from tacit.learning.batches import Examples
from tacit.learning.layout import Parts
from tacit.population.population import Int, Population
from tacit.privacy.bound import Bound
from tacit.privacy.clip import Clip
from tacit.record.callback import Callback

if TYPE_CHECKING:
    from tacit.federation import Federation

ROUNDING = 1e-9
"""A difference may be so much longer than its bound: it is taken in double precision, of numbers with noise in them."""


class Leaving(Population):
    """A population of which one client's data are gone from a round on: its report is then one of zeros.

    Args:
        population: whose clients these are.
        client: the position of the one that leaves.
        since: the round, from 0, in which it has left.
    """

    synthetic = True

    def __init__(self, population: Population, client: int, since: int) -> None:
        self._population, self._client, self._since = population, client, since
        self.ids, self.sizes, self.classes = population.ids, population.sizes, population.classes
        self.round = -1
        """The one that goes on; -1 before the first."""

    def examples(self, clients: Int) -> Examples:
        """See `Population.examples`."""
        if self.round >= self._since and bool(np.isin(self._client, clients)):
            raise DataError("the client has left")
        return self._population.examples(clients)

    def cast(self, dtype: torch.dtype) -> Leaving:
        """See `Population.cast`."""
        return Leaving(self._population.cast(dtype), self._client, self._since)


@dataclass
class Releases(Callback):
    """Watches a run: what it released in each round. It is both the run's audit and its callback.

    Attributes:
        population: is told of every round, if it is one that somebody leaves.
        last: the round, from 0, after which the run may end.
        means: by round, the mean of every part.
    """

    population: Any
    last: int
    means: list[Parts] = field(default_factory=list)

    def on_round_start(self, round: int) -> None:
        """See `Callback.on_round_start`."""
        if isinstance(self.population, Leaving):
            self.population.round = round - 1

    def on_round_end(self, row: Mapping[str, Any]) -> bool:
        """See `Callback.on_round_end`."""
        return len(self.means) > self.last

    def plant(self, clients: Int, update: Tensor) -> None:
        """Nothing: clients report what they learned."""

    def see(self, round: int, mean: Parts) -> None:
        """See `Audit.see`."""
        self.means.append({name: value.clone() for name, value in mean.items()})


def replay(federation: Federation, client: int = 0, rounds: int = 2) -> float:
    """The most by which a client's leaving changes a sum, in clip norms: at most 1 where the accounting is true.

    In round t the neighbour is the same population, without the client from t on: what was released before is equal on
    both sides, as it is where rounds are composed.

    Args:
        federation: with privacy, whose noise comes from an `insecure_seed`; not changed.
        client: the position of the client that leaves.
        rounds: how many are looked at.

    Returns:
        The largest difference over rounds and releases, each in units of its own norm.

    Raises:
        UsageError: the federation is not private, or its noise cannot be repeated.
    """
    there, most = released(federation, federation.population, rounds), 0.0
    for since in range(rounds):
        gone = released(federation, Leaving(federation.population, client, since), rounds, since)
        most = max(most, *differences(federation, there[: since + 1], gone))
    return most


def released(federation: Federation, population: Population, rounds: int, last: int | None = None) -> list[Parts]:
    """What rounds of `federation` release where the clients are those of `population`, with the same coins and noise.

    Args:
        federation: not changed.
        population: in the place of its own, with as many clients of the same sizes.
        rounds: for which the noise is made.
        last: the last of them that is run, from 0; all when None.

    Raises:
        UsageError: see `replay`.
    """
    if federation.privacy is None or federation.privacy.insecure_seed is None:
        raise UsageError("two runs are held against each other with equal noise: give UserLevel(insecure_seed=0)")
    twin = copy.copy(federation)
    twin.population = copy.copy(population)
    twin.given, twin.workers = twin.population, 1
    twin.given.synthetic = True
    watching = Releases(twin.population, rounds - 1 if last is None else last)
    twin.audit = watching
    twin.run(rounds, callbacks=[watching], progress=False)
    return watching.means


def differences(federation: Federation, one: list[Parts], other: list[Parts]) -> list[float]:
    """By how much sums differ, for every round and release, in units of the release's norm; infinite where NaN is."""
    clip, clients = federation.chain.stages[-1], len(federation.population)
    assert isinstance(clip, Clip)
    expected = federation.selection.sampling(clients).size
    return [
        expected / bound.norm * _distance(mine, others, bound)
        for mine, others in zip(one, other, strict=True)
        for bound in clip.bounds
    ]


def _distance(one: Parts, other: Parts, bound: Bound) -> float:
    parts = (one[name].double() - other[name].double() for name in bound.parts)
    distance = hypot(*(float(torch.linalg.vector_norm(part)) for part in parts))
    return inf if isnan(distance) else distance

"""What a round asks of every device of a run's fleet: units of work, steps, bytes; and of how many."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.fleet import Fleet, Load
from tacit.learning.solver import steps_for
from tacit.rounds.differing import chain_of, method_of

if TYPE_CHECKING:
    from tacit.algorithms.base import Algorithm
    from tacit.federation import Federation
    from tacit.selection.cohort import Sampling

SPARE = 1.25
"""Times as many devices as a secure sum needs must be there, for some will be lost."""
PUBLIC = 100
"""Examples that every client of a private run is timed by, where `most_examples` is not stated."""
RARE = 1e-4
"""A private round by coins fails with too few reports in no larger share of the rounds, if devices come as expected."""
LOST = 0.15
"""Share of the clients asked that is expected to come to nothing there."""
Int: TypeAlias = NDArray[np.int64]
Float: TypeAlias = NDArray[np.float64]


def loads(federation: Federation, fleet: Fleet, down: int, up: int) -> tuple[Load, Int | None]:
    """The load of every device, and (N,) the most steps that each may do; None where all do all.

    A unit of work is one example through the whole model; through a narrower one it is as much less as that has fewer
    parameters.

    Args:
        federation: whose run it is.
        fleet: its devices.
        down, up: bytes that a client receives and sends for the whole model.
    """
    how, sizes = federation.by_tier, sizes_of(federation)
    if how is None:
        reads, step, _ = _solver_of(federation.algorithm, sizes)
        return Load(np.arange(len(sizes)), reads, down, up, step), None
    kinds, plain = how.kind_of(fleet.tier), federation.aggregation is None
    work, step, steps = np.empty(len(sizes)), np.empty(len(sizes)), np.empty(len(sizes), np.int64)
    less_down, less_up = np.full(len(sizes), float(down)), np.full(len(sizes), float(up))
    itemsize, d = federation.task.dtype.itemsize, federation.task.d
    for kind in np.unique(kinds).tolist():
        mine = kinds == kind
        work[mine], step[mine], steps[mine] = _solver_of(method_of(federation.algorithm, how, kind), sizes[mine])
        own = d if federation.submodels is None else len(federation.submodels.each[kind].places)
        work[mine] *= own / d
        step[mine] *= own / d
        less_down[mine] -= (d - own) * itemsize
        if plain and how.top_k:
            less_up[mine] = chain_of(federation.chain, how, kind).encoded_bytes(itemsize)
        elif plain:
            less_up[mine] -= (d - own) * itemsize
    most = np.maximum(np.ceil(how.steps_of(fleet.tier) * steps - 1e-9), 1).astype(np.int64)
    work = np.minimum(work, most * step)
    return Load(np.arange(len(sizes)), work, less_down, less_up, step), most if how.steps else None


def sizes_of(federation: Federation) -> Int:
    """(N,) how many examples each client is taken to have by whoever times it.

    In a private run one public number for all: times would else follow from everybody's data, and with them who is in
    a sum, by more than a clip norm.
    """
    sizes, level = federation.population.sizes, federation.privacy
    return sizes if level is None else np.full(len(sizes), level.most_examples or PUBLIC, np.int64)


def _solver_of(algorithm: Algorithm, sizes: Int) -> tuple[Float, Float, Int]:
    """(N,) examples that clients of these sizes read in a round, examples in a step, and steps."""
    solver = algorithm.solver
    step = np.minimum(solver.batch_size or sizes, sizes).astype(np.float64)
    distinct, place = np.unique(sizes, return_inverse=True)
    steps = np.array([steps_for(solver, int(n)) for n in distinct], np.int64)[place]
    return steps * step, step, steps


def enough(federation: Federation) -> tuple[int, int]:
    """How many devices should be there for a round to begin, and with how many it can: a cohort's worth, and its least.

    With independent coins, so many that too few of them come up and report rarely only.
    """
    how, private = federation.aggregation, federation.privacy is not None
    sampling = federation.selection.sampling(len(federation.population))
    fewest = 1 if how is None else how.fewest(federation.sampling)
    if sampling.rate is not None:
        needed = _for_coins(0 if private and how is None else fewest, sampling)
        return needed, needed
    share = 1.0 if private or sampling.kind == "everyone" else federation.minimum * sampling.size
    least = max(ceil(fewest * SPARE) if how is not None else 1, ceil(share), 1)
    return least if sampling.kind == "everyone" else max(least, int(sampling.size)), least


def _for_coins(needed: int, sampling: Sampling) -> int:
    """Of how many devices independent coins give at least `needed` reports, but for rare rounds; at most all."""
    from scipy.stats import binom

    assert sampling.rate is not None
    few, many = 1, sampling.of
    while few < many:
        middle = (few + many) // 2
        fails = binom.cdf(needed - 1, middle, sampling.rate * (1 - LOST)) > RARE
        few, many = (middle + 1, many) if fails else (few, middle)
    return many

"""What a round asks of every device of a run's fleet: units of work, steps, bytes; and of how many."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.differing import chain_of, method_of
from tacit.fleet import Fleet, Load
from tacit.learning.solver import steps_for

if TYPE_CHECKING:
    from tacit.algorithms.base import Algorithm
    from tacit.federation import Federation

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
    how, sizes = federation.by_tier, federation.population.sizes
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


def _solver_of(algorithm: Algorithm, sizes: Int) -> tuple[Float, Float, Int]:
    """(N,) examples that clients of these sizes read in a round, examples in a step, and steps."""
    solver = algorithm.solver
    step = np.minimum(solver.batch_size or sizes, sizes).astype(np.float64)
    distinct, place = np.unique(sizes, return_inverse=True)
    steps = np.array([steps_for(solver, int(n)) for n in distinct], np.int64)[place]
    return steps * step, step, steps


def enough(federation: Federation) -> int:
    """How many devices must be there for a round to begin: a cohort's worth, or as many as a secure sum needs.

    With independent coins, so many that a cohort has on average half as many again as a round needs at least.
    """
    how, private = federation.aggregation, federation.privacy is not None
    sampling = federation.selection.sampling(len(federation.population))
    least = 1 if how is None else how.fewest(federation.sampling)
    if sampling.rate is None:
        return least if sampling.kind == "everyone" else max(least, int(sampling.size))
    needed = max(least, 1.0 if private else federation.minimum * sampling.size)
    return min(ceil(1.5 * needed / sampling.rate), sampling.of)

"""What a run opens before its first round: the engine of local steps, and the venue where reports are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tacit.algorithms.base import Algorithm
from tacit.fleet.by_tier import ByTier
from tacit.learning.ladder import Choice, choose
from tacit.learning.solver import steps_for
from tacit.learning.step import Engine
from tacit.learning.task import Task
from tacit.population.population import Population
from tacit.privacy.guard import Guard
from tacit.privacy.record_guard import RecordGuard, Records
from tacit.privacy.releases import measured_parts
from tacit.rounds.differing import chain_of, method_of
from tacit.rounds.securing import Simulated
from tacit.rounds.server import Server
from tacit.venue.local_training import LocalTraining, Uplink
from tacit.venue.processes import Processes, available
from tacit.venue.sample import sample
from tacit.venue.threads import Threads
from tacit.venue.venue import Venue

if TYPE_CHECKING:
    from tacit.federation import Federation


def chosen(
    federation: Federation,
    engine: str,
    task: Task | None = None,
    algorithm: Algorithm | None = None,
    population: Population | None = None,
) -> Choice:
    """Climbs the engine ladder, with a few clients as a sample where there is an engine to verify.

    Args:
        federation: whose run it is.
        engine: "auto", or a name.
        task, algorithm: others than the federation's own, for a kind of work.
        population: another one to take the sample from.
    """
    algorithm, task = algorithm or federation.algorithm, task or federation.task
    population = population or federation.population
    plain, private = engine == "eager", federation.privacy is not None or federation.record_privacy is not None
    examples = population.examples(np.array([0])) if plain else sample(task, algorithm, population, private)
    return choose(
        task,
        algorithm.solver,
        examples,
        algorithm.proximal,
        algorithm.memory(task.d) > 0,
        engine,
        federation.device,
        None if federation.record_privacy is None else federation.record_privacy.clip,
        federation.privacy is not None,
    )


def opened(
    federation: Federation,
    server: Server,
    choice: Choice,
    *,
    guards: tuple[Guard | None, RecordGuard | None],
    sums: Simulated | None,
    losses: bool,
) -> Venue:
    """The venue of a run.

    Args:
        federation: whose run it is.
        server: its.
        choice: the engine.
        guards: of the clients' privacy, and of their records'.
        sums: the secure sums, or None.
        losses: every client tells its loss.
    """
    guard, records = guards
    work = work_of(
        federation,
        server,
        choice.make,
        records=None if records is None else records.records(federation.algorithm.solver),
        chance=_chance(guard, records),
        uplink=sums if sums is not None and sums.whole else None,
        losses=losses,
    )
    if federation.by_tier is not None and federation.by_tier.kinds > 1:
        work = replace(work, kinds=tuple(_kinds(federation, work, federation.by_tier, choice.name)))
    alone = choice.alone or work.uplink is not None
    workers = 1 if alone else min(federation.workers, len(federation.population))
    if choice.threads or choice.block is not None or workers == 1 or not available():
        return Threads(work, workers if choice.threads else 1)
    return Processes(work, workers)


def work_of(
    federation: Federation,
    server: Server,
    make_engine: Callable[[], Engine],
    *,
    records: Records | None,
    chance: int | None,
    uplink: Uplink | None,
    losses: bool = False,
) -> LocalTraining:
    """What a worker of a federation does.

    Args:
        federation: whose run it is.
        server: for the layout of its broadcast, and for what clients remember.
        make_engine: makes the engine of a worker.
        records: makes local steps private; None where they are not.
        chance: the secret seed of models that draw random numbers, in a private run.
        uplink: takes encoded reports, where they are summed elsewhere.
        losses: every client tells its loss.
    """
    return LocalTraining(
        federation.task,
        federation.algorithm,
        federation.population,
        server.memory,
        federation.chain,
        server.broadcast()[0],
        make_engine,
        federation.seed,
        None if federation.privacy is None else federation.privacy.most_examples,
        None if federation.audit is None else federation.audit.plant,
        records,
        chance,
        None if federation.aggregation is None else federation.aggregation.most_examples,
        uplink,
        measured_parts(federation.privacy),
        losses,
    )


def _kinds(federation: Federation, work: LocalTraining, how: ByTier, engine: str) -> Iterator[LocalTraining]:
    """The same work for each kind of devices, by the same engine."""
    for kind in range(how.kinds):
        submodel = None if federation.submodels is None else federation.submodels.each[kind]
        algorithm = method_of(work.algorithm, how, kind)
        inner = work.task if submodel is None else submodel.task
        whole = inner is work.task
        make = chosen(federation, engine, inner, algorithm).make
        chain = chain_of(work.chain, how, kind)
        yield replace(
            work, algorithm=algorithm, chain=chain, make_engine=make, kind=kind, submodel=None if whole else submodel
        )


def _chance(guard: Guard | None, records: RecordGuard | None) -> int | None:
    """The secret seed of models that draw random numbers, in a private run."""
    if records is not None:
        return records.chance
    return None if guard is None else guard.source.seed("model")


def examples_read(algorithm: Algorithm, population: Population) -> NDArray[np.int64]:
    """(N,) how many examples each client reads in a round: the measure of its work."""
    solver = algorithm.solver
    sizes, counts = np.unique(population.sizes, return_inverse=True)
    reads = [steps_for(solver, int(n)) * min(solver.batch_size or int(n), int(n)) for n in sizes]
    return np.array(reads, dtype=np.int64)[counts]

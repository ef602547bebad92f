"""What one participant computes in a round: its report, from the broadcast; the lines that a simulation runs, too."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tacit.aggregation.compression.codec import Codec
from tacit.aggregation.fixed_point import centred
from tacit.errors import MalformedMessage, RoundFailed
from tacit.federation import ALONE
from tacit.learning import foreign
from tacit.learning.layout import Layout, Parts
from tacit.learning.solver import steps_for
from tacit.learning.step import Engine
from tacit.network.deployment import deployed, task_digest, task_of
from tacit.network.own_memory import OwnMemory
from tacit.network.remote import Remote
from tacit.network.terms import Terms
from tacit.population.population import Population
from tacit.privacy.noise import NoiseSource
from tacit.privacy.noising import Noising
from tacit.privacy.plan import participations
from tacit.privacy.promised import promised
from tacit.privacy.record_guard import Records
from tacit.privacy.record_plan import RecordPlan
from tacit.rounds.opening import chosen, work_of
from tacit.rounds.securing import Securing, securing_of
from tacit.rounds.server import Public, Server
from tacit.secret_draws import KEY, key_of
from tacit.venue.block import Block
from tacit.venue.block_sum import Trained
from tacit.venue.local_training import LocalTraining
from tacit.venue.threads import one_thread
from tacit.venue.work import Worker

Int = NDArray[np.int64]


class NotTrained(RoundFailed):
    """Local training gave no report that could be sent."""


@dataclass(frozen=True)
class Standing:
    """Where a participant stands in a run.

    Attributes:
        name: under which it is known.
        position: from 0, among all.
        count: N, how many there are.
    """

    name: str
    position: int
    count: int

    @property
    def names(self) -> tuple[str, ...]:
        """N names, of which only its own is true."""
        return tuple(self.name if k == self.position else f"#{k}" for k in range(self.count))


class Training:
    """The local training of one participant in one run.

    Args:
        terms: of the run.
        place: where this participant stands.
        data: its inputs and targets (n, ...), as the schema has them.
        task: of one's own, where the terms name no scenario's.
        folder: where it keeps what it remembers; None keeps it in memory.
        train: a function of the user's for the local steps (`learning.foreign`); None takes an engine of the ladder.

    Raises:
        TacitError: the terms cannot be carried out here, or their task is not the one that is installed.
    """

    def __init__(
        self,
        terms: Terms,
        place: Standing,
        data: tuple[Tensor, Tensor],
        task: Any = None,
        folder: Path | None = None,
        train: Callable[..., Any] | None = None,
    ) -> None:
        with ALONE:  # participants of one process take turns, as runs do
            self._open(terms, place, data, task, folder, train)

    def _open(
        self,
        terms: Terms,
        place: Standing,
        data: tuple[Tensor, Tensor],
        task: Any,
        folder: Path | None,
        train: Callable[..., Any] | None,
    ) -> None:
        self.terms, self.place = terms, place
        own = terms.schema.check(*data)
        self.examples = len(own[1])
        """How many this participant has."""
        self.steps = 0
        """Local steps of a whole round."""
        installed = task_of(terms.plan, terms.schema, task)
        if task_digest(installed) != terms.task:
            raise MalformedMessage(
                "the task of this run is not the one that is installed here: its model has other parameters, or its "
                "loss is another. Install the same version of the task on both sides"
            )
        population = Remote(terms.schema, place.names, place.position, own)
        self.federation = federation = deployed(terms.plan, installed, population)
        private = federation.privacy is not None
        expected = federation.sampling.size
        public = Public(weight=expected, counted=expected) if private else None
        parts = federation.task, federation.algorithm, federation.chain
        server = Server(*parts, place.count, public, remembers=False)
        size = federation.algorithm.memory(federation.task.d) + federation.chain.memory
        path = None if folder is None else folder / f"{terms.run}.safetensors"
        server.memory = self.memory = OwnMemory(size, federation.task.dtype, path)
        self.down: Layout = server.broadcast()[0]
        self.steps = steps_for(federation.algorithm.solver, len(own[1]))
        self.engine, make = self._engine(own, train)
        level = federation.privacy
        chance = None if level is None else NoiseSource(level.insecure_seed).seed("model")
        records = self._records(len(own[1]))
        if records is not None:
            chance = int.from_bytes(key_of(records.secret, "model"), "little")
        self._work = work_of(federation, server, make, records=records, chance=chance, uplink=None)
        self._worker = Worker(self._work)
        self._codec = Codec(federation.chain, federation.task.dtype)
        self._trained: tuple[Trained, Tensor, int] | None = None

    @cached_property
    def securing(self) -> Securing | None:
        """The secure sums, with the settings that follow from the terms; None where there are none."""
        found = securing_of(self.federation)
        if found is None:
            return None
        assert isinstance(found, Securing)
        return replace(found, _run=bytes.fromhex(self.terms.run))

    def train(self, down: bytes, round: int, budget: int | None = None) -> None:
        """Trains from a broadcast; `report` gives what came of it.

        Args:
            down: a safetensors file of the parts of the broadcast.
            round: from 0.
            budget: most local steps; None for all.

        Raises:
            MalformedMessage: the broadcast is not laid out as it must be.
        """
        broadcast = self._read(down)
        self._worker.work = self._of(down)
        who = np.array([self.place.position], dtype=np.int64)
        steps = None if budget is None else np.array([budget], dtype=np.int64)
        with ALONE, one_thread(), torch.random.fork_rng(devices=()):
            self._trained = self._worker.trained(Block(who, budget=steps), broadcast, round), broadcast, round

    def _of(self, down: bytes) -> LocalTraining:
        """The work with secrets of this broadcast's own: who is sent two models finds no noise common to both reports.

        The same broadcast gives the same noise, so that a report that is asked for again is the same.
        """
        work, level = self._work, self.federation.record_privacy
        if work.chance is None or getattr(level or self.federation.privacy, "insecure_seed", None) is not None:
            return work
        digest = digest_of(down)
        records = work.records
        if records is not None:
            records = replace(records, secret=key_of(records.secret, digest.hex()))
        chance = int.from_bytes(key_of(work.chance.to_bytes(KEY, "little"), digest.hex()), "little")
        return replace(work, records=records, chance=chance)

    def report(self, round: int, attempt: int, scale: float = 1.0) -> Tensor:
        """What came of the training, as it is summed; once for each training.

        Args:
            round: in whose sum it is to be, from 0; that of the training, or a later one.
            attempt: of it.
            scale: of the update: below 1 where it is stale.

        Returns:
            (m,) whole numbers (int64), noise of this client's own included, or real ones (float64).

        Raises:
            NotTrained: training left nothing that could be sent; the reason tells nothing of the data.
        """
        if self._trained is None:
            raise NotTrained("there was no training, or its report was made before")
        (trained, broadcast, version), self._trained = self._trained, None
        with ALONE, one_thread():
            found = self._worker.summed(trained, broadcast, version, scale)
        total = found.total
        if not len(found.counted) and self.federation.privacy is None:
            raise NotTrained(found.set_aside[0].reason if found.set_aside else "nothing was left to report")
        self.memory.trained(round, attempt)
        share = self._share(round)
        if share is not None:
            assert self.securing is not None
            total = centred(total + torch.from_numpy(share), self.securing.bits)
        return total

    def encoded(self, report: Tensor, down: bytes) -> bytes:
        """The bytes of a report, where the server adds them itself."""
        if report.is_floating_point():
            return self._codec.dump(report.to(self.federation.task.dtype), self.down.unpack(self._read(down)))
        return report.numpy().astype("<i8", copy=False).tobytes()

    def settled(self, round: int, attempt: int, counted: bool) -> None:
        """Remembers a round in which it was counted, and forgets one in which it was not."""
        self.memory.settled(round, attempt, counted)

    def _read(self, data: bytes) -> Tensor:
        return read_parts(data, self.down, self.federation.task.dtype)

    def _engine(self, own: tuple[Tensor, Tensor], train: Callable[..., Any] | None) -> tuple[str, Callable[[], Engine]]:
        if train is not None:
            return "own", foreign.make(train, self.federation.task, self.federation.algorithm)
        alone = Population.from_arrays({self.place.name: own}).cast(self.federation.task.dtype)
        choice = chosen(self.federation, self.federation.engine, population=alone)
        return choice.name, choice.make

    def _share(self, round: int) -> Int | None:
        """The noise that this client adds to its report under the masks; None where it adds none."""
        level = self.federation.privacy
        if level is None or self.securing is None:
            return None
        source = NoiseSource(level.insecure_seed)  # anew for every attempt: each is charged
        share = Noising(self._plan, source).share_of(round, self.securing.length)
        return None if share is None else share(f"{self.place.position:010d}")

    @cached_property
    def _plan(self) -> Any:
        return promised(self.federation, self.terms.plan.rounds)

    def _records(self, examples: int) -> Records | None:
        """What makes local steps private, with a secret that never leaves this process."""
        federation, level = self.federation, self.federation.record_privacy
        if level is None:
            return None
        sizes = np.full(self.place.count, examples, dtype=np.int64)
        rounds, solver = self.terms.plan.rounds, federation.algorithm.solver
        plan = RecordPlan.of(level, solver, sizes, rounds, participations(federation.sampling, rounds))
        secret = os.urandom(KEY) if level.insecure_seed is None else key_of(b"insecure", level.insecure_seed)
        return Records(plan, solver, secret)


def read_parts(data: bytes, layout: Layout, dtype: torch.dtype) -> Tensor:
    """The parts of a broadcast in a safetensors file as one flat vector.

    Raises:
        MalformedMessage: they are not those of the layout.
    """
    try:
        parts: Parts = load(data)
    except (SafetensorError, ValueError) as error:
        raise MalformedMessage(f"the broadcast is no safetensors file: {error}") from None
    told = dict(zip(layout.names, layout.shapes, strict=True))
    wrong = [n for n in {*told, *parts} if n not in parts or told.get(n) != tuple(parts[n].shape)]
    wrong += [n for n in set(parts) - set(wrong) if parts[n].dtype != dtype]
    if wrong:
        raise MalformedMessage(f"the broadcast has other parts than this run's model: {', '.join(sorted(wrong))}")
    return layout.pack(parts)


def written_parts(down: Tensor, layout: Layout) -> bytes:
    """A broadcast as a safetensors file of its parts."""
    return save({name: part.contiguous().clone() for name, part in layout.unpack(down).items()})


def digest_of(data: bytes) -> bytes:
    """By which those who were sent the same know it: SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()

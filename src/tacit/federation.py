"""One run of federated learning, told top to bottom."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tacit.aggregation.homomorphic import SharedKeySum
from tacit.aggregation.robust import Robust
from tacit.aggregation.secure_sum import SecureSum
from tacit.aggregation.stage import Chain, Stage
from tacit.algorithms.base import Algorithm
from tacit.checks import count, offers, plain, truth
from tacit.errors import IncompatibleOptions, Problems, UsageError
from tacit.evaluation import Evaluation, Test
from tacit.fleet import ByTier, Closing, FedBuff, Fleet
from tacit.learning.task import Task
from tacit.population.population import Population
from tacit.preflight import CALLBACK, RULE, beginning, check, parts_in
from tacit.privacy.canaries import Audit
from tacit.privacy.record_level import RecordLevel
from tacit.privacy.releases import report_parts, require_released
from tacit.privacy.user_level import UserLevel
from tacit.record import checkpoint as checkpoints
from tacit.record.callback import Callback
from tacit.record.progress import with_progress
from tacit.record.run import Run
from tacit.record.stopping import Stopping
from tacit.rounds import overlapping
from tacit.rounds.differing import compression, submodels
from tacit.rounds.loop import Loop
from tacit.rounds.place import Place
from tacit.rounds.securing import clip_for, grid_of
from tacit.selection.claim import claimed
from tacit.selection.cohort import Everyone, Sampling, Selection
from tacit.venue.local_training import LocalTraining

Weights = Mapping[str, Tensor] | str | Path

ALONE = threading.RLock()
"""Runs of one process take turns: tracing patches `nn.Module` for all threads, and dropout draws from torch's one
global generator, so two at once would disturb each other's bits."""


class Federation:
    """Clients, a task and a method, put together and checked; `run` trains.

    Args:
        task: what is learned.
        population: who holds the data.
        algorithm: the federated method, with its local solver.
        selection: who takes part in a round; everyone by default.
        stages: transforms around the sum, in order.
        seed: of every draw: cohorts, batches, dropout. The same seed gives the same bits.
        workers: how many clients are trained at once; all cores when None. It changes no bit of the result.
        privacy: differential privacy of every client, `UserLevel(epsilon=4.0, clip=1.0)`; None gives no formal privacy.
        record_privacy: differential privacy of every record of a client, `RecordLevel(epsilon=4.0, clip=1.0)`, from
            everybody outside of that client; with `privacy` or alone.
        aggregation: how reports are summed: `SecureSum()`, so that nobody sees one; `SharedKeySum()`, encrypted so that
            any one silo together with the server could; None lets the server add them.
        robust: what takes the place of the mean, so that a minority of false reports cannot move it at will:
            `Median()`, `TrimmedMean()`, `GeometricMedian()`, `Krum()`; None takes the mean. With `aggregation` it needs
            `groups=`, random groups with a sum of their own. Without groups the server holds every report of a round.
        fleet: the devices of the clients, in their order or by their names: the run then takes place in virtual time,
            in which they are slow, go away and fail. None: everybody is always there, and no time is kept.
        closing: when a round is closed on a fleet, and what becomes of those who are slow: `PartialWork()` when None,
            `Deadline()`, `FirstArrivals()`, `WaitForAll()`; or `FedBuff()`, where rounds overlap.
        by_tier: what devices of each tier are asked to do, `ByTier(steps=(1.0, 0.5))`; None asks the same of all.
        engine: "auto" takes the fastest engine that agrees with the eager one; or the name of one: "fused", "traced",
            "vmapped", "eager".
        device: "cpu", or an accelerator such as "cuda", where blocks of clients are trained at once (vmapped engine).
        minimum: smallest share of a cohort that must be counted, or the round fails.

    Raises:
        TacitError: with every problem that can be seen before computing.
    """

    def __init__(
        self,
        task: Task,
        population: Population,
        algorithm: Algorithm,
        *,
        selection: Selection | None = None,
        stages: Sequence[Stage] = (),
        seed: int = 0,
        workers: int | None = None,
        privacy: UserLevel | None = None,
        record_privacy: RecordLevel | None = None,
        aggregation: SecureSum | SharedKeySum | None = None,
        robust: Robust | None = None,
        fleet: Fleet | None = None,
        closing: Closing | FedBuff | None = None,
        by_tier: ByTier | None = None,
        engine: str = "auto",
        device: str = "cpu",
        minimum: float = 0.5,
    ) -> None:
        self.task, self.algorithm, self.seed, self.minimum = task, algorithm, plain(seed), plain(minimum)
        self.engine, self.device, self.privacy, self.record_privacy = engine, device, privacy, record_privacy
        self.aggregation, self.robust, self.fleet, self.closing = aggregation, robust, fleet, closing
        self.audit: Audit | None = None
        self.by_tier = by_tier
        self.selection: Selection = Everyone() if selection is None else selection
        self.workers = plain(workers) if workers is not None else os.cpu_count() or 1
        with ALONE:
            check(self, population, stages)
            self.given, self.population = population, population.cast(task.dtype)
            if fleet is not None and fleet.names is not None:
                self.fleet = fleet.aligned(population.ids)
            first = self.population.examples(np.array([0]))
            self.task = task.settled(*first.of(0))
            self.submodels = submodels(self.task, by_tier)
        self.chain = self.chained(stages)
        with Problems("rounds cannot overlap here", IncompatibleOptions) as problems:
            problems.extend(overlapping.clashes_of_stages(self))

    @property
    def sampling(self) -> Sampling:
        """How cohorts are drawn, as far as that may be claimed."""
        return claimed(self.selection.sampling(len(self.population)), self.fleet, self.closing)

    def chained(self, stages: Sequence[Stage]) -> Chain:
        """The stages of this federation as it is set up, with its clip where it is private."""
        if self.privacy is None:
            widths = 0 if self.submodels is None else len(self.submodels.each)
            layout = LocalTraining.report_layout(self.task, self.algorithm, self.record_privacy is None, widths)
            return Chain.of((*stages, *compression(self.by_tier)), layout, grid_of(self))
        layout = LocalTraining.private_layout(self.task, self.algorithm, report_parts(self.privacy))
        return Chain.of((*stages, clip_for(self, layout)), layout)

    def run(
        self,
        rounds: int,
        test: Test | None = None,
        *,
        evaluate_every: int = 1,
        until: Stopping | Iterable[Stopping] = (),
        callbacks: Iterable[Callback] = (),
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 10,
        resume: bool = False,
        start: Weights | None = None,
        progress: bool | None = None,
        place: Place | None = None,
    ) -> Run:
        """Trains for `rounds` rounds, or until a stopping rule says so. Runs in several threads take turns.

        Args:
            rounds: how many rounds in all.
            test: arrays `(x, y)`, a population, or a function of the model that gives named numbers.
            evaluate_every: rounds between evaluations; the first and the last round are always evaluated.
            until: stopping rules (`Patience`, `Converged`).
            callbacks: see `Callback`.
            checkpoint: folder for checkpoints.
            checkpoint_every: rounds between checkpoints; the last round is always kept.
            resume: go on from the newest checkpoint in `checkpoint`, bit for bit.
            start: weights to start from instead of the model's own: a mapping, or a safetensors file.
            progress: show a progress bar; by default only on a terminal.
            place: where reports are made and summed; on this machine when None.

        Returns:
            The run: model, history, facts.

        Raises:
            UsageError: arguments that do not make sense.
            RoundFailed: too few reports remained in a round; what was checkpointed can be resumed.
            StorageError: a checkpoint cannot be written or read.
        """
        with Problems("the run cannot start", UsageError) as problems:
            problems.extend(count("rounds", rounds) + count("evaluate_every", evaluate_every))
            problems.extend(count("checkpoint_every", checkpoint_every) + truth("resume", resume))
            rules = parts_in("until", [until] if offers(until, "done") else until, RULE, "[tacit.Patience()]", problems)
            hooks = parts_in("callbacks", callbacks, CALLBACK, "[tacit.Callback()]", problems)
            folder = beginning(checkpoint, resume, start, problems)
        for level in (self.privacy, self.record_privacy):
            if level is not None:
                require_released(level, rules)
        turn = ALONE if place is None else nullcontext()
        with turn, torch.inference_mode(False), torch.enable_grad():
            evaluation = Evaluation(self.task, test) if test is not None else None
            hooks = with_progress(hooks, progress)
            loop = Loop(self, int(rounds), evaluation, int(evaluate_every), rules, hooks, place)
            if start is not None:
                loop.server.start_from(start)
            engine = loop.restore(checkpoints.latest(folder)) if resume and folder is not None else self.engine
            return loop.run(engine, folder, int(checkpoint_every))

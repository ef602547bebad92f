"""Local-only training: every phone alone with its own examples. What a phone can do without the others.

Each phone starts from the same initial weights and takes plain SGD steps on its own training part. How many epochs are
right is chosen once for all phones, on their validation parts together. A new phone has only its warm-up to learn from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from threading import local as thread_local

import numpy as np
import torch
from torch import Tensor, nn

from tacit import keys
from tacit.errors import Problems, UsageError
from tacit.learning import batches as batching
from tacit.learning.ladder import choose
from tacit.learning.solver import SGD, Correction, lr_at
from tacit.learning.step import Engine, LocalRun
from tacit.learning.task import Bound, Task
from tacit.population.population import Population
from tacit.scenarios.app_recommendation.model import loss_named
from tacit.scenarios.app_recommendation.phones import PhoneExamples, Phones
from tacit.scenarios.app_recommendation.pooled import one_thread
from tacit.scenarios.app_recommendation.ranking import Ranking, ranks_of

LR = {"cross_entropy": 0.02, "mse": 0.5}
"""Chosen on the validation part of the synthetic logs; the gradient of a mean over all items is so much smaller."""


@dataclass(frozen=True)
class LocalRule:
    """How a phone trains alone.

    Attributes:
        lr: of SGD; None takes the one in `LR` for the loss.
        batch_size: examples in a step.
        epochs: numbers of passes to choose from, increasing.
        metric: what is compared on the validation parts.
    """

    lr: float | None = None
    batch_size: int = 10
    epochs: tuple[int, ...] = (5, 10, 20, 30)
    metric: str = "NDCG@10"

    def __post_init__(self) -> None:
        with Problems("local-only training cannot be done", UsageError) as problems:
            rising = all(a < b for a, b in pairwise((0, *self.epochs)))
            problems.check(bool(self.epochs) and rising, f"epochs is {self.epochs!r}: give increasing numbers from 1")
            problems.check(self.lr is None or self.lr > 0, f"lr is {self.lr!r}: give a positive learning rate")
            problems.check(self.batch_size >= 1, f"batch_size is {self.batch_size!r}: give at least 1")


@dataclass(frozen=True)
class Local:
    """What phones alone reach: ranks on the test part and on new phones, and the epochs that were chosen."""

    test: Ranking
    unseen: Ranking
    epochs: int
    validation: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Trainer:
    """Everything that a phone's training needs; engines and models belong to one thread each."""

    phones: Phones
    task: Task
    solver: SGD
    make_engine: Callable[[], Engine]
    seed: int
    own: thread_local = field(default_factory=thread_local)

    def tools(self) -> tuple[Engine, Bound]:
        """This thread's engine and model."""
        if not hasattr(self.own, "engine"):
            self.own.engine, self.own.bound = self.make_engine(), self.task.bind()
        return self.own.engine, self.own.bound

    def train(self, population: Population, k: int, x: Tensor, epochs: int, stage: int) -> Tensor:
        """The parameters (d,) of phone `k` after `epochs` more passes from `x`."""
        engine, _ = self.tools()
        examples = population.examples(np.array([k]))
        solver = SGD(self.solver.lr, self.solver.batch_size, epochs=epochs)
        name = population.ids[k]
        batches = batching.draw(solver, examples, [name], self.seed, stage)
        update, loss = torch.empty(1, self.task.d, dtype=self.task.dtype), torch.empty(1, dtype=self.task.dtype)
        seeds = (keys.torch_seed(self.seed, "local", stage, name),)
        buffers = torch.empty(1, self.task.buffer_layout.size, dtype=self.task.dtype)
        _, b = self.task.initial()
        engine.run(LocalRun(x, b, examples, batches, Correction(), lr_at(solver, 0), seeds), update, buffers, loss)
        return x + update[0]

    def ranks(self, x: Tensor, examples: PhoneExamples, rows: np.ndarray) -> np.ndarray:
        """Ranks of `rows` of `examples` by the model with parameters `x`."""
        _, bound = self.tools()
        bound.x.copy_(x)
        with torch.no_grad():
            scores = bound.module.eval()(torch.from_numpy(examples.x[rows])).numpy()
        return ranks_of(scores, examples.y[rows], self.phones.excluded(examples, rows))


def train_local(
    phones: Phones, model: nn.Module, rule: LocalRule | None = None, *, seed: int = 0, workers: int = 1
) -> Local:
    """Trains one copy of `model` on every phone, and evaluates each copy on its own phone.

    Args:
        phones: participating and new phones.
        model: with the initial weights.
        rule: how a phone trains.
        seed: of the batches.
        workers: threads, used where the engine can use them; they change no bit of the result.
    """
    rule = rule or LocalRule()
    task = Task(model, loss_named(phones.rule.loss))
    solver = SGD(rule.lr or LR[phones.rule.loss], rule.batch_size, epochs=1)
    choice = choose(task, solver, phones.population.examples(np.arange(min(2, len(phones.population)))), 0.0, False)
    trainer = _Trainer(phones, task, solver, choice.make, seed)
    with one_thread(), ThreadPoolExecutor(workers if choice.threads else 1) as pool:
        stages = _participants(trainer, rule.epochs, pool)
        scores = {e: _ranking(r, phones.validation).metrics()[rule.metric] for e, (r, _) in stages.items()}
        epochs = max(scores, key=lambda e: (scores[e], -e))
        new = _new_phones(trainer, epochs, pool)
    return Local(_ranking(stages[epochs][1], phones.test), _ranking(new, phones.unseen), epochs, scores)


def _participants(
    trainer: _Trainer, epochs: Sequence[int], pool: ThreadPoolExecutor
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """After each number of epochs: ranks on validation and test, 0 where a phone has no examples to train on."""
    phones, population = trainer.phones, trainer.phones.population
    parts = (phones.validation, phones.test)
    out = {e: tuple(np.zeros(len(part), dtype=np.int64) for part in parts) for e in epochs}
    rows = [dict(part.spans()) for part in parts]
    start, _ = trainer.task.initial()
    users = [user for user, _ in phones.train.spans()]  # the order of the population

    def one(k: int) -> None:
        user, x = users[k], start
        for stage, (before, after) in enumerate(pairwise((0, *epochs))):
            x = trainer.train(population, k, x, after - before, stage)
            for part, ranks, spans in zip(parts, out[after], rows, strict=True):
                if user in spans:
                    ranks[spans[user]] = trainer.ranks(x, part, np.arange(spans[user].start, spans[user].stop))

    list(pool.map(one, range(len(population))))
    return {e: (validation, test) for e, (validation, test) in out.items()}


def _new_phones(trainer: _Trainer, epochs: int, pool: ThreadPoolExecutor) -> np.ndarray:
    """Ranks on the new phones, each trained on its warm-up."""
    phones = trainer.phones
    ranks, spans = np.zeros(len(phones.unseen), dtype=np.int64), dict(phones.unseen.spans())
    arrays = phones.arrays(phones.unseen_warm_up)
    population = Population.from_arrays(arrays) if arrays else None
    start, _ = trainer.task.initial()

    def one(user: int) -> None:
        name, x = phones.log.users[user], start
        if population is not None and name in arrays:
            x = trainer.train(population, population.index(name), x, epochs, 0)
        ranks[spans[user]] = trainer.ranks(x, phones.unseen, np.arange(spans[user].start, spans[user].stop))

    list(pool.map(one, spans))
    return ranks


def _ranking(ranks: np.ndarray, examples: PhoneExamples) -> Ranking:
    """Only moments of phones that could train count: the others have no local model."""
    some = ranks > 0
    return Ranking(ranks[some], examples.user[some])

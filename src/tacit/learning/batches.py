"""Which examples each local step reads: drawn from the client's own key, the same in every engine and venue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.learning.shuffle import epochs
from tacit.learning.solver import Solver, steps_for
from tacit.secret_draws import SecretDraws

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """The examples of a block of K clients, as slices of shared columns (no copy for populations in memory).

    Attributes:
        x: (R, ...) inputs; client k owns rows `start[k] : start[k] + size[k]`.
        y: (R, ...) targets.
        start: (K,) int64.
        size: (K,) int64, n_k.
    """

    x: Tensor
    y: Tensor
    start: Int
    size: Int

    def of(self, k: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of the block's k-th client, as views."""
        rows = slice(int(self.start[k]), int(self.start[k] + self.size[k]))
        return self.x[rows], self.y[rows]


@dataclass(frozen=True)
class Batches:
    """Every batch of every client of a block, as row numbers into `Examples.x`.

    Attributes:
        order: (sum of batch lengths,) int64 rows.
        cut: (steps + 1,) int64; step s reads rows `order[cut[s] : cut[s + 1]]`.
        client: (K + 1,) int64; the block's k-th client takes steps `client[k] : client[k + 1]`.
    """

    order: Int
    cut: Int
    client: Int

    @cached_property
    def lengths(self) -> Int:
        """(steps,) examples in each step."""
        return np.diff(self.cut)

    @cached_property
    def steps(self) -> Int:
        """(K,) local steps of each client."""
        return np.diff(self.client)

    @cached_property
    def visited(self) -> Int:
        """(K,) examples read by each client, repeats counted."""
        return self.cut[self.client[1:]] - self.cut[self.client[:-1]]


def draw(
    solver: Solver,
    examples: Examples,
    clients: Sequence[str],
    seed: int,
    round: int,
    budget: Sequence[int | None] | None = None,
) -> Batches:
    """The batches of a block: every client shuffles its examples anew in each epoch, from its own key.

    Args:
        solver: gives batch size and number of steps.
        examples: of K clients.
        clients: K client ids, as keys.
        seed: of the run.
        round: from 0.
        budget: most steps that each client may take (partial work), or None.
    """
    size = examples.size
    batch = np.minimum(solver.batch_size or size, size)
    steps = np.array([steps_for(solver, n) for n in size.tolist()], dtype=np.int64)
    if budget is not None:
        steps = np.array([s if b is None else min(s, b) for s, b in zip(steps.tolist(), budget, strict=True)], np.int64)
    per_epoch = -(-size // batch)
    visited = steps // per_epoch * size + steps % per_epoch * batch
    order, cut = np.empty(visited.sum(), np.int64), np.empty(steps.sum() + 1, np.int64)
    epochs(keys.digests(seed, "batches", round, each=clients), examples.start, size, steps, batch, order, cut)
    return Batches(order, cut, np.concatenate([[0], np.cumsum(steps)]).astype(np.int64))


COINS = 2**20
"""Coins that are in memory at once."""


def sampled(examples: Examples, rates: Sequence[float], steps: Sequence[int], draws: Sequence[SecretDraws]) -> Batches:
    """Batches for private steps: each reads every example with the same probability, independently of all else.

    Args:
        examples: of K clients.
        rates: (K,) that probability.
        steps: (K,) how many each takes.
        draws: (K,) where the coins come from; who knows them gets no protection from the sampling.
    """
    orders, lengths = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for k, (start, n) in enumerate(zip(examples.start.tolist(), examples.size.tolist(), strict=True)):
        at_once = max(1, COINS // max(n, 1))
        for first in range(0, steps[k], at_once):
            count = min(at_once, steps[k] - first)
            heads = np.ones((count, n), bool)
            if rates[k] < 1:
                heads = draws[k].uniform(count * n).reshape(count, n) < rates[k]
            lengths.append(heads.sum(1))
            orders.append(start + np.nonzero(heads)[1])
    cut = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    client = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
    return Batches(np.concatenate(orders), cut, client)

"""Blocks: a cohort cut into fixed groups of clients, the unit of work of every venue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]

LARGEST = 64
"""Most clients in a block: enough to make the cost of handing it out small."""
BYTES = 64 * 2**20
"""Most memory that a block's reports may take, in bytes."""
BLOCKS = 16
"""A cohort gives at least this many blocks where it can, so that many workers find work."""
TAPER = 6
"""A block takes at most one in so many of the clients that are left, so that workers end together."""
FINE = 10
"""The last blocks are at most this much smaller than the first: a smaller one costs more to hand out than it saves."""


@dataclass(frozen=True)
class Block:
    """Clients that one worker trains, one after another.

    Attributes:
        clients: (K,) positions in the population.
        budget: (K,) most local steps each, or None.
        scale: by what every update is multiplied, for one that started from an older model.
        kind: of work, where weak devices are asked for less.
    """

    clients: Int
    budget: Int | None
    scale: float = 1.0
    kind: int = 0


def cut(clients: Int, work: Int, report_bytes: int, budget: Int | None = None, most: int | None = None) -> list[Block]:
    """Cuts a cohort into blocks, heaviest clients first.

    The composition depends on the cohort, its work and the report's size, never on the number of workers.

    Args:
        clients: (K,) positions.
        work: (K,) examples that each client will read, by which the heaviest go first; ties by position.
        report_bytes: size of one report.
        budget: (K,) as in `Cohort`.
        most: clients in a block, for engines that train a whole block at once; None for those that go one by one.
    """
    order = np.lexsort((clients, -work))
    starts = _starts(len(clients), report_bytes) if most is None else np.arange(0, len(clients), max(most, 1))
    groups = np.split(order, starts[1:]) if len(order) else []
    return [Block(clients[g], None if budget is None else budget[g]) for g in groups]


def _starts(count: int, report_bytes: int) -> Int:
    """Where blocks of clients begin: large ones first, then ever smaller ones."""
    size = int(np.clip(count // BLOCKS, 1, min(LARGEST, max(BYTES // max(report_bytes, 1), 1))))
    least, starts, done = max(size // FINE, 1), list[int](), 0
    while done < count:
        starts.append(done)
        done += min(size, max((count - done) // TAPER, least))
    return np.array(starts, dtype=np.int64)

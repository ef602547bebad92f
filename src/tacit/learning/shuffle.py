"""Shuffled epochs of a block of clients, compiled: nothing is drawn that a client's own key does not determine.

The generator is SplitMix64 [Steele14] doi:10.1145/2660193.2660195, the shuffle that of Fisher and Yates. Both are a
few integer operations, so the order is the same on every machine.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tacit.jit import Int, jit, jit_cached

GAMMA = np.uint64(0x9E3779B97F4A7C15)
MIX1 = np.uint64(0xBF58476D1CE4E5B9)
MIX2 = np.uint64(0x94D049BB133111EB)


@jit
def _mixed(state: np.uint64) -> np.uint64:
    """SplitMix64's output for a state."""
    z = state
    z = (z ^ (z >> np.uint64(30))) * MIX1
    z = (z ^ (z >> np.uint64(27))) * MIX2
    return z ^ (z >> np.uint64(31))


@jit
def _shuffle(rows: Int, state: np.uint64) -> np.uint64:
    """Fisher and Yates; returns the generator's next state. The bias of a draw below n is at most n / 2^53."""
    for i in range(rows.size - 1, 0, -1):
        state += GAMMA
        j = int((_mixed(state) >> np.uint64(11)) * (1.0 / 9007199254740992.0) * (i + 1))
        rows[i], rows[j] = rows[j], rows[i]
    return state


def _epochs(keys: NDArray[np.uint64], start: Int, size: Int, steps: Int, batch: Int, order: Int, cut: Int) -> None:
    """Fills `order` and the ends of all batches in `cut[1:]` for K clients.

    Args:
        keys: (K,) uint64, a key each.
        start: (K,) int64, first row.
        size: (K,) int64, n_k.
        steps: (K,) int64, local steps.
        batch: (K,) int64, batch size, at most n_k; a full batch is not shuffled.
        order: (all rows read,) int64, filled.
        cut: (all steps + 1,) int64, filled.
    """
    at, step = 0, 0
    cut[0] = 0
    for k in range(keys.size):
        rows = np.arange(start[k], start[k] + size[k])
        state, left = keys[k], steps[k]
        while left > 0:
            if batch[k] < size[k]:
                state = _shuffle(rows, state)
            taken = 0
            while taken < size[k] and left > 0:
                length = min(batch[k], size[k] - taken)
                for i in range(length):
                    order[at + i] = rows[taken + i]
                at, taken, left, step = at + length, taken + length, left - 1, step + 1
                cut[step] = at


epochs = jit_cached(_epochs)

"""How good a ranking is: HR@k, MRR@10 and NDCG@10 of the one item that was used next, with an interval over users.

With one relevant item at rank r (1 = best): HR@k = [r <= k], MRR@10 = [r <= 10] / r, NDCG@10 = [r <= 10] / log2(1 + r).
Each is averaged over a user's events first and over users second (macro average), so that a busy phone does not count
more than a quiet one. The interval is a 95 % percentile bootstrap over users.

Ties are broken against the method: an item shares the worst rank of all items with its score, so a constant score is
worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tacit.keys import generator

METRICS = ("HR@1", "HR@5", "HR@10", "MRR@10", "NDCG@10")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Ranks of the items that were really used.

    Attributes:
        ranks: (n,) int64, 1 = best.
        user: (n,) int64, whose event it was.
    """

    ranks: np.ndarray
    user: np.ndarray

    def metrics(self) -> dict[str, float]:
        """The five metrics, macro averaged over users."""
        per_user = self.per_user()
        return {name: float(values.mean()) for name, values in per_user.items()}

    def per_user(self) -> dict[str, np.ndarray]:
        """Each metric as (users with events,) float64."""
        r = self.ranks.astype(np.float64)
        gains = {f"HR@{k}": (r <= k).astype(np.float64) for k in (1, 5, 10)}
        gains["MRR@10"] = np.where(r <= 10, 1.0 / r, 0.0)
        gains["NDCG@10"] = np.where(r <= 10, 1.0 / np.log2(1.0 + r), 0.0)
        _, index = np.unique(self.user, return_inverse=True)
        events = np.bincount(index)
        return {name: np.bincount(index, weights=gain) / events for name, gain in gains.items()}

    def interval(self, metric: str = "HR@10", *, draws: int = 1000, seed: int = 0) -> tuple[float, float]:
        """The 95 % percentile bootstrap interval of `metric` over users."""
        values = self.per_user()[metric]
        picks = generator(seed, "app-recommendation", "bootstrap").integers(len(values), size=(draws, len(values)))
        low, high = np.percentile(values[picks].mean(axis=1), [2.5, 97.5])
        return float(low), float(high)

    def summary(self) -> dict[str, float | list[float]]:
        """The metrics, and `ci`: the interval of HR@10."""
        low, high = self.interval()
        return {**self.metrics(), "ci": [low, high]}


def ranks_of(scores: np.ndarray, target: np.ndarray, excluded: np.ndarray | None = None) -> np.ndarray:
    """Rank of `target` among all items.

    Args:
        scores: (n, items), higher is better. NaN counts as worst.
        target: (n,) int64.
        excluded: (n, items) bool, items left out of the ranking because they cannot come next, or None. The target
            itself is never left out.

    Returns:
        (n,) int64, 1 = best; items with the target's own score are ranked above it.
    """
    rows = np.arange(len(target))
    own = np.nan_to_num(scores[rows, target], nan=-np.inf)[:, None]
    above = np.nan_to_num(scores, nan=-np.inf) >= own
    if excluded is not None:
        above &= ~excluded
    above[rows, target] = True
    return np.asarray(above.sum(axis=1), dtype=np.int64)


def rank_in_blocks(
    score: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    user: np.ndarray,
    excluded: Callable[[np.ndarray], np.ndarray] | None = None,
    block: int = 4096,
) -> Ranking:
    """Ranks without holding all scores: `score(rows)` and `excluded(rows)` give (m, items) for a block of rows."""
    parts = []
    for start in range(0, len(target), block):
        rows = np.arange(start, min(start + block, len(target)))
        parts.append(ranks_of(score(rows), target[rows], None if excluded is None else excluded(rows)))
    return Ranking(np.concatenate(parts) if parts else np.empty(0, dtype=np.int64), user)

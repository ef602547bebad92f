"""Count sketch: a small linear picture of an update in which its large coordinates can be found again."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.compression.update_part import UPDATE, exchanged, size_of, with_size
from tacit.aggregation.stage import REAL
from tacit.checks import count, is_whole, make_plain
from tacit.errors import Problems, UsageError
from tacit.learning.layout import Layout, Parts
from tacit.secret_draws import SecretDraws, key_of

Int = NDArray[np.int64]


@dataclass(frozen=True)
class CountSketch:
    """Sends `rows * columns` sums of coordinates with random signs; the server takes the `keep` largest out of them.

    [Charikar02] doi:10.1007/3-540-45465-9_59; in federated learning FetchSGD, [Rothchild20] arXiv:2007.07682,
    algorithm 1 without momentum. Every row throws each coordinate into one column, with a sign: a coordinate is
    estimated by the median over the rows. What was not taken stays in a sketch on the server, and is added to the next
    one, so that clients remember nothing. What is taken is scaled to the length at which the least is left, which the
    paper does not do: where no coordinate stands out, estimates are mostly error, and what is left would grow for ever.

    The laws: the sketch of a sum is the sum of the sketches; the sketches of all that was decoded, with what the server
    keeps, add up to the means of all sketches that came in; and what is kept is no longer than what there was.

    Args:
        rows: independent estimates of every coordinate.
        columns: cells of a row. An estimate errs by about `|x| / sqrt(columns)`.
        keep: coordinates that the server takes out of it in a round.
        seed: of the hashing, the same in all rounds, which everybody may know.

    Raises:
        UsageError: numbers that are not of that kind.
    """

    rows: int
    columns: int
    keep: int
    seed: int = 0
    takes: ClassVar[str] = REAL
    gives: ClassVar[str] = REAL
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        with Problems("a sketch cannot be made", UsageError) as problems:
            for name in ("rows", "columns", "keep"):
                problems.extend(count(name, getattr(self, name)))
            problems.check(is_whole(self.seed), f"seed is {self.seed!r}: give a whole number")
        make_plain(self)

    def bind(self, layout: Layout) -> Layout:
        """The layout with the sketch for the update.

        Raises:
            UsageError: the sketch has no fewer numbers than the update.
        """
        d, cells = size_of(layout), self.rows * self.columns
        if cells >= d:
            raise UsageError(
                f"a sketch of {self.rows} rows and {self.columns} columns has {cells} numbers, and the update has {d}: "
                "take fewer columns, or leave the sketch out"
            )
        return with_size(layout, cells)

    def init(self) -> Parts:
        """An empty sketch of what was not taken."""
        return {"kept": torch.zeros(self.rows * self.columns, dtype=torch.float64)}

    def broadcast(self, state: Parts) -> Parts:
        """Nothing goes down."""
        return {}

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Reports (K, m) to (K, m - d + rows * columns)."""
        updates = report[:, layout[UPDATE]].numpy()
        sketches = torch.empty(len(report), self.rows * self.columns, dtype=report.dtype)
        for update, sketch in zip(updates, sketches, strict=True):
            sketch.copy_(torch.from_numpy(self.sketched(update)))
        return exchanged(report, layout, sketches)

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """The sum with the largest coordinates of all that has come in; and the sketch of what was not taken.

        A sum is held against its weight, where it has one: what is kept is a mean.
        """
        bound = self.bind(layout)
        weight = float(total[bound["weight"]]) if "weight" in bound else 1.0
        known = state["kept"] + total[bound[UPDATE]] / weight
        update = np.zeros(size_of(layout))
        estimates = self.estimated(known.numpy(), len(update))
        most = min(self.keep, len(update))
        chosen = np.argpartition(-np.abs(estimates), most - 1)[:most]
        update[chosen] = estimates[chosen]
        taken = self.sketched(update)
        factor = _nearest(known.numpy(), taken)
        update *= factor
        kept = known - torch.from_numpy(taken * factor)
        return exchanged(total, bound, torch.from_numpy(update) * weight), {"kept": kept}

    def sketched(self, update: NDArray[np.floating]) -> NDArray[np.float64]:
        """The sketch (rows * columns,) of an update (d,)."""
        columns, signs = _hashes(self.rows, self.columns, len(update), self.seed)
        pairs = zip(columns, signs, strict=True)
        return np.concatenate([np.bincount(where, update * sign, self.columns) for where, sign in pairs])

    def estimated(self, sketch: NDArray[np.float64], length: int) -> NDArray[np.float64]:
        """Estimates (d,) of all coordinates of what has this sketch."""
        columns, signs = _hashes(self.rows, self.columns, length, self.seed)
        found: NDArray[np.float64] = np.median(np.take_along_axis(sketch.reshape(self.rows, -1), columns, 1) * signs, 0)
        return found


def _nearest(whole: NDArray[np.float64], part: NDArray[np.float64]) -> float:
    """The factor from 0 to 1 that brings `part` nearest to `whole`."""
    size = float(part @ part)
    return min(max(float(whole @ part) / size, 0.0), 1.0) if size > 0 else 0.0


@lru_cache(maxsize=2)
def _hashes(rows: int, columns: int, length: int, seed: int) -> tuple[Int, NDArray[np.int8]]:
    """The column (rows, d) and the sign (rows, d) of every coordinate in every row."""
    source = SecretDraws(key_of(b"count sketch", seed))
    words = np.stack([source.words(length) for _ in range(rows)])
    signs = np.where(words >> np.uint64(63), 1, -1).astype(np.int8)
    return ((words & np.uint64(2**32 - 1)) * np.uint64(columns) >> np.uint64(32)).astype(np.int64), signs

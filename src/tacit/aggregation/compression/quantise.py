"""Quantisation: every coordinate of an update in a few bits, right on average."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation import round_key
from tacit.aggregation.compression import bits as packed
from tacit.aggregation.compression import message
from tacit.aggregation.compression.update_part import UPDATE, beside, joined, size_of
from tacit.aggregation.stage import REAL
from tacit.checks import is_whole, make_plain, positive
from tacit.errors import MalformedMessage, Problems, TacitWarning, UsageError
from tacit.jit import Real, jit_cached
from tacit.learning.layout import Layout, Parts
from tacit.secret_draws import SecretDraws

KIND = 2
MOST_BITS = 16
BEGIN, MARGIN = 0.1, 2.0
"""An adapted range begins here, and is so many times the mean of what the clients needed in the round before."""
TOLERATED = 1e-3
"""Share of the coordinates that may be clamped without a warning."""
CLAMPED, PEAK = "clamped", "peak"
COINS = 2.0**-32


@dataclass(frozen=True)
class Quantise:
    """Rounds the update to a lattice at random, up or down with probabilities that make it right on average.

    Stochastic uniform quantisation ([Suresh17] arXiv:1611.00429, section 2.2; [Alistarh17] arXiv:1610.02132). The
    lattice is the same for all: L = 2^(b-1) - 1 steps of `range / L` on either side of zero, or the two numbers
    `-range` and `range` where b = 1. So sums of what is sent are sums on the lattice, under masks too.

    - Where the server adds reports, a client's lattice is that times its weight: b bits for each coordinate.
    - Under a secure sum, it is that times the largest weight, and a coordinate has b bits and those that are carried,
      `log2(clients)` more, several coordinates in a word.

    The law: within the range, what is decoded is the update on average, with an error of at most one step (two for
    b = 1) in every coordinate. What lies beyond the range is clamped to it; the share of such coordinates is summed
    with the reports ("clamped" in the stage's state), and more than one in a thousand gives a warning.

    Args:
        bits: b, from 1 to 16.
        range: largest absolute value of a coordinate of `y - x`. None adapts it: 0.1 in the first round, then twice the
            weighted mean of the largest coordinates of the clients in the round before, which is all that is learned
            of them.
        seed: of the coins. A client's coins follow from it, from the round and from its report, so they are the same
            wherever it is computed.
        weight: set by a secure sum: the largest weight of a client.

    Raises:
        UsageError: bits or a range outside of that.
    """

    bits: int = 8
    range: float | None = None
    seed: int = 0
    weight: float | None = None
    takes: ClassVar[str] = REAL
    gives: ClassVar[str] = REAL
    additive: ClassVar[bool] = True
    last: ClassVar[bool] = True
    unsuited: ClassVar[Mapping[str, str]] = {
        "privacy": "a private report is rounded to a lattice already, that of its clip, and lengthening it once more "
        "would break the clip. Leave Quantise out; tacit.RandomK and tacit.CountSketch make a clipped report shorter"
    }

    def __post_init__(self) -> None:
        with Problems("an update cannot be quantised so", UsageError) as problems:
            whole = is_whole(self.bits, 1) and self.bits <= MOST_BITS
            problems.check(whole, f"bits is {self.bits!r}: give a whole number from 1 to {MOST_BITS}")
            problems.extend([] if self.range is None else positive("range", self.range))
            problems.check(is_whole(self.seed), f"seed is {self.seed!r}: give a whole number")
        make_plain(self)

    def on_grid(self, weight: float) -> Quantise:
        """Itself for sums of whole numbers, where no client weighs more than this."""
        return replace(self, weight=weight)

    def lattice(self) -> dict[str, int]:
        """The largest whole number of an update that it gives, where it gives whole ones."""
        return {} if self.weight is None else {UPDATE: self._most}

    def bind(self, layout: Layout) -> Layout:
        """The layout with the share of coordinates that were clamped, and with the largest where the range adapts."""
        layout = layout.extend(CLAMPED)
        return layout.extend(PEAK) if self.range is None else layout

    def init(self) -> Parts:
        """The first round's range and key; nothing was clamped yet."""
        return {
            "range": _single(BEGIN if self.range is None else self.range),
            "key": round_key.first("quantise", self.seed),
            CLAMPED: torch.zeros((), dtype=torch.float64),
        }

    def broadcast(self, state: Parts) -> Parts:
        """The range and the key of the round."""
        return {"range": state["range"], "key": state["key"]}

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Reports (K, m), the update on its lattice: as whole numbers under a secure sum; and side statistics."""
        key = round_key.octets(down["key"])
        weights = report[:, layout["weight"]].flatten()
        units = self._units(weights, float(down["range"]))
        clamped = torch.empty(len(report), 1, dtype=report.dtype)
        peak = torch.empty_like(clamped)
        update = report[:, layout[UPDATE]].numpy()
        for k, row in enumerate(report.numpy()):
            coins = SecretDraws(hashlib.blake2b(row.data, key=key, digest_size=32).digest())
            largest, outside = _compiled(
                update[k],
                float(units[k]),
                self._given(units[k]),
                float(self._most),
                float(self._spacing),
                coins.words(-(-update.shape[1] // 2)).view(np.uint32),
            )
            clamped[k] = float(weights[k]) * outside / max(update.shape[1], 1)
            peak[k] = float(weights[k]) * float(down["range"]) * largest / self._most
        return torch.cat([report, clamped] if self.range is not None else [report, clamped, peak], dim=1)

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """The sum in units of the reports; and the next round's range and key."""
        bound, total = self.bind(layout), total.clone()
        weight, range_ = float(total[bound["weight"]]), float(state["range"])
        if self.weight is not None:
            total[bound[UPDATE]] *= range_ * self.weight / self._most
        share = float(total[bound[CLAMPED]]) / weight
        if share > TOLERATED:
            warnings.warn(
                f"{share:.1%} of the coordinates lay beyond the range {range_:g} of Quantise and were clamped to it"
                + (": the range adapts" if self.range is None else ": state a larger range, or leave it out"),
                TacitWarning,
                stacklevel=2,
            )
        needed = MARGIN * float(total[bound[PEAK]]) / weight if self.range is None else range_
        return total[: layout.size], {
            "range": _single(needed if needed > 0 else range_),
            "key": round_key.following(state["key"]),
            CLAMPED: torch.tensor(share, dtype=torch.float64),
        }

    def encoded_bytes(self, layout: Layout, itemsize: int) -> int:
        """Header, b bits for each coordinate of the update, and the other numbers."""
        d = size_of(layout)
        return message.HEADER + packed.size(d, self.bits) + (self.bind(layout).size - d) * itemsize

    def dump(self, report: Tensor, layout: Layout, down: Parts) -> bytes:
        """One report (m,) as bytes."""
        bound = self.bind(layout)
        (unit,) = self._units(report[bound["weight"]], float(down["range"]))
        levels = np.rint(report[bound[UPDATE]].double().numpy() / self._given(unit)).astype(np.int64)
        levels = (levels + self._most) // self._spacing
        others = message.numbers(beside(report, bound))
        return message.head(KIND, self.bits) + packed.dump(levels, self.bits) + others

    def load(self, data: bytes, layout: Layout, down: Parts, dtype: torch.dtype) -> Tensor:
        """The report of which these are the bytes.

        Raises:
            MalformedMessage: they are those of no such report.
        """
        message.require(data, KIND, self.bits, self.encoded_bytes(layout, dtype.itemsize))
        bound, d = self.bind(layout), size_of(layout)
        middle = message.HEADER + packed.size(d, self.bits)
        levels = packed.load(data[message.HEADER : middle], d, self.bits) * self._spacing - self._most
        if (levels > self._most).any():
            raise MalformedMessage(f"a number of an encoded report is above {self._most}, the largest of its lattice")
        report = joined(torch.zeros(d, dtype=dtype), message.read(data[middle:], dtype), bound)
        (unit,) = self._units(report[bound["weight"]], float(down["range"]))
        report[bound[UPDATE]] = torch.from_numpy(levels * self._given(unit)).to(dtype)
        return report

    @property
    def _most(self) -> int:
        """The largest whole number on the lattice, L."""
        return max(1, (1 << (self.bits - 1)) - 1)

    @property
    def _spacing(self) -> int:
        """Between two numbers of the lattice."""
        return 2 if self.bits == 1 else 1

    def _units(self, weights: Tensor, range_: float) -> NDArray[np.float64]:
        """(K,) a step of the lattices of clients with these weights, in units of their reports."""
        by = weights.double().numpy() if self.weight is None else np.full(len(weights), self.weight)
        units: NDArray[np.float64] = np.where(by > 0, by, 1.0) * range_ / self._most
        return units

    def _given(self, unit: float) -> float:
        """What a step is in what is sent: under a secure sum whole numbers are."""
        return float(unit) if self.weight is None else 1.0


def _single(number: float) -> Tensor:
    """Rounded to what single precision holds: clients get it so, and the server must mean the same."""
    return torch.tensor(np.float32(number), dtype=torch.float64)


def _quantise(row: Real, unit: float, given: float, most: float, spacing: float, coins: Any) -> Any:
    """Rounds a row to the lattice at random, in place; its largest number in units, and how many were beyond."""
    largest, outside = 0.0, 0
    for j in range(row.size):
        level = float(row[j]) / unit
        largest = max(largest, abs(level))
        if abs(level) > most:
            outside += 1
            level = min(max(level, -most), most)
        level = np.floor((level + most) / spacing + coins[j] * COINS) * spacing - most
        row[j] = level * given
    return largest, outside


_compiled = jit_cached(_quantise)

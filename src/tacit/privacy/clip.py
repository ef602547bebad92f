"""Clipping: every report on an integer grid, with a norm that is exactly within its bound.

A report is scaled to at most the clip norm C, divided by a grid step g (a power of two near C / 2^24) and rounded
towards zero, which only shrinks it; then its norm is computed again, in integers, and must be within C / g. So one
client moves the sum by at most C, whatever it holds and however numbers are rounded, and the sum of integers is exact:
no order, block or worker changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import exp
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.stage import INTEGER, REAL
from tacit.jit import Int, Real, jit, jit_cached, jit_summing
from tacit.learning.layout import Layout, Parts
from tacit.privacy.bound import BITS, WITHIN, Adaptation, Bound
from tacit.privacy.local_level import LAPLACE
from tacit.privacy.releases import bounds_of

if TYPE_CHECKING:
    from tacit.privacy.user_level import UserLevel

SCRATCH = 4096
"""Numbers rounded at a time."""
SHRINK = 1.0 - 1e-9
"""By this a scale is made smaller where rounding left the integer norm above its bound."""

Int32 = NDArray[np.int32]


@dataclass(frozen=True)
class Clip:
    """The stage that clips. What is not finite becomes zero, and counts.

    Attributes:
        bounds: of the report's parts, in the layout's order; together they are all of it.
        adaptation: of the first bound's norm, or None; the last bound is then that of the part `WITHIN`.
    """

    bounds: tuple[Bound, ...]
    adaptation: Adaptation | None = None
    takes: ClassVar[str] = REAL
    gives: ClassVar[str] = INTEGER
    additive: ClassVar[bool] = True
    zeroes: ClassVar[bool] = True
    places: dict[str, slice] = field(default_factory=dict, compare=False, repr=False)

    def bind(self, layout: Layout) -> Layout:
        """The layout stays.

        Raises:
            ValueError: the bounds are not of all parts, one after another.
        """
        names = tuple(name for bound in self.bounds for name in bound.parts)
        if names != layout.names:
            raise ValueError(f"bounds of {names} do not cover a report of {layout.names}")
        for bound in self.bounds:
            self.places[bound.name] = slice(layout[bound.parts[0]].start, layout[bound.parts[-1]].stop)
        return layout

    def init(self) -> Parts:
        """The clip norm where it adapts."""
        if self.adaptation is None:
            return {}
        return {"norm": torch.tensor(_single(self.bounds[0].norm), dtype=torch.float64)}

    def broadcast(self, state: Parts) -> Parts:
        """The clip norm where it adapts."""
        return dict(state)

    def now(self, state: Parts) -> tuple[Bound, ...]:
        """The bounds of the round that begins with this state."""
        if self.adaptation is None:
            return self.bounds
        return replace(self.bounds[0], norm=float(state["norm"])), *self.bounds[1:]

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Integers (K, m), in the memory of the reports: int32 for float32, int64 for float64."""
        kind = torch.int32 if report.dtype == torch.float32 else torch.int64
        integers = report.view(kind)
        if self.adaptation is not None:
            norm = torch.linalg.vector_norm(report[:, self.places[self.bounds[0].name]], dim=1)
            report[:, self.places[WITHIN].start] = torch.where(norm <= down["norm"], 0.5, -0.5)
        starts, stops, norms, steps, most = self._table(self.now(down))
        _compiled(report.numpy(), integers.numpy(), starts, stops, norms, steps, most)
        return integers

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """The sum in units of the reports, float64."""
        values = total.to(torch.float64)
        for bound in self.now(state):
            values[self.places[bound.name]] *= bound.grid
        if self.adaptation is None:
            return values, state
        share = float(values[self.places[WITHIN].start]) / self.adaptation.expected + 0.5
        factor = exp(-self.adaptation.rate * (min(max(share, 0.0), 1.0) - self.adaptation.quantile))
        return values, {"norm": torch.tensor(_single(float(state["norm"]) * factor), dtype=torch.float64)}

    def _table(self, bounds: Sequence[Bound]) -> tuple[Int, Int, NDArray[np.float64], NDArray[np.float64], Int]:
        places = [self.places[bound.name] for bound in bounds]
        return (
            np.array([p.start for p in places], dtype=np.int64),
            np.array([p.stop for p in places], dtype=np.int64),
            np.array([bound.norm for bound in bounds]),
            np.array([bound.grid for bound in bounds]),
            np.array([bound.most for bound in bounds], dtype=np.int64),
        )


@dataclass(frozen=True)
class ClipAbsolute(Clip):
    """As `Clip`, in the 1-norm: for the noise of Laplace."""

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Integers (K, m) int64, of which the absolute values of a row add up to at most C / g."""
        (bound,) = self.bounds
        rows = report.to(torch.float64)
        norms = rows.abs().sum(dim=1, keepdim=True)
        factors = torch.where(torch.isfinite(norms), (bound.norm / norms).clamp(max=1.0) * SHRINK / bound.grid, 0.0)
        return torch.where(factors > 0, rows * factors, 0.0).to(torch.int64)


def clip_of(level: UserLevel, names: Sequence[str], expected: float, bits: int = BITS) -> Clip:
    """The stage that clips a report whose parts have these names, with `expected` clients in a round.

    A coordinate as large as the clip norm has `bits` bits.
    """
    bounds = tuple(replace(bound, bits=bits) for bound in bounds_of(level, names))
    if level.mechanism == LAPLACE:
        return ClipAbsolute(bounds)
    adaptation = None if level.clip_quantile is None else Adaptation(level.clip_quantile, expected)
    return Clip(bounds, adaptation)


def _single(number: float) -> float:
    """Rounded to what single precision holds: clients get it so, and the server must mean the same."""
    return float(np.float32(number))


@jit_summing
def _square(row: Real) -> float:
    total = 0.0
    for j in range(row.size):
        total += np.float64(row[j]) * np.float64(row[j])
    return total


@jit
def _truncate(row: Real, scale: float, into: Int32) -> Any:
    """`into = trunc(scale * row)`; returns the sum of its squares."""
    total = np.int64(0)
    for j in range(row.size):
        step = np.int32(np.float64(row[j]) * scale)
        into[j] = step
        total += np.int64(step) * np.int64(step)
    return total


@jit
def _in_place(row: Real, scale: float, into: Any, scratch: Int32) -> Any:
    """As `_truncate`, into the memory of `row`: by way of `scratch`, so that compiled code may take several at once."""
    total = np.int64(0)
    for start in range(0, row.size, scratch.size):
        part = row[start : start + scratch.size]
        total += _truncate(part, scale, scratch)
        target = into[start : start + scratch.size]
        for j in range(target.size):
            target[j] = scratch[j]
    return total


@jit
def _shrink(into: Any, factor: float) -> Any:
    total = np.int64(0)
    for j in range(into.size):
        step = np.int32(np.float64(into[j]) * factor)
        into[j] = step
        total += np.int64(step) * np.int64(step)
    return total


def _clip(reports: Real, integers: Any, starts: Int, stops: Int, norms: Real, steps: Real, most: Int) -> None:
    squares, scratch = np.empty(starts.size), np.empty(SCRATCH, np.int32)
    for k in range(reports.shape[0]):
        finite = True
        for b in range(starts.size):
            squares[b] = _square(reports[k, starts[b] : stops[b]])
            finite &= np.isfinite(squares[b])
        for b in range(starts.size):
            row, into = reports[k, starts[b] : stops[b]], integers[k, starts[b] : stops[b]]
            norm = np.sqrt(squares[b])
            factor = 0.0 if not finite else norms[b] / norm if norm > norms[b] else 1.0
            if factor == 0.0:
                for j in range(into.size):
                    into[j] = 0
                continue
            size = _in_place(row, factor / steps[b], into, scratch)
            while size > most[b]:
                size = _shrink(into, SHRINK)


_compiled = jit_cached(_clip)

"""Fixed point: reports as whole numbers on a grid, so that their sum is exact, whatever the order, and may be masked.

A number x of a client with weight w becomes `round(w x / g)` with the grid step g, a power of two; the sum of those
integers over a cohort cannot leave a word of b bits, by a budget that is checked before anything is computed. A number
beyond the range that was stated is refused by its own client: it never wraps, and is never cut in silence.

Scalars (the loss, counts, weights) travel as four limbs of 16 bits each, with 20 bits after the point: they may be
large, and there are few of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import floor, log2
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.packing import Packing
from tacit.errors import BitBudgetError
from tacit.jit import Int, Real, jit, jit_cached
from tacit.learning.layout import Layout

LIMBS, LIMB, POINT = 4, 16, 20
"""Limbs of a scalar, bits of each, and bits after the point."""
SHIFTS = LIMB * np.arange(LIMBS)
LARGEST = 2.0 ** (LIMBS * LIMB - 2 - POINT)
"""No scalar, times its client's weight, may reach this."""
MOST_CLIENTS = 2**15
"""Clients in a sum, at most: more would carry out of a limb in a word of 32 bits."""
EXACT = 50
"""Bits of one client's integers, at most: as many are computed exactly in double precision."""
MAGIC, MAGIC_BITS = 1.5 * 2**52, 4843621399236968448
"""Added to a number below 2^51 in size, it leaves the number rounded in its last bits; and its own bits."""
CHUNK = 2048
"""Numbers rounded at a time."""
FINE, COARSE = 16, 12
"""Bits that the range is divided into, at least: for words of 32 bits to be chosen, and for any to be allowed."""


@dataclass(frozen=True)
class FixedPoint:
    """The grid of a sum.

    Attributes:
        range: largest absolute value of a number, before its client's weight.
        weight: largest weight of a client.
        clients: most clients in a sum.
        bits: of a word, 32 or 64.

    Raises:
        BitBudgetError: sums could overflow, or the grid would be too coarse.
    """

    range: float
    weight: float
    clients: int
    bits: int
    _layouts: dict[str, Layout] = field(default_factory=dict, compare=False, repr=False)
    _packings: dict[str, Packing] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        missing = COARSE - (self.point + log2(self.range))
        if self.clients > MOST_CLIENTS:
            raise BitBudgetError(
                f"{self.clients} clients in one sum: {MOST_CLIENTS} at most can be added without overflow"
            )
        if missing > 0:
            raise BitBudgetError(
                f"sums of {self.clients} reports of weight up to {self.weight:g} and range {self.range:g} need "
                f"{int(missing + 0.999)} more bits than a word of {self.bits} has, to leave {COARSE} bits for the "
                "range: take bits=64, bound the weights (most_examples), or state a smaller range"
            )

    @classmethod
    def fitting(cls, range: float, weight: float, clients: int, bits: int | None) -> FixedPoint:
        """The grid with words of `bits`, or of 32 where they are fine enough and else of 64.

        Raises:
            BitBudgetError: see above.
        """
        if bits is None:
            bits = 32 if _point(32, range, weight, clients) + log2(range) >= FINE else 64
        return cls(range, weight, clients, bits)

    @cached_property
    def point(self) -> int:
        """Bits after the point, f: the grid step is `2^-f`."""
        return _point(self.bits, self.range, self.weight, self.clients)

    @property
    def step(self) -> float:
        """The grid step g."""
        return 2.0**-self.point

    def bind(self, layout: Layout, lattices: Mapping[str, int] | None = None) -> None:
        """Lays out what is summed: every scalar has its limbs, and the words of a part on a lattice hold several.

        Args:
            layout: of the reports.
            lattices: vectors whose numbers are whole already, each with the largest absolute value of one client's.
        """
        self._packings.clear()
        self._packings.update({name: Packing(self.bits, self.clients, most) for name, most in (lattices or {}).items()})
        shapes = tuple(
            (self._packings[name].words(layout.sizes[layout.names.index(name)]),)
            if name in self._packings
            else shape or (LIMBS,)
            for name, shape in zip(layout.names, layout.shapes, strict=True)
        )
        self._layouts["real"], self._layouts["words"] = layout, Layout(layout.names, shapes)

    @property
    def layout(self) -> Layout:
        """The layout of what is summed."""
        return self._layouts["words"]

    def total(self, reports: Tensor, weights: Tensor, limits: Tensor, into: Tensor | None) -> tuple[Tensor, bool]:
        """The sum of the reports' integers.

        Args:
            reports: (K, m) float32 or float64.
            weights: (K,) by which they are multiplied.
            limits: (K,) weights of the clients, by which their ranges are multiplied.
            into: (m',) where the sum is to lie; new memory when None.

        Returns:
            (m',) int64; and whether every number was within its range. Where not, the sum means nothing.
        """
        words = self._layouts["words"]
        total = torch.zeros(words.size, dtype=torch.int64) if into is None else into.view(torch.int64).zero_()
        scale, rows = weights.to(torch.float64).numpy() / self.step, reports.numpy()
        kind = np.dtype(f"i{rows.itemsize}")
        most = _below(limits.double().numpy() * self.range / weights.double().numpy(), rows.dtype).view(kind)
        mask, outside = np.array([np.iinfo(kind).max], kind), 0
        for real, target in self._vectors():
            outside += _compiled_sum(rows, rows.view(kind), real.start, scale, most, mask, total.numpy()[target])
        limbs, fine = self._limbs(reports, weights)
        total.numpy()[self._scalars[1]] = limbs.sum(axis=0)
        return total, outside == 0 and bool(fine.all())

    def encode(self, reports: Tensor, weights: Tensor) -> Tensor:
        """The integers themselves, (K, m') int64, of reports that fit."""
        words = self._layouts["words"]
        integers = torch.empty(len(reports), words.size, dtype=torch.int64)
        scale = weights.to(torch.float64).numpy() / self.step
        for real, target in self._vectors():
            _compiled_encode(reports.numpy(), real.start, scale, integers.numpy(), target.start, target.stop)
        for real, target, packing in self._lattices():
            integers[:, target] = packing.pack(reports[:, real])
        integers.numpy()[:, self._scalars[1]] = self._limbs(reports, weights)[0]
        return integers

    def fits(self, reports: Tensor, weights: Tensor, limits: Tensor) -> Tensor:
        """(K,) whether all numbers of a report are finite and within its range."""
        found = torch.from_numpy(self._limbs(reports, weights)[1])
        for real, _ in self._vectors():
            largest = reports[:, real].abs().amax(dim=1).double() * weights.double()
            found &= largest <= limits.double() * self.range  # false for NaN
        for real, _, packing in self._lattices():
            found &= reports[:, real].abs().amax(dim=1) <= packing.most
        return found

    def decode(self, total: Tensor) -> Tensor:
        """The sum in units of the reports, (m,) float64."""
        values = torch.empty(self._layouts["real"].size, dtype=torch.float64)
        for source, target in self._vectors():
            values[source] = total[target].double() * self.step
        for source, target, packing in self._lattices():
            values[source] = packing.unpack(total[target], source.stop - source.start)
        places, words = self._scalars
        for place, limbs in zip(places.tolist(), total.numpy()[words].tolist(), strict=True):
            values[place] = sum(limb << LIMB * i for i, limb in enumerate(limbs)) / 2**POINT
        return values

    @cached_property
    def _scalars(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where scalars stand in a report, (s,), and where their limbs do, (s, 4)."""
        real, words = self._layouts["real"], self._layouts["words"]
        names = [name for name, shape in zip(real.names, real.shapes, strict=True) if not shape]
        places = np.array([real[name].start for name in names], dtype=np.int64)
        return places, np.array([words[name].start for name in names], dtype=np.int64)[:, None] + np.arange(LIMBS)

    def _vectors(self) -> list[tuple[slice, slice]]:
        """Where vectors that are on no lattice stand in a report, and in its words."""
        real, words = self._layouts["real"], self._layouts["words"]
        vectors = [name for name, shape in zip(real.names, real.shapes, strict=True) if shape]
        return [(real[name], words[name]) for name in vectors if name not in self._packings]

    def _lattices(self) -> list[tuple[slice, slice, Packing]]:
        """The same for parts on a lattice, with how they are packed."""
        real, words = self._layouts["real"], self._layouts["words"]
        return [(real[name], words[name], packing) for name, packing in self._packings.items()]

    def _limbs(self, reports: Tensor, weights: Tensor) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Limbs of all scalars, (K, s, 4), the highest last and signed; and (K,) whether all are in range."""
        values = reports.numpy()[:, self._scalars[0]] * weights.double().numpy()[:, None]
        fine = np.abs(values) < LARGEST  # false for NaN
        whole = np.rint(np.where(fine, values, 0.0) * 2.0**POINT).astype(np.int64)[:, :, None]
        return np.where(SHIFTS < LIMB * (LIMBS - 1), whole >> SHIFTS & (2**LIMB - 1), whole >> SHIFTS), fine.all(axis=1)


def centred(total: Tensor, bits: int) -> Tensor:
    """A sum as words of `bits` hold it, signed: what a sum modulo `2^bits` is, where it did not overflow."""
    return total.to(torch.int32).to(torch.int64) if bits == 32 else total


def _below(values: NDArray[np.float64], kind: Any) -> NDArray[Any]:
    """The largest numbers of a type that are not above these."""
    rounded = values.astype(kind)
    return np.where(rounded > values, np.nextafter(rounded, kind.type(0)), rounded)


def _point(bits: int, range: float, weight: float, clients: int) -> int:
    """Largest f for which no sum leaves a word: `clients (floor(weight range 2^f) + 1) < 2^(bits - 1)`, exactly.

    One client's integers stay below `2^50`, which double precision computes exactly.
    """
    largest = Fraction(weight) * Fraction(range)
    room = min((2 ** (bits - 1) - 1) // clients - 1, 2**EXACT - 1)
    f: int = room.bit_length() - floor(log2(largest)) + 1
    while floor(largest * Fraction(2) ** f) > room:
        f -= 1
    return f


@jit
def _scaled(row: Real, scale: float, into: Real) -> None:
    for j in range(row.size):
        into[j] = np.float64(row[j]) * scale + MAGIC


@jit
def _add(bits: Int, part: Int) -> None:
    for j in range(bits.size):
        part[j] += bits[j]


@jit
def _largest(bits: Any, mask: Any) -> Any:
    """The bits of the largest absolute value: ordered as numbers are, and of NaN larger than all."""
    found = mask & 0
    for j in range(bits.size):
        found = max(found, bits[j] & mask)
    return found


def _sum(reports: Any, bits: Any, start: int, scale: Real, most: Any, mask: Any, total: Int) -> Any:
    """Adds whole numbers chunk by chunk; returns how often a chunk held a number beyond its row's `most`."""
    scratch = np.empty(CHUNK)
    whole, outside = scratch.view(np.int64), 0
    for first in range(0, total.size, CHUNK):
        part = total[first : first + CHUNK]
        begin, end = start + first, start + first + part.size
        for k in range(scale.size):
            if _largest(bits[k, begin:end], mask[0]) > most[k]:
                outside += 1
            _scaled(reports[k, begin:end], scale[k], scratch[: part.size])
            _add(whole[: part.size], part)
        for j in range(part.size):
            part[j] -= scale.size * MAGIC_BITS
    return outside


def _encode(reports: Any, start: int, scale: Real, integers: Any, begin: int, end: int) -> None:
    scratch = np.empty(CHUNK)
    whole = scratch.view(np.int64)
    for k in range(scale.size):
        for first in range(begin, end, CHUNK):
            part = integers[k, first : min(first + CHUNK, end)]
            source = start + first - begin
            _scaled(reports[k, source : source + part.size], scale[k], scratch[: part.size])
            for j in range(part.size):
                part[j] = whole[j] - MAGIC_BITS


_compiled_sum = jit_cached(_sum)
_compiled_encode = jit_cached(_encode)

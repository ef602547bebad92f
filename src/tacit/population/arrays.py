"""A population in memory: two columns, and where each client's rows lie in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacit.errors import DataError, Problems
from tacit.learning.batches import Examples
from tacit.population.population import Arrays, Int, Population, as_tensor, checked_ids, some, widthless


@dataclass(repr=False, eq=False)
class ArrayPopulation(Population):
    """See `Population.from_arrays`.

    Attributes:
        x: (R, ...) all inputs, client after client.
        y: (R, ...) all targets.
        start: (N,) int64, each client's first row.
    """

    ids: tuple[str, ...]
    sizes: Int
    x: Tensor
    y: Tensor
    start: Int
    classes: tuple[str, ...] | None = None
    synthetic: bool = False

    @classmethod
    def of(cls, data: Mapping[Any, Arrays]) -> ArrayPopulation:
        """See `Population.from_arrays`."""
        with Problems("the population cannot be built", DataError) as problems:
            given: object = data
            if not isinstance(given, Mapping):
                problems.add(f"data is a {type(data).__name__}: give a mapping {{client_id: (x, y)}}")
                problems.raise_if_any()
            ids = checked_ids(list(data), problems)
            pairs = _tensors(data, problems)
        sizes = np.array([len(y) for _, y in pairs], dtype=np.int64)
        return cls(ids, sizes, torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs]), starts(sizes))

    @classmethod
    def gathered(
        cls, ids: tuple[str, ...], x: Tensor, y: Tensor, order: Int, sizes: Int, classes: tuple[str, ...] | None = None
    ) -> ArrayPopulation:
        """A population whose clients own, one after another, the next `sizes[k]` of the rows `order` of `x` and `y`."""
        rows = torch.from_numpy(order)
        return cls(ids, sizes, x[rows], y[rows], starts(sizes), classes)

    def examples(self, clients: Int) -> Examples:
        """See `Population.examples`; nothing is copied."""
        return Examples(self.x, self.y, self.start[clients], self.sizes[clients])

    def cast(self, dtype: torch.dtype) -> ArrayPopulation:
        """See `Population.cast`."""
        x = self.x.to(dtype) if self.x.is_floating_point() else self.x
        y = self.y.to(dtype) if self.y.is_floating_point() else self.y
        return replace(self, x=x, y=y)

    def problems(self) -> list[str]:
        """NaN or Inf in inputs or targets, with the clients that hold them."""
        found = []
        for name, column in (("x", self.x), ("y", self.y)):
            if not column.is_floating_point() or bool(torch.isfinite(column.sum())):
                continue
            bad = ~torch.isfinite(column).flatten(1).all(1) if column.dim() > 1 else ~torch.isfinite(column)
            rows = np.flatnonzero(bad.numpy())
            if len(rows):
                owners = np.unique(np.searchsorted(self.start, rows, side="right") - 1)
                names = some([self.ids[k] for k in owners])
                found.append(f"{name} holds NaN or Inf in {len(rows)} examples of clients {names}: fill or drop them")
        return found

    def _at_hand(self) -> tuple[Tensor, Tensor]:
        return self.x, self.y


def starts(sizes: Int) -> Int:
    """(N,) the first row of each client whose rows follow one another."""
    return np.cumsum(sizes, dtype=np.int64) - sizes


def _tensors(data: Mapping[Any, Any], problems: Problems) -> list[tuple[Tensor, Tensor]]:
    """Every client's (x, y) as tensors of one shape and type; what does not fit is reported."""
    pairs: list[tuple[Tensor, Tensor]] = []
    first: tuple[Tensor, Tensor] | None = None
    for client, value in data.items():
        try:
            x, y = pair_of(value)
        except DataError as error:
            problems.add(f"client {client!r}: {error}")
            continue
        if _fits(client, x, y, first, problems):
            first = first or (x, y)
            pairs.append((x, y))
    return pairs


def pair_of(value: Any) -> tuple[Tensor, Tensor]:
    """One client's inputs and targets as tensors.

    Raises:
        DataError: not a pair of arrays of numbers.
    """
    # An array of two rows would unpack into a pair, so only what is meant as one is taken for one.
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise DataError(f"its examples are a {type(value).__name__}: give a pair (x, y) of arrays")
    return as_tensor(value[0]), as_tensor(value[1])


def _fits(client: object, x: Tensor, y: Tensor, first: tuple[Tensor, Tensor] | None, problems: Problems) -> bool:
    if x.dim() == 0 or y.dim() == 0 or x.shape[0] == 0:
        problems.add(f"client {client!r} has no examples: leave it out, or give it data")
        return False
    if x.shape[0] != y.shape[0]:
        problems.add(f"client {client!r} has {len(x)} inputs and {len(y)} targets: give one target each")
        return False
    if empty := widthless(x):
        problems.extend(f"client {client!r}: {what}" for what in empty)
        return False
    differing = [] if first is None else differences(x, y, first)
    problems.extend(f"client {client!r}: {what}, unlike the first client's: make them equal" for what in differing)
    return not differing


def differences(x: Tensor, y: Tensor, first: tuple[Tensor, Tensor]) -> list[str]:
    """In which shapes and types of one example `x` and `y` differ from those of `first`."""
    return [
        f"an example of {name} is {describe(mine)} and not {describe(other)}"
        for name, mine, other in (("x", x, first[0]), ("y", y, first[1]))
        if mine.dtype != other.dtype or mine.shape[1:] != other.shape[1:]
    ]


def describe(column: Tensor) -> str:
    """Shape and type of one example."""
    return f"{tuple(column.shape[1:])} {str(column.dtype).removeprefix('torch.')}"

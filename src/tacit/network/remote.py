"""A population whose members are elsewhere: the coordinator has nobody's examples, a participant its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from tacit.errors import DataError
from tacit.learning.batches import Examples
from tacit.population.population import Int, Population
from tacit.population.schema import Schema

TYPICAL = 1000
"""Examples that everybody is taken to have where nothing is known: no result follows from it."""


class Remote(Population):
    """N clients, of whom at most one is here.

    Whoever is not here has examples of zeros, so that a model can be shown what its input looks like. Nobody trains
    on them: work is given only to those who are here.

    Args:
        schema: of the examples.
        ids: N names.
        at: the place among them of the client that is here; None where nobody is.
        own: its inputs and targets (n, ...), as the schema has them.
        known_as: by which a ledger knows these people.
    """

    def __init__(
        self,
        schema: Schema,
        ids: Sequence[str],
        at: int | None = None,
        own: tuple[Tensor, Tensor] | None = None,
        known_as: str | None = None,
    ) -> None:
        self.schema, self.ids, self.at, self._own, self.known_as = schema, tuple(ids), at, own, known_as
        count = TYPICAL if own is None else len(own[1])
        self.sizes = np.full(len(self.ids), count, dtype=np.int64)
        self._nobody = schema.nobodys()

    def examples(self, clients: Int) -> Examples:
        """See `Population.examples`.

        Raises:
            DataError: several clients at once, of whom not all can be here.
        """
        if len(clients) != 1:
            raise DataError(f"the examples of {len(clients)} clients were asked for: each is on a machine of its own")
        mine = self._own is not None and int(clients[0]) == self.at
        x, y = self._own if mine and self._own is not None else self._nobody
        return Examples(x, y, np.zeros(1, np.int64), np.array([len(y)], dtype=np.int64))

    def cast(self, dtype: torch.dtype) -> Remote:
        """See `Population.cast`."""
        own = None if self._own is None else (_cast(self._own[0], dtype), _cast(self._own[1], dtype))
        schema, name = self.schema, str(dtype).removeprefix("torch.")
        x, y = (name if kind.startswith("float") else kind for kind in (schema.kind, schema.target_kind))
        return Remote(replace(schema, kind=x, target_kind=y), self.ids, self.at, own, self.known_as)


def _cast(values: Tensor, dtype: torch.dtype) -> Tensor:
    return values.to(dtype) if values.is_floating_point() else values

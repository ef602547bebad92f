"""The items a model can recommend: a public list, the same on every phone.

A catalogue of apps is public as it is. Where a catalogue is too large (films), only its most used items are kept. That
cap counts what the training phones used; a deployment would take the count from a secure sum or from store charts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit.errors import UsageError
from tacit.scenarios.app_recommendation.logs import InteractionLog
from tacit.scenarios.app_recommendation.splits import TRAIN, Split


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The items, and where the items of a log lie among them.

    Attributes:
        names: V names.
        code: (items of the log,) int64, position in `names`, or -1.
        notes: what the cap left out, in sentences.
    """

    names: tuple[str, ...]
    code: np.ndarray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, log: InteractionLog, split: Split, at_most: int | None = None) -> Vocabulary:
        """All items of `log`, or the `at_most` that the training phones used most.

        Raises:
            UsageError: `at_most` is below 2.
        """
        if at_most is not None and at_most < 2:
            raise UsageError(f"a vocabulary of {at_most!r} items ranks nothing: give at least 2, or None for all")
        if at_most is None or len(log.items) <= at_most:
            return cls(log.items, np.arange(len(log.items)))
        trained = (split.part == TRAIN) & ~split.unseen[log.user]
        counts = np.bincount(log.item[trained], minlength=len(log.items))
        kept = np.sort(np.argsort(-counts, kind="stable")[:at_most])
        code = np.full(len(log.items), -1, dtype=np.int64)
        code[kept] = np.arange(at_most)
        lost = int((code[log.item] < 0).sum())
        note = (
            f"the vocabulary is capped at {at_most:,} of {len(log.items):,} items; {lost:,} of {len(log):,} "
            f"interactions ({lost / len(log):.0%}) are with other items: they are neither trained on nor evaluated"
        )
        return cls(tuple(log.items[k] for k in kept), code, (note,))

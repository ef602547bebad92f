"""What devices of each tier are asked to do: weaker ones less."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit import checks
from tacit.checks import make_plain
from tacit.errors import Problems, UsageError

Int: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True)
class ByTier:
    """Work by device tier. Every list begins with the fastest tier; tiers beyond its end do as its last entry.

    Narrower models ([Diao21] HeteroFL, arXiv:2010.01264): a device trains the first units of every hidden layer, and
    each number of the model is averaged over those who have it.

    Args:
        steps: shares of a client's local steps, above 0 and at most 1; at least one step is done.
        batch_size: examples in a step, in place of the solver's.
        width: shares of the width of hidden layers, above 0 and at most 1, for tasks that know their `narrowed` models.
        top_k: shares of the update's coordinates that are sent, as by `TopK`, with error feedback.

    Raises:
        UsageError: with every problem of the arguments.
    """

    steps: tuple[float, ...] = ()
    batch_size: tuple[int, ...] = ()
    width: tuple[float, ...] = ()
    top_k: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "width", "top_k"):
            given: Any = getattr(self, name)
            if isinstance(given, list):
                object.__setattr__(self, name, tuple(given))
        make_plain(self)
        with Problems("work cannot be told apart by tier", UsageError) as problems:
            for name in ("steps", "width", "top_k"):
                good = all(checks.is_number(share) and 0 < share <= 1 for share in getattr(self, name))
                problems.check(good, f"{name} is {getattr(self, name)!r}: give shares above 0, of at most 1")
            good = all(checks.is_count(size) for size in self.batch_size)
            problems.check(good, f"batch_size is {self.batch_size!r}: give whole numbers from 1")
            said = self.steps or self.batch_size or self.width or self.top_k
            problems.check(bool(said), "nothing is said of any tier: give steps=(1.0, 0.5), say, or leave it out")

    @property
    def kinds(self) -> int:
        """How many kinds of work there are beside the number of steps."""
        return max(len(self.batch_size), len(self.width), len(self.top_k), 1)

    def kind_of(self, tiers: Int) -> Int:
        """The kind of work of devices of these tiers, (K,)."""
        kinds: Int = np.minimum(tiers, self.kinds - 1)
        return kinds

    def steps_of(self, tiers: Int) -> NDArray[np.float64]:
        """The share of their local steps that devices of these tiers do, (K,)."""
        shares = np.array(self.steps or (1.0,))
        return shares[np.minimum(tiers, len(shares) - 1)]


def of_kind(entries: tuple[Any, ...], kind: int, default: Any) -> Any:
    """The entry of a list for a kind of work; `default` for a list that is empty."""
    return entries[min(kind, len(entries) - 1)] if entries else default

"""What a selection may know of the clients: one table of columns, the same in simulation and in deployment.

System data (speed, memory, network, availability) say nothing of what a client's examples hold. Losses do: the columns
that hold them stay empty unless a selection `uses` them, which is written into the run's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float: TypeAlias = NDArray[np.float64]
Int: TypeAlias = NDArray[np.int64]
Bool: TypeAlias = NDArray[np.bool_]

SYSTEM, PARTICIPATION, TIER_LOSSES, CLIENT_LOSSES = "system", "participation", "tier losses", "client losses"
"""Kinds of data that a selection may use: devices, who took part when, loss sums of tiers, losses of single clients."""
HISTORY = ("asked", "counted", "last", "loss", "loss_round", "tier_loss", "tier_round")
"""Columns that come of the rounds, and go into a checkpoint."""


@dataclass(frozen=True, eq=False)
class ClientTable:
    """N clients as columns. Positions are those of the population.

    Attributes:
        pool: (N,) who may be asked now. A selection draws from these only.
        now: seconds of virtual time (in deployment, of the coordinator's clock).
        seconds: (N,) how long each takes for all of its work in the median; NaN where that is not known.
        memory: (N,) megabytes free for training; NaN where not known.
        flags: (N,) bits of `tacit.fleet.Flag`.
        version: (N,) of the participant's software, whole numbers.
        tier: (N,) whole numbers from 0, the fastest.
        examples: (N,) how many examples each has; 0 where that is not told.
        asked: (N,) in how many rounds each was asked.
        counted: (N,) in how many rounds its report was in a sum.
        last: (N,) the last round in which it was asked, but for rounds that were given up; -1 for never.
        loss: (N,) its last training loss, NaN where none is known; filled for selections that use client losses only.
        loss_round: (N,) the round of that loss; -1 for none.
        tier_loss: (T,) the last mean loss of rounds of each tier; NaN where there was none.
        tier_round: (T,) the round of that; -1 for none.
    """

    pool: Bool
    now: float
    seconds: Float
    memory: Float
    flags: NDArray[np.uint8]
    version: Int
    tier: Int
    examples: Int
    asked: Int = field(default_factory=lambda: np.empty(0, np.int64))
    counted: Int = field(default_factory=lambda: np.empty(0, np.int64))
    last: Int = field(default_factory=lambda: np.empty(0, np.int64))
    loss: Float = field(default_factory=lambda: np.empty(0))
    loss_round: Int = field(default_factory=lambda: np.empty(0, np.int64))
    tier_loss: Float = field(default_factory=lambda: np.empty(0))
    tier_round: Int = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        count, tiers = len(self.pool), int(self.tier.max(initial=0)) + 1
        for name in HISTORY:
            if not len(getattr(self, name)) and count:
                rows = tiers if name.startswith("tier") else count
                object.__setattr__(self, name, _blank(name, rows))

    @staticmethod
    def of(clients: int, **columns: Any) -> ClientTable:
        """A table of so many clients of which nothing is known but what is in `columns`; all may be asked."""
        known: dict[str, Any] = {
            "pool": np.ones(clients, np.bool_),
            "now": 0.0,
            "seconds": np.full(clients, np.nan),
            "memory": np.full(clients, np.nan),
            "flags": np.zeros(clients, np.uint8),
            "version": np.zeros(clients, np.int64),
            "tier": np.zeros(clients, np.int64),
            "examples": np.zeros(clients, np.int64),
        }
        return ClientTable(**(known | columns))

    def __len__(self) -> int:
        """N."""
        return len(self.pool)

    @property
    def eligible(self) -> Int:
        """Positions of those who may be asked, ascending."""
        return np.flatnonzero(self.pool).astype(np.int64)

    def narrowed(self, keep: Bool) -> ClientTable:
        """The same table with only those in the pool who are in `keep`, (N,)."""
        return replace(self, pool=self.pool & keep)

    def observe(
        self, round: int, asked: ArrayLike, counted: ArrayLike, losses: Float | None = None, *, turn: bool = True
    ) -> None:
        """Notes a round, in place.

        Args:
            round: from 0.
            asked: (K,) positions of those who were asked.
            counted: (C,) positions of those whose reports were in the sum.
            losses: (C,) their training losses, where the selection uses them.
            turn: it was their turn; not in a round that was given up.
        """
        who = np.asarray(counted, np.int64)
        self.asked[np.asarray(asked, np.int64)] += 1
        if turn:
            self.last[np.asarray(asked, np.int64)] = round
        self.counted[who] += 1
        if losses is not None:
            self.loss[who], self.loss_round[who] = losses, round

    def observe_tier(self, round: int, tier: int, loss: float) -> None:
        """Notes the mean training loss of a round whose cohort was of one tier, in place."""
        self.tier_loss[tier], self.tier_round[tier] = loss, round

    @property
    def dropout(self) -> float:
        """The share of requests that came to nothing, over all rounds so far; 0 before the first."""
        asked = int(self.asked.sum())
        return 1.0 - int(self.counted.sum()) / asked if asked else 0.0

    def history(self) -> dict[str, NDArray[Any]]:
        """Copies of the columns that come of the rounds, by name."""
        return {name: getattr(self, name).copy() for name in HISTORY}

    def with_history(self, history: Mapping[str, NDArray[Any]]) -> ClientTable:
        """The table with the columns that `history` gave."""
        columns: dict[str, Any] = {name: np.array(history[name], getattr(self, name).dtype) for name in HISTORY}
        return replace(self, **columns)


def _blank(name: str, rows: int) -> NDArray[Any]:
    """A column of which nothing is known yet."""
    if name in ("loss", "tier_loss"):
        return np.full(rows, np.nan)
    return np.full(rows, 0 if name in ("asked", "counted") else -1, np.int64)

"""What a worker makes of a block: the reports of its clients, and their sum."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Int = NDArray[np.int64]
Float = NDArray[np.float64]

EXPLODED = 1e8
"""A client has diverged when its update is longer than this times the largest parameter of the broadcast model, or this
times 1 where that is smaller. No local run that works comes near. Its buffers may move by the square of it: they hold
means of what flows through the model, and of its squares."""


@dataclass(frozen=True)
class SetAside:
    """A client whose report was not counted, and why."""

    client: str
    reason: str


@dataclass
class BlockSum:
    """The sum of a block's reports.

    Attributes:
        total: (m,) float64, or int64 where stages give integers.
        counted: positions of the clients in it.
        set_aside: clients that are not in it.
        seconds: spent in the engine's local steps.
        losses: (C,) the training loss of each in `counted`; None where clients do not tell it.
    """

    total: Tensor
    counted: Int
    set_aside: list[SetAside] = field(default_factory=list)
    seconds: float = 0.0
    losses: Float | None = None


@dataclass
class Trained:
    """What the local runs of a block left.

    Attributes:
        clients: (K,) whose training ended.
        reports: (K, m) theirs.
        weight: (K,) theirs.
        moved: (K,) the Euclidean norm of what the local steps changed; infinite where they left something absurd.
        seconds: spent in the engine's local steps.
        set_aside: the others.
    """

    clients: Int
    reports: Tensor
    weight: Tensor = field(default_factory=lambda: torch.empty(0))
    moved: Tensor = field(default_factory=lambda: torch.empty(0))
    seconds: float = 0.0
    set_aside: list[SetAside] = field(default_factory=list)

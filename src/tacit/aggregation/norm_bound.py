"""Norm bounding: no client moves the model further than a limit. A robustness measure; alone it gives no privacy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tacit.aggregation.stage import REAL
from tacit.checks import make_plain, positive
from tacit.errors import UsageError
from tacit.learning.layout import Layout, Parts


@dataclass(frozen=True)
class NormBound:
    """Scales a client's update down to the Euclidean norm `limit` where it is longer.

    [Sun19] arXiv:1911.07963, section 5.

    The law: an update within the limit passes unchanged, and bounding twice is bounding once.

    Args:
        limit: largest norm of `y - x` (of the normalised update for FedNova), in units of parameters.

    Raises:
        UsageError: a limit that is not positive.
    """

    limit: float
    takes: ClassVar[str] = REAL
    gives: ClassVar[str] = REAL
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if found := positive("the norm limit", self.limit):
            raise UsageError(*found)
        make_plain(self)

    def bind(self, layout: Layout) -> Layout:
        """The layout stays."""
        return layout

    def init(self) -> Parts:
        """No state."""
        return {}

    def broadcast(self, state: Parts) -> Parts:
        """Nothing goes down."""
        return {}

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Bounds the "update" slice; the report is weighted, so its limit is `weight * limit`."""
        update = report[..., layout["update"]]
        weight = report[..., layout["weight"]]
        norm = torch.linalg.vector_norm(update, dim=-1, keepdim=True)
        update.mul_(torch.clamp(self.limit * weight / norm, max=1.0).nan_to_num(nan=1.0))
        return report

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """The total stays."""
        return total, state

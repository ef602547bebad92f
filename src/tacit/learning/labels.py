"""Class labels that a classification loss of torch cannot take: those outside [0, classes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

CLASSIFYING = (F.cross_entropy, F.nll_loss)
SHOWN = 5


@dataclass(frozen=True)
class Strange:
    """Labels that are no class.

    Attributes:
        rows: examples that have one.
        values: the first few of them.
        classes: of the model.
    """

    rows: NDArray[np.int64]
    values: tuple[int, ...]
    classes: int


def strange_labels(loss: Any, output: Tensor, y: Tensor) -> Strange | None:
    """The labels among `y` (R, ...) that `loss` would fail on; None where it is no classification or there is none.

    Args:
        loss: of a task.
        output: (n, classes, ...) of its model, for any n examples.
        y: targets.
    """
    classifying = loss in CLASSIFYING or isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss)
    if not classifying or y.is_floating_point() or output.dim() < 2:
        return None
    classes, ignored = output.shape[1], getattr(loss, "ignore_index", -100)
    wrong = ((y < 0) | (y >= classes)) & (y != ignored)
    rows = np.flatnonzero((wrong.flatten(1).any(1) if wrong.dim() > 1 else wrong).numpy())
    if not len(rows):
        return None
    return Strange(rows, tuple(torch.unique(y[wrong])[:SHOWN].tolist()), classes)

"""Which losses the fused engine knows, as functions of torch or as modules."""

from __future__ import annotations

import functools
from typing import Any

import torch.nn.functional as F
from torch import nn

from tacit.learning.fused.chain import Criterion, Refused

FUNCTIONS: dict[Any, Criterion] = {
    F.mse_loss: Criterion.MSE,
    F.l1_loss: Criterion.L1,
    F.huber_loss: Criterion.HUBER,
    F.smooth_l1_loss: Criterion.SMOOTH_L1,
    F.cross_entropy: Criterion.CROSS_ENTROPY,
    F.binary_cross_entropy_with_logits: Criterion.BCE_WITH_LOGITS,
}
MODULES: dict[type[nn.Module], Criterion] = {
    nn.MSELoss: Criterion.MSE,
    nn.L1Loss: Criterion.L1,
    nn.HuberLoss: Criterion.HUBER,
    nn.SmoothL1Loss: Criterion.SMOOTH_L1,
    nn.CrossEntropyLoss: Criterion.CROSS_ENTROPY,
    nn.BCEWithLogitsLoss: Criterion.BCE_WITH_LOGITS,
}
NEUTRAL: dict[str, Any] = {
    "weight": None,
    "pos_weight": None,
    "size_average": None,
    "reduce": None,
    "ignore_index": -100,
    "reduction": "mean",
    "label_smoothing": 0.0,
}
"""Options of losses, with the only values that the kernel computes."""


def _options(loss: Any) -> tuple[Criterion | None, dict[str, Any]]:
    """The loss and the options with which it was made."""
    if type(loss) in MODULES:
        names = (*NEUTRAL, "delta", "beta")
        return MODULES[type(loss)], {name: getattr(loss, name) for name in names if hasattr(loss, name)}
    if isinstance(loss, functools.partial) and not loss.args:
        return FUNCTIONS.get(loss.func), dict(loss.keywords)
    try:
        return FUNCTIONS.get(loss), {}
    except TypeError:  # not hashable
        return None, {}


def criterion_of(loss: Any) -> tuple[Criterion, float]:
    """The loss that the kernel computes, and its parameter.

    Raises:
        Refused: the loss is custom, or has an option that the kernel does not know.
    """
    criterion, options = _options(loss)
    if criterion is None:
        raise Refused(f"the loss {getattr(loss, '__name__', type(loss).__name__)!r} is not one the fused kernel knows")
    delta = float(options.pop("delta", options.pop("beta", 1.0)))
    for name, value in options.items():
        if name not in NEUTRAL or (value is not NEUTRAL[name] and value != NEUTRAL[name]):
            raise Refused(f"the loss has {name}={value!r}, which the fused kernel does not compute")
    if delta <= 0:
        raise Refused(f"the loss has a width of {delta!r}, which the fused kernel does not compute")
    return criterion, delta

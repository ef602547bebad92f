"""The recommender: a multilayer perceptron from what a phone knows to its interest in each app.

Two losses:

- "mse": mean squared error between the output and the interest in each app, 1 for the app that came next and 0 for the
  others (or graded: what came soon after counts too, less with every step);
- "cross_entropy": the next app as a class.

Cross-entropy ranks better and is the default: it compares the items of one moment with each other, while the squared
error of targets that are nearly all 0 is mostly spent on items far from the top.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from tacit.errors import UsageError

LossName = Literal["cross_entropy", "mse"]
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": nn.functional.cross_entropy,
    "mse": nn.functional.mse_loss,
}


class RecommendationModel(nn.Module):
    """Features of one moment (B, F) in, interest in each item (B, V) out: hidden layers of 256 and 128, ReLU.

    Args:
        features: F, number of feature columns.
        items: V, size of the vocabulary.
        hidden: widths of the hidden layers.
        seed: of the initial weights; torch's global generator is left as it was.
    """

    def __init__(self, features: int, items: int, hidden: tuple[int, ...] = (256, 128), *, seed: int = 0) -> None:
        super().__init__()
        widths = (features, *hidden, items)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for before, after in pairwise(widths):
                layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Interest (B, V) of features `x` (B, F)."""
        interest_in_each: Tensor = self.layers(x)
        return interest_in_each


def loss_named(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss called `name`.

    Raises:
        UsageError: there is no such loss.
    """
    if name not in LOSSES:
        raise UsageError(f"there is no loss {name!r} for this scenario: choose {' or '.join(map(repr, LOSSES))}")
    return LOSSES[name]


def interest(items: np.ndarray, vocabulary: int, *, horizon: int = 1, fade: float = 0.5) -> np.ndarray:
    """Interest scores to regress on, from one phone's consecutive items.

    Args:
        items: (n,) int64, what came next at each moment, oldest first; -1 for an item outside the vocabulary.
        vocabulary: V.
        horizon: how many of the coming items count; 1 is the next one only.
        fade: weight of each further one relative to the one before.

    Returns:
        (n, V) float32 in [0, 1]: `max_j fade^j [items[t + j] = v]` over j < horizon. Nothing beyond the given items is
        looked at, so targets made from the training part hold nothing of the test part.
    """
    target = np.zeros((len(items), vocabulary), dtype=np.float32)
    for ahead in reversed(range(horizon)):
        rows = np.arange(max(len(items) - ahead, 0))
        rows = rows[items[rows + ahead] >= 0]
        target[rows, items[rows + ahead]] = fade**ahead
    return target


def scores_of(model: nn.Module, x: np.ndarray) -> np.ndarray:
    """Interest (n, V) that `model` gives to features `x` (n, F), in evaluation mode and without gradients."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(x)))
    finally:
        model.train(training)

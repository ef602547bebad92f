"""Pooled training: the same model on everybody's examples in one place. What federated learning is measured against.

It is what one would do if privacy were no matter, and it is done well: Adam on shuffled batches, with the number of
epochs chosen on the validation part (the model of the best epoch is kept), and with settings that were chosen there
too, as those of federated training were (`RULES`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from tacit import keys
from tacit.errors import Problems, UsageError
from tacit.scenarios.app_recommendation.evaluation import evaluate
from tacit.scenarios.app_recommendation.model import loss_named
from tacit.scenarios.app_recommendation.phones import Phones


@dataclass(frozen=True)
class PooledRule:
    """How the pooled model is trained.

    Attributes:
        lr: of Adam.
        batch_size: examples in a step.
        epochs: most passes over the pooled examples.
        patience: epochs without a better validation before training ends.
        metric: what is watched on the validation part.
    """

    lr: float = 1e-3
    batch_size: int = 128
    epochs: int = 20
    patience: int = 2
    metric: str = "NDCG@10"

    def __post_init__(self) -> None:
        with Problems("pooled training cannot be done", UsageError) as problems:
            for name in ("lr", "batch_size", "epochs", "patience"):
                problems.check(getattr(self, name) > 0, f"{name} is {getattr(self, name)!r}: give a positive number")


RULES = {"cross_entropy": PooledRule(lr=3e-4, batch_size=1024, epochs=60, patience=5), "mse": PooledRule()}
"""By loss: the best on the validation part, by the default metric, of settings with `lr` 1e-3 or 3e-4 and `batch_size`
from 128 to 2,048; with cross-entropy five on the synthetic logs and seven on MovieLens, with mse three on MovieLens."""


@dataclass(frozen=True)
class Pooled:
    """A pooled model, the epoch it is from, and the validation metric after each epoch."""

    model: nn.Module
    epochs: int
    validation: tuple[float, ...]


def train_pooled(phones: Phones, model: nn.Module, rule: PooledRule | None = None, *, seed: int = 0) -> Pooled:
    """Trains a copy of `model` on all training examples at once.

    One intra-op thread, so that the result does not depend on how many cores the machine has.

    Args:
        phones: with the examples.
        model: with the initial weights.
        rule: how; None takes the one in `RULES` for the loss.
        seed: of the order of examples.
    """
    rule = rule or RULES[phones.rule.loss]
    model = copy.deepcopy(model)
    x, y = pooled_examples(phones)
    loss = loss_named(phones.rule.loss)
    optimiser = torch.optim.Adam(model.parameters(), lr=rule.lr)
    shuffle = torch.Generator().manual_seed(keys.torch_seed(seed, "app-recommendation", "pooled"))
    best, kept, history = 0, copy.deepcopy(model.state_dict()), [float("-inf")]
    with one_thread():
        while len(history) <= rule.epochs and len(history) - 1 - best < rule.patience:
            model.train()
            for rows in torch.split(torch.randperm(len(x), generator=shuffle), rule.batch_size):
                optimiser.zero_grad()
                torch.autograd.backward(loss(model(x[rows]), y[rows]))
                optimiser.step()
            history.append(evaluate(phones, model, phones.validation).metrics()[rule.metric])
            if history[-1] > history[best]:
                best, kept = len(history) - 1, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)
    return Pooled(model.eval(), best, tuple(history[1:]))


def pooled_examples(phones: Phones) -> tuple[Tensor, Tensor]:
    """Everybody's training examples: features (n, F) and targets."""
    everyone = phones.population.examples(np.arange(len(phones.population)))
    return everyone.x, everyone.y


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch's operators use one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

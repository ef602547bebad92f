"""Models in which the examples of a batch see each other a little, now and then, or out of sight: all are found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tacit.learning.batches import Examples
from tacit.learning.dp_sgd.ghost import Ghost
from tacit.learning.task import Task

SLIGHTLY = 1e-3


class Net(nn.Module):
    """Two layers with something in between, and no examples that see each other."""

    def __init__(self) -> None:
        super().__init__()
        self.deep, self.out = nn.Linear(6, 8), nn.Linear(8, 3)

    def between(self, x, h):
        return h

    def forward(self, x):
        return self.out(self.between(x, torch.tanh(self.deep(x))))


class InTraining(Net):
    def between(self, x, h):
        return h + SLIGHTLY * x.mean() if self.training else h


class InEvaluation(Net):
    def between(self, x, h):
        return h if self.training else h + SLIGHTLY * x.mean()


class WithDropout(Net):
    def between(self, x, h):
        return functional.dropout(h, 0.5, self.training) + (SLIGHTLY * x.mean() if self.training else 0)


class Neighbours(Net):
    def between(self, x, h):
        return h + SLIGHTLY * functional.pad(x[1:], (0, 2, 0, 1))


class OnlyTheLast(Net):
    def between(self, x, h):
        return h + SLIGHTLY * x[-1].sum()


class InLargeBatches(Net):
    def between(self, x, h):
        return h - SLIGHTLY * h.mean(0) if len(x) > 16 else h


class OfLargeNumbers(Net):
    def between(self, x, h):
        return h * (1 + functional.relu(x.mean(0).amax() - 300))


class BySize(Net):
    def between(self, x, h):
        return h / len(x)


class OutOfSight(Net):
    """No output changes, but what flows back does."""

    def between(self, x, h):
        mean = h.mean(0)
        return h + SLIGHTLY * (mean - mean.detach())


class OftenInLargeBatches(Net):
    """A layer is called once more where there are many examples."""

    def __init__(self) -> None:
        super().__init__()
        self.again = nn.Linear(8, 8)

    def between(self, x, h):
        return self.again(self.again(h)) if len(x) > 9 else self.again(h)


MIXING = [
    InTraining,
    InEvaluation,
    WithDropout,
    Neighbours,
    OnlyTheLast,
    InLargeBatches,
    OfLargeNumbers,
    BySize,
    OutOfSight,
    OftenInLargeBatches,
]


def sample(x):
    return Examples(x, torch.zeros(len(x), dtype=torch.int64), np.zeros(1, np.int64), np.array([len(x)]))


@pytest.mark.parametrize("model", MIXING)
def test_no_model_in_which_examples_see_each_other_gets_ghost_norms(model):
    torch.manual_seed(0)
    assert Ghost.accepts(Task(model(), functional.cross_entropy), sample(torch.randn(64, 6))) is not None


class Dropping(Net):
    def between(self, x, h):
        return functional.dropout(h, 0.5, self.training)


@pytest.mark.parametrize("model", [Net, Dropping])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_models_in_which_examples_are_alone_get_them(model, dtype):
    torch.manual_seed(0)
    task = Task(model().to(dtype), functional.cross_entropy)
    assert Ghost.accepts(task, sample(torch.randn(64, 6, dtype=dtype))) is None


class Numbers(nn.Module):
    """Of ids: `share` of the mean over the batch is taken away."""

    def __init__(self, share) -> None:
        super().__init__()
        self.table, self.out, self.share = nn.Embedding(10, 6), nn.Linear(6, 3), share

    def forward(self, x):
        h = self.table(x)
        return self.out(h - self.share * h.mean(0)) if self.share else self.out(h)


@pytest.mark.parametrize("first", [0, 3])
def test_whole_numbers_are_replaced_by_others(first):
    torch.manual_seed(0)
    ids = torch.randint(10, (64,))
    ids[0] = first
    assert Ghost.accepts(Task(Numbers(SLIGHTLY), functional.cross_entropy), sample(ids)) is not None
    assert Ghost.accepts(Task(Numbers(0), functional.cross_entropy), sample(ids)) is None


def test_whole_numbers_that_are_all_the_same_cannot_be_tried():
    ids = torch.zeros(64, dtype=torch.int64)
    assert "cannot be tried" in Ghost.accepts(Task(Numbers(SLIGHTLY), functional.cross_entropy), sample(ids))

"""Cut gradients, one example at a time: any model and loss, slowly. What the faster ways are held against."""

from __future__ import annotations

import torch
from torch import Tensor

from tacit.learning.dp_sgd.engine import cut_factors
from tacit.learning.out_of_memory import out_of_memory
from tacit.learning.task import Task


class Alone:
    """One forward and one backward pass for each example."""

    name = "eager"
    patient = False
    """Whether an example on which the model or the loss fails counts as nothing."""

    def __init__(self, task: Task) -> None:
        self.task, self.bound = task, task.bind()

    def total(self, inputs: Tensor, target: Tensor, norm: float) -> Tensor:
        """See `CutSum.total`."""
        bound, sum_of = self.bound, torch.zeros_like(self.bound.x)
        for i in range(len(target)):
            bound.g.zero_()
            try:
                loss = self.task.loss(bound.module(inputs[i : i + 1].clone()), target[i : i + 1].clone())
                loss.backward()  # type: ignore[no-untyped-call]
            except Exception as error:  # whatever the user's model or loss raises
                if not self.patient or out_of_memory(error):
                    raise
                continue
            factor = float(cut_factors(bound.g.double().square().sum(), norm))
            if factor:
                sum_of.add_(bound.g, alpha=factor)
        return sum_of


class Patient(Alone):
    """For clients of which a record makes the model or the loss fail: nobody is to see that it does."""

    patient = True

"""How well a model fits the examples of single clients: what a selection by losses asks its candidates."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tacit.learning.layout import Parts
from tacit.learning.out_of_memory import out_of_memory
from tacit.learning.task import Bound, Task
from tacit.population.population import Population

Int = NDArray[np.int64]
Float = NDArray[np.float64]


class ClientLosses:
    """Evaluates broadcast models on clients' examples.

    Args:
        task: gives the loss.
        population: the clients.
    """

    def __init__(self, task: Task, population: Population) -> None:
        self.task, self.population = task, population
        self._bound: Bound | None = None

    def __call__(self, down: Parts, clients: Int) -> Float:
        """(K,) the mean loss of the broadcast model on each client's examples; NaN where the model fails on them."""
        self._bound = bound = self._bound or self.task.bind()
        bound.x.copy_(down["x"])
        bound.b.copy_(down["buffers"])
        bound.push()
        bound.module.eval()
        return np.array([self._loss(bound, int(client)) for client in clients], np.float64)

    def _loss(self, bound: Bound, client: int) -> float:
        try:
            inputs, target = self.population.examples(np.array([client])).of(0)
            with torch.no_grad():
                return float(self.task.loss(bound.module(inputs.clone()), target.clone()))
        except Exception as error:  # whatever a client's data raise: it gives no answer
            if out_of_memory(error):
                raise
            return float("nan")

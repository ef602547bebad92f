"""Central evaluation of a model: on arrays, on a population, or by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tacit.errors import Problems, UsageError
from tacit.learning.task import Task
from tacit.population.population import Population, as_tensor

Test = tuple[Any, Any] | Population | Callable[[nn.Module], Mapping[str, float]]
BATCH = 2048


class Evaluation:
    """Evaluates parameters on `test` after a round.

    Args:
        task: gives loss and metrics.
        test: arrays `(x, y)`, a population (all of its examples pooled), or a function from the model, in evaluation
            mode, to a mapping of named numbers.

    Raises:
        UsageError: something else.
    """

    def __init__(self, task: Task, test: Test) -> None:
        self.task, self.bound = task, task.bind()
        self.function: Callable[[nn.Module], Mapping[str, float]]
        if isinstance(test, Population):
            data = test.cast(task.dtype).examples(np.arange(len(test)))
            self.function = self._on(data.x, data.y)
        elif isinstance(test, tuple) and len(test) == 2:
            self.function = self._on(*(self._cast(as_tensor(v)) for v in test))
        elif callable(test):
            self.function = test
        else:
            raise UsageError(f"test is a {type(test).__name__}: give (x, y), a Population, or a function of the model")

    def _on(self, x: Tensor, y: Tensor) -> Callable[[nn.Module], Mapping[str, float]]:
        """The measures on examples, after they were tried on the first two."""
        with Problems("test cannot be evaluated", UsageError) as problems:
            fits = bool(x.dim() and y.dim()) and len(x) == len(y) > 0
            shapes = f"x {tuple(x.shape)} {x.dtype}, y {tuple(y.shape)} {y.dtype}"
            if problems.check(fits, f"its shapes are {shapes}: give one target for each input, at least one"):
                for name, column in (("x", x), ("y", y)):
                    finite = not column.is_floating_point() or bool(torch.isfinite(column).all())
                    problems.check(finite, f"its {name} holds NaN or Inf: fill or drop those examples")
                try:
                    with torch.no_grad():
                        self._measure(self.bound.module.eval(), x[:2], y[:2])
                except Exception as error:  # whatever the user's model, loss or metric raises is the finding
                    problems.add(f"the model, the loss or a metric fails on it ({shapes}): {error}")
        return lambda model: self._measure(model, x, y)

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.task.dtype) if tensor.is_floating_point() else tensor

    def __call__(self, x: Tensor, b: Tensor) -> dict[str, float]:
        """The measures of the model with parameters x (d,) and buffers b, each with "test_" in front of its name."""
        self.bound.x.copy_(x)
        self.bound.b.copy_(b)
        self.bound.push()
        with torch.no_grad():
            measured = self.function(self.bound.module.eval())
        return {f"test_{name}": float(value) for name, value in measured.items()}

    def _measure(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        functions = {"loss": self.task.loss, **self.task.metrics}
        sums = dict.fromkeys(functions, 0.0)
        for inputs, target in zip(torch.split(x, BATCH), torch.split(y, BATCH), strict=True):
            output = model(inputs)
            for name, function in functions.items():
                sums[name] += float(function(output, target)) * len(inputs)
        return {name: total / len(x) for name, total in sums.items()}

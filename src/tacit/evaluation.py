"""Central evaluation of a model: on arrays, on a population, or by a function of the user's."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tacit.errors import DataError, Problems, TacitError, UsageError
from tacit.learning.labels import strange_labels
from tacit.learning.task import Task
from tacit.population.population import Population, as_tensor, some

Measure = Callable[[nn.Module], Mapping[str, float]]
Test = tuple[Any, Any] | Population | Measure
BATCH = 2048


class Evaluation:
    """Evaluates parameters on `test` after a round.

    What can be seen before the run is looked at here: the labels and values of all examples, the measures of the first
    two, and what a function gives for the initial model. Torch's generator is left as it was.

    Args:
        task: gives loss and metrics.
        test: arrays `(x, y)`, a population (all of its examples pooled), or a function from the model, in evaluation
            mode, to a mapping of named numbers.

    Raises:
        UsageError: something else, or something on which the model cannot be measured.
        TacitError: the function fails on the initial model.
    """

    def __init__(self, task: Task, test: Test) -> None:
        self.task, self.bound = task, task.bind()
        self.function: Measure
        with torch.random.fork_rng(devices=()):
            if isinstance(test, Population):
                data = test.cast(task.dtype).examples(np.arange(len(test)))
                self.function = self._on(data.x, data.y)
            elif isinstance(test, tuple) and len(test) == 2:
                self.function = self._on(*(self._cast(as_tensor(v)) for v in test))
            elif callable(test):
                self.function = _checked(test)
                self(*task.initial())
            else:
                raise UsageError(
                    f"test is a {type(test).__name__}: give (x, y), a Population, or a function of the model"
                )

    def __call__(self, x: Tensor, b: Tensor) -> dict[str, float]:
        """The measures of the model with parameters x (d,) and buffers b, each with "test_" in front of its name.

        Raises:
            DataError: the model, the loss or a metric fails on some examples; it says on which.
            TacitError: the user's function fails.
        """
        self.bound.x.copy_(x)
        self.bound.b.copy_(b)
        self.bound.push()
        with torch.no_grad():
            measured = self.function(self.bound.module.eval())
        return {f"test_{name}": float(value) for name, value in measured.items()}

    def _on(self, x: Tensor, y: Tensor) -> Measure:
        """The measures on examples, after they were tried on the first two."""
        with Problems("test cannot be evaluated", UsageError) as problems:
            fits = bool(x.dim() and y.dim()) and len(x) == len(y) > 0
            shapes = f"x {tuple(x.shape)} {x.dtype}, y {tuple(y.shape)} {y.dtype}"
            if problems.check(fits, f"its shapes are {shapes}: give one target for each input, at least one"):
                for name, column in (("x", x), ("y", y)):
                    finite = not column.is_floating_point() or bool(torch.isfinite(column).all())
                    problems.check(finite, f"its {name} holds NaN or Inf: fill or drop those examples")
                try:
                    problems.extend(self._strange(x, y))
                except Exception as error:  # whatever the user's model, loss or metric raises is the finding
                    problems.add(f"the model, the loss or a metric fails on it ({shapes}): {error}")
        return lambda model: self._measure(model, x, y)

    def _strange(self, x: Tensor, y: Tensor) -> list[str]:
        """Labels that are no class; measures the first two examples where there are none."""
        with torch.no_grad():
            model = self.bound.module.eval()
            strange = strange_labels(self.task.loss, model(x[:2].clone()), y)
            if strange is None:
                self._add({}, model, x[:2], y[:2])
                return []
        return [
            f"labels {list(strange.values)} in its rows {some(strange.rows.tolist())} are outside the model's "
            f"{strange.classes} classes: number them 0 to {strange.classes - 1}"
        ]

    def _cast(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.task.dtype) if tensor.is_floating_point() else tensor

    def _measure(self, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
        sums: dict[str, float] = {}
        for first in range(0, len(x), BATCH):
            rows = slice(first, min(first + BATCH, len(x)))
            try:
                self._add(sums, model, x[rows], y[rows])
            except MemoryError:
                raise
            except Exception as error:  # whatever the user's model, loss or metric raises concerns these rows
                raise DataError(
                    f"test cannot be evaluated: the model, the loss or a metric raised {type(error).__name__} on its "
                    f"rows {rows.start} to {rows.stop - 1}: {error}"
                ) from error
        return {name: total / len(x) for name, total in sums.items()}

    def _add(self, sums: dict[str, float], model: nn.Module, x: Tensor, y: Tensor) -> None:
        """Adds the loss and the metrics of one batch to `sums`, each times the batch's length."""
        x, y = x.clone(), y.clone()  # a model may write into its input
        output = model(x)
        for name, function in {"loss": self.task.loss, **self.task.metrics}.items():
            sums[name] = sums.get(name, 0.0) + float(function(output, y)) * len(x)


def _checked(test: Measure) -> Measure:
    """The user's function; what it raises and what it returns is held against what it should."""

    def measure(model: nn.Module) -> Mapping[str, float]:
        try:
            found: object = test(model)
        except (TacitError, MemoryError):
            raise
        except Exception as error:  # whatever the user's function raises is told as its failure
            raise TacitError(f"test, a function of the model, raised {type(error).__name__}: {error}") from error
        wanted = "give a mapping of names to numbers, such as {'accuracy': 0.9}"
        if not isinstance(found, Mapping):
            raise UsageError(f"test, a function of the model, returned {reprlib.repr(found)}: {wanted}")
        wrong = [f"{name!r}: {reprlib.repr(v)}" for name, v in found.items() if not _is_measure(name, v)]
        if wrong:
            raise UsageError(f"test, a function of the model, returned {', '.join(wrong[:5])}: {wanted}")
        return found

    return measure


def _is_measure(name: object, value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):
        return False
    return isinstance(name, str) and not isinstance(value, str | bytes)

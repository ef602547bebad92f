"""Everything that can be wrong with a federation and be seen before it computes: all of it, at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacit.algorithms.base import Algorithm
from tacit.errors import DataError, Problems, TacitError, UsageError
from tacit.learning.ladder import ENGINES
from tacit.learning.task import Task
from tacit.population.population import Population, some

if TYPE_CHECKING:
    from tacit.federation import Federation

CLASSIFYING = (F.cross_entropy, F.nll_loss)


def check(federation: Federation, population: Population) -> None:
    """Checks the parts of a federation against each other.

    Raises:
        UsageError: with every problem of choices (DataError where all of them are about data).
    """
    settings = Problems("the federation cannot run", UsageError)
    if not settings.check(
        isinstance(population, Population),
        f"population is a {type(population).__name__}: make one with Population.from_arrays({{client_id: (x, y)}})",
    ):
        settings.raise_if_any()
    settings.check(isinstance(federation.task, Task), f"task is a {type(federation.task).__name__}: give a tacit.Task")
    good = settings.check(
        isinstance(federation.algorithm, Algorithm),
        f"algorithm is a {type(federation.algorithm).__name__}: give one such as tacit.FedAvg(tacit.SGD(lr=0.1))",
    )
    solver = getattr(federation.algorithm, "solver", None)
    good = good and settings.check(
        hasattr(solver, "update") and not isinstance(solver, type),
        f"the algorithm's solver is {solver!r}: give one such as tacit.SGD(lr=0.1)",
    )
    if good:
        settings.extend(federation.algorithm.problems())
    settings.extend(_choices(federation, len(population)))
    data = Problems("the data cannot be learned from", DataError)
    data.extend(population.problems())
    good = good and isinstance(federation.task, Task)
    if good and not data.found:
        cast = population.cast(federation.task.dtype)
        data.extend(_dry_run(federation.task, cast))
        if not data.found:
            settings.extend(_single_example_batches(federation.task, federation.algorithm, cast))
    if settings.found:
        settings.extend(data.found)
        settings.raise_if_any()
    data.raise_if_any()


def is_count(value: object) -> bool:
    """Whether `value` is a whole number of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _choices(federation: Federation, clients: int) -> Iterator[str]:
    """What is wrong with the federation's own arguments."""
    selection: Any = federation.selection
    minimum: Any = federation.minimum
    seed: Any = federation.seed
    if hasattr(selection, "draw") and hasattr(selection, "problems") and not isinstance(selection, type):
        yield from selection.problems(clients)
    else:
        yield f"selection is {selection!r}: give one such as tacit.Uniform(10) or tacit.Everyone()"
    if not is_count(federation.workers):
        yield f"workers is {federation.workers!r}: give a whole number of at least 1"
    if not isinstance(minimum, int | float) or not 0 <= minimum <= 1:
        yield f"minimum is {minimum!r}: give a share from 0 to 1"
    if federation.engine not in ENGINES:
        yield f"engine is {federation.engine!r}: give one of {', '.join(ENGINES)}"
    if federation.device != "cpu" and not has_device(federation.device):
        yield f"device is {federation.device!r}: torch finds no such accelerator here; give 'cpu'"
    if not isinstance(seed, int):
        yield f"seed is {seed!r}: give a whole number"


def has_device(name: str) -> bool:
    """Whether torch can compute on the device of that name."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError):
        return False
    return True


def _single_example_batches(task: Task, algorithm: Algorithm, population: Population) -> list[str]:
    """BatchNorm has no statistics for a batch of one example that holds one value for each channel."""
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in task.model.modules()):
        return []
    size = algorithm.solver.batch_size
    tails = (population.sizes - 1) % size + 1 if size else population.sizes
    lonely = np.flatnonzero(tails == 1)
    if not len(lonely) or _trains_on_one(task, population):
        return []
    names = some([population.ids[k] for k in lonely])
    return [
        f"the model has BatchNorm, and clients {names} end an epoch with a batch of one example "
        f"(batch_size={size}): choose another batch size, or GroupNorm"
    ]


def _trains_on_one(task: Task, population: Population) -> bool:
    """Whether the model runs on a batch of one example in training mode."""
    inputs = population.examples(np.array([0])).of(0)[0][:1]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            task.bind().module.train()(inputs)
    except ValueError:
        return False
    return True


def _dry_run(task: Task, population: Population) -> list[str]:
    """Runs the model and the loss on two examples of the first client."""
    try:
        examples = population.examples(np.array([0]))
    except TacitError as error:
        return [str(error)]
    inputs, target = (t[:2] for t in examples.of(0))
    model = task.bind().module.eval()
    state = torch.get_rng_state()
    try:
        with torch.no_grad():
            output = model(inputs)
            loss: object = task.loss(output, target)
    except Exception as error:  # whatever the user's model or loss raises is the finding
        return [
            f"the model or the loss fails on examples of client {population.ids[0]!r} "
            f"(x {tuple(inputs.shape)} {inputs.dtype}, y {tuple(target.shape)} {target.dtype}): {error}"
        ]
    finally:
        torch.set_rng_state(state)
    found = []
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        found.append(f"the loss returns {shape}, not a scalar: average it over the batch")
    for name, metric in task.metrics.items():
        found.extend(_metric_problems(name, metric, output, target))
    return found + _label_problems(task, output, population)


def _metric_problems(name: str, metric: object, output: Tensor, target: Tensor) -> list[str]:
    try:
        float(metric(output, target))  # type: ignore[operator]
    except Exception as error:  # as above
        return [f"metric {name!r} does not give a number: {error}"]
    return []


def _label_problems(task: Task, output: Tensor, population: Population) -> list[str]:
    """Class labels outside [0, classes) where the loss is a classification loss and the data are in memory."""
    from tacit.population.arrays import ArrayPopulation

    classifying = task.loss in CLASSIFYING or isinstance(task.loss, nn.CrossEntropyLoss | nn.NLLLoss)
    if not classifying or not isinstance(population, ArrayPopulation) or population.y.is_floating_point():
        return []
    classes, labels = output.shape[1], population.y
    ignored = getattr(task.loss, "ignore_index", -100)
    wrong = ((labels < 0) | (labels >= classes)) & (labels != ignored)
    rows = np.flatnonzero((wrong.flatten(1).any(1) if wrong.dim() > 1 else wrong).numpy())
    if not len(rows):
        return []
    owners = np.unique(np.searchsorted(population.start, rows, side="right") - 1)
    values = torch.unique(labels[wrong])[:5].tolist()
    names = some([population.ids[k] for k in owners])
    return [
        f"labels {values} of clients {names} are outside the model's {classes} classes: number them 0 to {classes - 1}"
    ]

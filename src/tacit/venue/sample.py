"""The clients on whose examples engines are verified before a run: some of the population's that can be trained."""

from __future__ import annotations

from math import isfinite

import numpy as np

from tacit.algorithms.base import Algorithm
from tacit.errors import DataError, TacitError
from tacit.learning.batches import Examples
from tacit.learning.eager import EagerEngine
from tacit.learning.ladder import verify
from tacit.learning.task import Task
from tacit.population.population import Population, some
from tacit.venue import reason
from tacit.venue.made_up import made_up

TRIED = 16
"""How many other clients are tried where none of the first choices can be trained."""


def sample(task: Task, algorithm: Algorithm, population: Population, private: bool = False) -> Examples:
    """Examples of the largest, the smallest and the first client, as far as a few eager steps on them succeed.

    Clients on whose data the model, the loss or the loader fails say nothing about an engine: they are left out here,
    and will be set aside in the rounds that draw them. In a `private` run the examples are made up, if a few eager
    steps on such succeed: nothing of the data is then in the choice of the engine.

    Raises:
        DataError: no client that was tried can be trained.
    """
    if private and (nobodys := _made_up(task, algorithm, population)) is not None:
        return nobodys
    sizes = population.sizes
    first = dict.fromkeys([int(sizes.argmax()), int(sizes.argmin()), 0])
    others = (int(k) for k in np.linspace(0, len(population) - 1, TRIED) if int(k) not in first)
    found = {k: _trained(task, algorithm, population, k) for k in first}
    while not any(isinstance(end, float) for end in found.values()) and (k := next(others, None)) is not None:
        found[k] = _trained(task, algorithm, population, k)
    # Steps that end in NaN are no failure, but they agree with those of no engine.
    ended = {k: end for k, end in found.items() if isinstance(end, float)}
    chosen = [k for k, end in ended.items() if isfinite(end)] or list(ended)
    if not chosen:
        names = some([population.ids[k] for k in found])
        cause = next(end for end in found.values() if isinstance(end, Exception))
        raise DataError(f"none of the clients {names} can be trained: {reason.of_error(cause)}") from cause
    return population.examples(np.array(sorted(chosen), dtype=np.int64))


def _made_up(task: Task, algorithm: Algorithm, population: Population) -> Examples | None:
    """Examples that are nobody's; None where the model cannot be trained on such."""
    try:
        examples = made_up(task, algorithm.solver, population)
        return examples if isfinite(_ended(task, algorithm, examples)) else None
    except MemoryError:
        raise
    except Exception:  # whatever the user's model, or its loss, raises
        return None


def _ended(task: Task, algorithm: Algorithm, examples: Examples) -> float:
    """With which number a few eager steps end."""
    engine, offset = EagerEngine(task, algorithm.solver), algorithm.memory(task.d) > 0
    return verify(task, algorithm.solver, engine, examples, algorithm.proximal, offset)


def _trained(task: Task, algorithm: Algorithm, population: Population, k: int) -> float | Exception:
    """How eager steps on client k's examples end: with a finite number, with another, or with what they raised."""
    try:
        return _ended(task, algorithm, population.examples(np.array([k])))
    except MemoryError:
        raise
    except Exception as error:
        if isinstance(error, TacitError) and not isinstance(error, DataError):
            raise
        return error

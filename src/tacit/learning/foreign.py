"""An engine whose local steps are a function of the user's own, which knows NumPy arrays and nothing of tacit.

    def train(parameters, x, y, *, lr, seed, steps, batches):
        ...
        return parameters            # or (parameters, loss)

`parameters` are the model's parameters and moving buffers by name, `x` and `y` the client's own examples; all of them
are copies. A function names those of the keywords that it wants: `lr`, the learning rate of the round; `seed`, for its
random draws; `steps`, how many local steps it is asked for; `batches`, the rows that each step reads, as an engine of
tacit's would. What it returns is looked at before it is used: names, shapes, and that every number is finite.

Nobody can see what such a function does between two steps. So it goes with methods that read nothing but the update,
and neither with a correction of every gradient (FedProx, SCAFFOLD, FedDyn) nor with private local steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.checks import is_number
from tacit.errors import DataError, IncompatibleOptions, Problems, UsageError
from tacit.learning.step import LocalRun
from tacit.learning.task import Task

Arrays = dict[str, NDArray[Any]]
Train = Callable[..., Any]
"""See the file's first lines."""
KEYWORDS = ("lr", "seed", "steps", "batches")
"""What a function may ask for by name."""


class ForeignEngine:
    """Runs the user's function, one client after another.

    Args:
        train: the function.
        task: of the run.

    Raises:
        UsageError: it is no such function.
    """

    name = "own"
    threads = False
    private = False

    def __init__(self, train: Train, task: Task) -> None:
        self._train, self._task = train, task
        self._asked = asked(train)
        here = {*task.layout.names, *task.buffer_layout.names}
        self._names = [name for name in task.model.state_dict() if name in here]
        self._names += [name for name in (*task.layout.names, *task.buffer_layout.names) if name not in self._names]
        self._bound = task.bind()

    def run(self, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """See `Engine.run`. A function that tells no loss is reported with that of the broadcast model, over all of
        the client's examples.

        Raises:
            IncompatibleOptions: the steps are to be corrected, or made private.
            UsageError: what the function returned is no model of this task.
            DataError: a number in it is not finite.
        """
        if job.correction.proximal or job.correction.offset is not None:
            raise IncompatibleOptions(f"gradients cannot be corrected inside a function of one's own: {PLAIN}")
        if job.perturbation is not None:
            raise IncompatibleOptions(NOT_PRIVATE)
        for k in range(len(loss)):
            told = self._client(k, job, update[k], buffers[k])
            loss[k] = self._loss(k, job) if told is None else told
        return update.square().sum(1).sqrt_()

    def _client(self, k: int, job: LocalRun, update: Tensor, buffers: Tensor) -> float | None:
        """Trains the k-th client: fills its update and buffers, and returns the loss that the function told."""
        before = self._parts(job.x, job.b)
        x, y = (column.clone().numpy() for column in job.examples.of(k))
        given = {name: value.clone().numpy() for name, value in before.items()}
        keywords = {name: value for name, value in self._keywords(k, job).items() if name in self._asked}
        returned = self._train(given, x, y, **keywords)
        arrays, told = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
        after = self._checked(arrays, before)
        for layout, out in ((self._task.layout, update), (self._task.buffer_layout, buffers)):
            if layout.size:
                layout.pack({name: after[name] for name in layout.names}, out)
        update.sub_(job.x)
        if told is not None and not is_number(told):
            raise UsageError(f"the training function returned {told!r} as its loss: give a finite number, or none")
        return None if told is None else float(told)

    def _parts(self, x: Tensor, b: Tensor) -> dict[str, Tensor]:
        """The model's parameters and buffers by name, in its own order."""
        parts = {**self._task.layout.unpack(x), **(self._task.buffer_layout.unpack(b) if len(b) else {})}
        return {name: parts[name] for name in self._names}

    def _keywords(self, k: int, job: LocalRun) -> dict[str, Any]:
        batches, start = job.batches, int(job.examples.start[k])
        steps = range(int(batches.client[k]), int(batches.client[k + 1]))
        rows = [batches.order[batches.cut[s] : batches.cut[s + 1]] - start for s in steps] if self._wants_rows else []
        return {"lr": job.lr, "seed": job.seeds[k], "steps": len(steps), "batches": rows}

    @property
    def _wants_rows(self) -> bool:
        return "batches" in self._asked

    def _checked(self, arrays: Any, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the function returned, as tensors of the task's type."""
        if not isinstance(arrays, Mapping):
            raise UsageError(
                f"the training function returned {type(arrays).__name__}: let it return the parameters by name, a dict "
                "of arrays, or (dict, loss)"
            )
        with Problems("what the training function returned is no model of this task", UsageError) as problems:
            missing, more = [n for n in before if n not in arrays], [n for n in arrays if n not in before]
            problems.check(not missing, f"{', '.join(map(repr, missing))} is missing: return every one that was given")
            problems.check(not more, f"{', '.join(map(repr, more))} was not given: return those that were")
            found = {name: np.asarray(arrays[name]) for name in before if name in arrays}
            for name, array in found.items():
                shape = tuple(before[name].shape)
                fits = np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)
                problems.check(fits, f"{name!r} is of type {array.dtype}: return real numbers")
                problems.check(array.shape == shape, f"{name!r} has the shape {array.shape}: return {shape}")
        broken = [name for name, array in found.items() if not bool(np.isfinite(array).all())]
        if broken:
            raise DataError(
                f"the training function returned NaN or Inf in {', '.join(map(repr, broken))}: its learning rate may "
                "be too large for these data"
            )
        return {
            name: torch.from_numpy(np.array(array, dtype=_DTYPES[self._task.dtype])) for name, array in found.items()
        }

    def _loss(self, k: int, job: LocalRun) -> float:
        """Of the broadcast model, over all examples of the k-th client, in evaluation mode."""
        bound = self._bound
        bound.x.copy_(job.x)
        bound.b.copy_(job.b)
        bound.push()
        bound.module.eval()
        inputs, target = (column.clone() for column in job.examples.of(k))
        with torch.no_grad():
            return float(self._task.loss(bound.module(inputs), target))


_DTYPES = {torch.float32: np.float32, torch.float64: np.float64}
PLAIN = "take a method that reads the update alone, FedAvg or FedAdam, say"
NOT_PRIVATE = (
    "record_privacy cuts and noises the gradient of every record, and a training function of one's own computes its "
    "own: leave the function out, or protect whole clients, privacy=tacit.UserLevel(...)"
)


def asked(train: Train) -> frozenset[str]:
    """The keywords that a training function takes.

    Raises:
        UsageError: it is no function of parameters, x and y, or asks for what there is not.
    """
    given: object = train
    if not callable(given) or isinstance(given, type):
        raise UsageError(f"train is {train!r}: give a function train(parameters, x, y, *, lr, ...)")
    try:
        signature = inspect.signature(train)
    except (TypeError, ValueError):  # compiled: it cannot be asked
        return frozenset(KEYWORDS)
    places = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p.name for p in places[3:] if p.default is p.empty]
    only = [p for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY]
    required += [p.name for p in only if p.default is p.empty]
    unknown = [name for name in required if name not in KEYWORDS]
    spread = any(p.kind is p.VAR_POSITIONAL for p in signature.parameters.values())
    if (len(places) < 3 and not spread) or unknown:
        wants = f" and not {', '.join(unknown)}" if unknown else ""
        raise UsageError(
            f"train is {train!r}, with the arguments {signature}: let it take parameters, x and y, and by name any of "
            f"{', '.join(KEYWORDS)}{wants}"
        )
    if any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return frozenset(KEYWORDS)
    return frozenset(p.name for p in (*places[3:], *only)) & frozenset(KEYWORDS)


def make(train: Train, task: Task, algorithm: Any, *, follows_solver: bool = False) -> Callable[[], ForeignEngine]:
    """What makes the engines of a run, for `LocalTraining.make_engine`.

    Args:
        train: the function, see the file's first lines.
        task: of the run, as its federation has it.
        algorithm: of the run.
        follows_solver: the function takes just the local steps of the algorithm's solver, so that a method which
            divides by what those steps add up to (FedNova) may.

    Raises:
        IncompatibleOptions: the method needs what such a function cannot give; with every reason.
        UsageError: `train` is no such function.
    """
    asked(train)
    with Problems("this method and a training function of one's own do not go together", IncompatibleOptions) as found:
        name = type(algorithm).__name__
        found.check(not algorithm.proximal, f"{name} pulls every gradient towards the broadcast model: {PLAIN}")
        corrects = algorithm.memory(task.d) > 0 or algorithm.asks_gradient
        found.check(not corrects, f"{name} corrects every gradient by what a client remembers: {PLAIN}")
        found.check(
            not algorithm.asks_norm or follows_solver or corrects,
            f"{name} divides by the local steps of its solver, and nobody knows those of the function: say "
            "follows_solver=True if it takes just these, or take FedAvg",
        )
    return lambda: ForeignEngine(train, task)

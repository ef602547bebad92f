"""Whether what a model makes of one example depends on the others in its batch: found out by trying on a few."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tacit.learning.batches import Examples
from tacit.learning.task import Task

ROWS, MANY = 11, 67
"""Examples of the batches on which a model is tried; more where an axis of an example is as long."""
CLOSE = 1e-3
"""An example alone gives what it gives in a batch, up to rounding: largest difference, relative to the largest output.
"""
HUGE = 1e30
MIXED = "what it makes of an example depends on the others in its batch"


def mixing(task: Task, sample: Examples) -> str | None:
    """Why the examples of a batch are not alone in the model; None where no trial shows that they see each other.

    A model that decides by the numbers it sees cannot be vmapped. One that mixes examples shows it where some of them,
    the first, one in the middle and the last, are replaced by something extreme: the outputs of the others, its
    neighbours among them, change. That is tried in training, where a model may mix that does not in evaluation, and
    with batches of two sizes; and single examples are held against the batch.
    """
    module = task.bind().module
    params: dict[str, Tensor] = dict(module.named_parameters())

    def alone(one: Tensor) -> Tensor:
        output: Tensor = functional_call(module, params, (one[None],))
        return output[0]

    x = batch(sample, ROWS)
    others = list(_replaced(x))
    if not others:
        return "it cannot be tried: all numbers of the examples are the same whole number"
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            vmap(alone, randomness="different")(x.clone())
            if _differs_alone(module.eval(), x):
                return MIXED
            for training in (True, False):
                module.train(training)
                many = batch(sample, MANY)
                if _seen(module, x, others) or _seen(module, many, list(_replaced(many))[-1:]):
                    return MIXED
    except Exception as error:  # whatever the user's model raises
        return f"it cannot be tried on single examples ({type(error).__name__})"
    return None


def batch(sample: Examples, rows: int) -> Tensor:
    """Examples of a sample, `rows` of them or a few more, so that no axis of one is as long."""
    length = next(n for n in range(rows, rows + sample.x.dim() + 1) if n not in sample.x.shape[1:])
    return sample.x[torch.arange(length) % len(sample.x)].clone()


def chosen(rows: int) -> list[int]:
    """The rows of a batch that are replaced: the first, one in the middle, and the last."""
    return [0, rows // 2, rows - 1]


def _seen(module: nn.Module, x: Tensor, others: list[Tensor]) -> bool:
    """Whether the rows that stay the same have other outputs in one of the `others`."""
    kept = [i for i in range(len(x)) if i not in chosen(len(x))]
    whole = _output(module, x)
    return len(whole) != len(x) or any(not torch.equal(_output(module, o)[kept], whole[kept]) for o in others)


def _differs_alone(module: nn.Module, x: Tensor) -> bool:
    whole = _output(module, x)
    singles = torch.cat([_output(module, x[i : i + 1]) for i in chosen(len(x))])
    return bool((singles - whole[chosen(len(x))]).abs().max() > CLOSE * whole.abs().max())


def _output(module: nn.Module, x: Tensor) -> Tensor:
    """With the same draws every time, in training too."""
    torch.manual_seed(0)
    output: Tensor = module(x.clone())
    return output


def _replaced(x: Tensor) -> Iterator[Tensor]:
    """Batches in which the chosen rows are something else: each of them something else than the others."""
    found = list(_numbers(x) if x.is_floating_point() else _integers(x))
    for first in range(len(found)):
        other = x.clone()
        for place, row in enumerate(chosen(len(x))):
            other[row] = found[(first + place) % len(found)][row]
        yield other


def _numbers(x: Tensor) -> Iterator[Tensor]:
    """The largest last, but where it leaves the finite numbers."""
    yield torch.zeros_like(x)
    yield torch.full_like(x, 255)
    yield -1000 * x - 1.0
    yield torch.full_like(x, HUGE if torch.finfo(x.dtype).max > HUGE else torch.finfo(x.dtype).max)
    yield torch.full_like(x, 1e6)


def _integers(x: Tensor) -> Iterator[Tensor]:
    """Every number becomes another one of those that there are."""
    known = torch.unique(x)
    place = torch.searchsorted(known, x)
    for step in sorted({1, len(known) // 2} - {0}) if len(known) > 1 else []:
        yield known[(place + step) % len(known)]

"""Narrower models of one task, and where their parameters lie in the whole one ([Diao21] arXiv:2010.01264)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tacit.errors import Problems, UsageError
from tacit.learning.task import Task


@dataclass(frozen=True)
class Submodel:
    """A narrower model.

    Attributes:
        task: with the narrower model.
        places: (d',) where each of its parameters lies in the whole model's d.
    """

    task: Task
    places: Tensor

    @staticmethod
    def of(task: Task, width: float) -> Submodel:
        """The model with so much of the width of its hidden layers; the first units of each.

        Raises:
            UsageError: the task knows no narrower models, or the one that it gives is none.
        """
        if width == 1.0:
            return Submodel(task, torch.arange(task.d))
        if task.narrowed is None:
            raise UsageError(
                f"width is {width:g}, and the task knows no narrower models: give Task(..., narrowed=function), a "
                "function from the share of the width of hidden layers to a model with fewer units in them"
            )
        model: object = task.narrowed(width)
        with Problems(f"narrowed({width:g}) gives no narrower model", UsageError) as problems:
            if problems.check(isinstance(model, nn.Module), f"it is a {type(model).__name__}: give a torch.nn.Module"):
                assert isinstance(model, nn.Module)
                problems.extend(_differences(task, model))
        assert isinstance(model, nn.Module)
        inner = Task(model.to(task.dtype), task.loss, task.metrics, buffers=task.buffers)
        parts = zip(inner.layout.names, inner.layout.shapes, strict=True)
        whole = dict(zip(task.layout.names, task.layout.shapes, strict=True))
        places = [_leading(task.layout[name].start, whole[name], shape) for name, shape in parts]
        return Submodel(inner, torch.cat(places))


@dataclass(frozen=True)
class Submodels:
    """The models of every kind of work, the widest first or not.

    Attributes:
        each: one for every kind.
        d: parameters of the whole model.
    """

    each: Sequence[Submodel]
    d: int

    def coverage(self, weights: Tensor) -> Tensor:
        """(d,) how much of the cohort's weight stands behind each parameter.

        Args:
            weights: (T,) float64, of every kind, adding to 1.
        """
        covered = torch.zeros(self.d, dtype=torch.float64)
        for weight, model in zip(weights, self.each, strict=True):
            covered[model.places] += weight
        return covered

    def mean(self, update: Tensor, covered: Tensor) -> Tensor:
        """(d,) the mean over those who have each parameter, from that over all; zero where nobody has it."""
        return torch.where(covered > 0, update / covered.clamp(min=torch.finfo(torch.float64).tiny), 0.0)


def _differences(task: Task, model: nn.Module) -> list[str]:
    whole = {n: tuple(p.shape) for n, p in task.model.named_parameters() if p.requires_grad}
    mine = {n: tuple(p.shape) for n, p in model.named_parameters() if p.requires_grad}
    found = []
    if set(whole) != set(mine):
        found.append(f"its parameters are {sorted(mine)}: give those of the whole model, {sorted(whole)}")
    for name in sorted(set(whole) & set(mine)):
        fits = len(whole[name]) == len(mine[name]) and all(
            s <= w for s, w in zip(mine[name], whole[name], strict=False)
        )
        if not fits:
            found.append(f"{name} has shape {mine[name]}, and the whole model's {whole[name]}: no axis may be longer")
    packed = [n for n, m in task.model.named_modules() if isinstance(m, nn.RNNBase | nn.MultiheadAttention)]
    if packed:
        found.append(
            f"{packed} hold several layers in one parameter, of which the first rows are no narrower layer: width "
            "suits models of linear and convolutional layers"
        )
    if task.buffer_layout.size or any(True for _ in model.named_buffers()):
        found.append(
            "the model has buffers (BatchNorm?), which are not told apart by width: use GroupNorm or LayerNorm"
        )
    return found


def _leading(start: int, whole: tuple[int, ...], shape: tuple[int, ...]) -> Tensor:
    """Places of the leading block of a parameter, row by row."""
    places = start + torch.arange(int(torch.tensor(whole).prod()) if whole else 1).reshape(whole)
    return places[tuple(slice(length) for length in shape)].flatten()

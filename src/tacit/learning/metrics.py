"""Metrics for `Task(metrics={...})`: each maps (output, target) to the mean over the batch.

A mean is what can be summed over batches and clients, each weighted with its examples. What is not a mean of something
per example (a root mean square, an area under a curve) cannot be had that way: take the mean, and the root at the end.
All of them are values or plain functions, so they can be sent to other processes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tacit.errors import UsageError


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of examples whose largest score is the target's.

    Args:
        output: scores of C classes, (n, C, ...) as for `torch.nn.functional.cross_entropy`, or (n, ..., C).
        target: (n, ...) class numbers.

    Raises:
        UsageError: the shapes do not fit.
    """
    scores = _classes_last(output, target, "accuracy")
    return (scores.argmax(-1) == target).to(scores.dtype).mean()


def binary_accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of examples on the right side of zero: `output` are logits, `target` is 0 or 1, both of one shape.

    Raises:
        UsageError: the shapes differ.
    """
    _same_shape(output, target, "binary_accuracy")
    return ((output > 0) == (target > 0.5)).to(output.dtype).mean()


@dataclass(frozen=True)
class TopK:
    """Share of examples whose target is among the `k` largest scores (hit rate at k).

    A class that ties with the target counts as ahead of it, so a model that scores all alike hits nothing for k < C,
    and NaN never hits.

    Raises:
        UsageError: k is below 1; when called, k is above the number of classes or the shapes do not fit.
    """

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k is {self.k!r}: give at least 1")

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """The hit rate of one batch, shapes as for `accuracy`."""
        scores = _classes_last(output, target, f"top_k({self.k})")
        if self.k > scores.shape[-1]:
            raise UsageError(f"top_k({self.k}) of {scores.shape[-1]} classes: give a k of at most {scores.shape[-1]}")
        own = scores.gather(-1, target.unsqueeze(-1))
        ahead = (~(scores < own)).sum(-1)
        return (ahead <= self.k).to(scores.dtype).mean()


def top_k(k: int) -> TopK:
    """The hit rate at `k` as a metric, see `TopK`."""
    return TopK(k)


def mean_absolute_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean of |output - target|, both of one shape.

    Raises:
        UsageError: the shapes differ.
    """
    _same_shape(output, target, "mean_absolute_error")
    return (output - target).abs().mean()


def mean_squared_error(output: Tensor, target: Tensor) -> Tensor:
    """Mean of (output - target)^2, both of one shape.

    Raises:
        UsageError: the shapes differ.
    """
    _same_shape(output, target, "mean_squared_error")
    return (output - target).square().mean()


def _same_shape(output: Tensor, target: Tensor, name: str) -> None:
    """Refuses what would be broadcast: (n, 1) against (n,) compares every output with every target."""
    if output.shape != target.shape:
        raise UsageError(
            f"{name}: the output is {tuple(output.shape)} and the target {tuple(target.shape)}: make them equal "
            "(output.squeeze(-1) in the model, or a target with a last axis of 1)"
        )


def _classes_last(output: Tensor, target: Tensor, name: str) -> Tensor:
    """Scores (n, ..., C) from either place of the class axis; where both fit, the second axis is the classes'."""
    if target.is_floating_point():
        raise UsageError(f"{name}: the target is {target.dtype}: give class numbers (int64)")
    if output.dim() >= 2 and output.shape[:1] + output.shape[2:] == target.shape:
        return output.movedim(1, -1)
    if output.dim() >= 2 and output.shape[:-1] == target.shape:
        return output
    raise UsageError(
        f"{name}: an output {tuple(output.shape)} holds no scores for a target {tuple(target.shape)}: "
        "give (n, classes, ...) and (n, ...)"
    )

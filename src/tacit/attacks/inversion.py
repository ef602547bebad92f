"""Gradient inversion: from one client's update back to its examples.

- `analytic`: a linear first layer with bias gives its input away, `x = dL/dW_i / dL/db_i` for every output i
  ([Phong18] doi:10.1109/TIFS.2017.2787987). For one example it is exact; of several it gives a weighted mean.
- `optimised`: examples are sought whose gradient points where the update points ([Geiping20] arXiv:2003.14053).
- `labels`: the last bias gives the labels away ([Zhao20] arXiv:2001.02610 for one example; for several, one after
  another, each explained label added back, as in [Wainakh21] arXiv:2105.09369).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tacit import keys
from tacit.learning.task import Task
from tacit.venue.threads import one_thread

Real = NDArray[np.float64]
Int = NDArray[np.int64]

RATE = 0.1
"""Of Adam at first, in units of the range of values."""
TINY = 1e-30


def first_layer(task: Task) -> tuple[str, str] | None:
    """Names of weight and bias of the layer that sees the examples; None where that is no linear layer with a bias."""
    return _linear(task, 0)


def last_layer(task: Task) -> tuple[str, str] | None:
    """The same of the layer that gives the classes."""
    return _linear(task, -1)


def _linear(task: Task, which: int) -> tuple[str, str] | None:
    holders = [
        (name, m) for name, m in task.model.named_modules() if next(m.parameters(recurse=False), None) is not None
    ]
    if not holders:
        return None
    name, module = holders[which]
    names = (f"{name}.weight".lstrip("."), f"{name}.bias".lstrip("."))
    fits = isinstance(module, nn.Linear) and all(name in task.layout for name in names)
    return names if fits else None


def analytic(task: Task, update: Tensor) -> Real | None:
    """The input of the first layer (F,), by least squares over its outputs; None where that is no linear layer.

    `sum_i db_i dW_i / sum_i db_i^2`, which is x for one example, and stays sound where some `db_i` are 0 or noisy.

    Args:
        task: of the run.
        update: (d,), in any scale.
    """
    names = first_layer(task)
    if names is None:
        return None
    parts = task.layout.unpack(update.double())
    weight, bias = parts[names[0]], parts[names[1]]
    return np.asarray((bias @ weight / torch.clamp(bias @ bias, min=1e-300)).numpy(), dtype=np.float64)


def labels(task: Task, gradient: Tensor, count: int, *, shrunk: bool = False) -> Int | None:
    """`count` labels, (count,), from a mean gradient (d,); None where the last layer is no linear one with a bias.

    With cross-entropy the gradient of the last bias is the mean of `p - onehot(y)`: the most negative entry is a label.
    Adding `1 / count` back to it explains one of them, and the next is sought.

    Args:
        task: of the run.
        gradient: (d,).
        count: how many examples there were.
        shrunk: the gradient was clipped by an unknown factor. It is undone by the largest entry, which for a class
            that does not occur is its probability: that of chance, in a model that knows nothing yet.
    """
    names = last_layer(task)
    if names is None:
        return None
    left = task.layout.unpack(gradient.double())[names[1]].clone()
    if shrunk:
        left /= torch.clamp(left.max() * len(left), min=1e-30)
    found = []
    for _ in range(count):
        found.append(int(left.argmin()))
        left[found[-1]] += 1 / count
    return np.array(found, dtype=np.int64)


def optimised(
    task: Task,
    update: Tensor,
    y: Tensor,
    shape: tuple[int, ...],
    *,
    span: tuple[float, float],
    steps: int,
    tv: float = 0.0,
    seed: int = 0,
) -> Real:
    """Examples (r, *shape) whose gradient points where the update points.

    Minimises `1 - cos(g(x), -update) + tv TV(x)` by Adam on the signs of the gradient, its rate falling to a hundredth,
    within the values that examples can have.

    Args:
        task: of the run; its present weights are the model that the client began with.
        update: (d,), in any scale.
        y: (r,) the labels, known or recovered.
        shape: of one example.
        span: least and largest value of an example.
        steps: of Adam.
        tv: weight of the total variation of images (C, H, W).
        seed: of the examples to begin with.
    """
    low, high = span
    begun = low + (high - low) * keys.generator(seed, "attack", "begin").random((len(y), *shape))
    x = torch.from_numpy(begun).to(task.dtype).requires_grad_()
    cost_of = _cost(task, update, y, tv)
    adam = torch.optim.Adam([x], lr=RATE * (high - low))
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps, eta_min=RATE * (high - low) / 100)
    best, least = x.detach().clone(), float("inf")
    with one_thread():
        for _ in range(steps):
            cost = cost_of(x)
            if float(cost.detach()) < least:
                best, least = x.detach().clone(), float(cost.detach())
            (x.grad,) = torch.autograd.grad(cost, x)
            x.grad.sign_()
            adam.step()
            falling.step()
            x.data.clamp_(low, high)
    return np.asarray(best.double().numpy(), dtype=np.float64)


def _cost(task: Task, update: Tensor, y: Tensor, tv: float) -> Callable[[Tensor], Tensor]:
    """What `optimised` minimises, as a function of the examples."""
    x0, b0 = task.initial()
    aim = -update / torch.clamp(torch.linalg.vector_norm(update), min=TINY)

    def cost(x: Tensor) -> Tensor:
        _, g = task.gradient(x0, b0, x, y)
        away = 1 - g @ aim / torch.clamp(torch.linalg.vector_norm(g), min=TINY)
        return away + tv * total_variation(x) if tv else away

    return cost


def total_variation(images: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of images (r, C, H, W)."""
    across = (images[..., :, 1:] - images[..., :, :-1]).abs().mean()
    down = (images[..., 1:, :] - images[..., :-1, :]).abs().mean()
    return across + down

"""What a layer's per-example gradients are, from its inputs and the gradients of its outputs.

`a` is what the layer read, `delta` the gradient of the sum of the losses with respect to its output; both have the
examples along their first axis.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacit.learning.dp_sgd.engine import HUGE

Parts = dict[str, Tensor]
Pair = tuple[int, ...]


class Layer(ABC):
    """The gradients of one layer's parameters for the examples of one batch."""

    def __init__(self, module: Any) -> None:
        self.module = module

    @abstractmethod
    def of(self, a: Tensor, delta: Tensor) -> Layer:
        """The same layer for a batch."""

    @abstractmethod
    def squares(self) -> Tensor:
        """(B,) float64 squares of the norms of the gradients of its parameters, all of them together."""

    @abstractmethod
    def total(self, factors: Tensor, keep: Tensor | None) -> Parts:
        """The sum of the gradients of each parameter, weighted.

        Args:
            factors: weights of the examples that count.
            keep: which these are; None for all.
        """


def layer_of(module: Any) -> Layer | str:
    """The rule for a module that has parameters of its own; or why there is none."""
    kind = type(module)
    if not all(p.requires_grad for p in module.parameters(recurse=False)):
        return f"only some parameters of a {kind.__name__} are trained"
    if kind is nn.Linear:
        return Dense(module)
    if kind in (nn.Conv1d, nn.Conv2d):
        if isinstance(module.padding, str) or module.padding_mode != "zeros":
            return f"a {kind.__name__} with padding {module.padding!r}, {module.padding_mode!r}"
        return Convolution(module)
    if kind in (nn.LayerNorm, nn.GroupNorm):
        return Norm(module)
    if kind is nn.Embedding:
        if module.max_norm is not None or module.scale_grad_by_freq or module.sparse:
            return "an Embedding with max_norm, scale_grad_by_freq or sparse"
        return Lookup(module)
    return f"no rule for the norms of a {kind.__name__}"


def _kept(tensor: Tensor, keep: Tensor | None) -> Tensor:
    return tensor if keep is None else tensor.index_select(0, keep)


def _norms(tensor: Tensor) -> Tensor:
    """(B,) squares of norms."""
    norms: Tensor = torch.linalg.vector_norm(tensor.flatten(1), dim=1, dtype=torch.float64)
    return norms.square_()


def _lengths(rows: Tensor) -> Tensor:
    """(B, G T) the norms of rows (B, G, T, n)."""
    found: Tensor = torch.linalg.vector_norm(rows, dim=3)
    return found.flatten(1)


def _with_rounding(squares: Tensor, terms: Tensor) -> Tensor:
    """(B,) squares of norms of sums, with what their terms (B, T) may leave where they cancel in single precision."""
    left = terms.sum(1) * (terms.shape[1] * 2.0**-23)
    return (squares.clamp(min=0).sqrt() + left).square()


def _weighted(gradients: Tensor, factors: Tensor) -> Tensor:
    found: Tensor = torch.tensordot(factors, gradients, dims=1)
    return found


class Product(Layer):
    """Layers whose gradient of example i is `sum_t delta_it^T a_it` over positions t, for each group of channels."""

    read: Tensor
    flow: Tensor
    each: Tensor | None

    def over(self, read: Tensor, flow: Tensor) -> Layer:
        """`read` (B, G, T, in) and `flow` (B, G, T, out), where they lie as the product wants them.

        Gradients themselves, (B, G, out, in), are made where that takes less than the products of all positions.
        """
        self.read, self.flow, positions = read, flow, read.shape[2]
        small = 2 * positions**2 > read.shape[3] * flow.shape[3]
        self.each = flow.transpose(2, 3) @ read if small else None
        return self

    def squares(self) -> Tensor:
        """From `|a|^2 |delta|^2`, the products of positions, or the gradients."""
        if self.each is not None:
            found = _norms(self.each)
        elif self.read.shape[1:3] == (1, 1):
            found = _norms(self.read) * _norms(self.flow)
        else:
            read, flow = self.read.double(), self.flow.double()
            products = (read @ read.transpose(2, 3)) * (flow @ flow.transpose(2, 3))
            found = _with_rounding(products.flatten(1).sum(1), _lengths(read) * _lengths(flow))
        found = torch.where(_norms(self.read).to(found) < HUGE, found, torch.inf)
        return found if self.module.bias is None else found + _norms(self._biases())

    def _biases(self) -> Tensor:
        return self.flow.sum(2)

    def total(self, factors: Tensor, keep: Tensor | None) -> Parts:
        """See `Layer.total`."""
        if self.each is not None:
            weight = _weighted(_kept(self.each, keep), factors)
        else:
            flow = _kept(self.flow, keep) * factors[:, None, None, None]
            read = _kept(self.read, keep)
            weight = flow.permute(1, 3, 0, 2).flatten(2) @ read.transpose(0, 1).flatten(1, 2)
        found = {"weight": weight.reshape(self.module.weight.shape)}
        if self.module.bias is not None:
            found["bias"] = _weighted(_kept(self._biases(), keep), factors).flatten()
        return found


class Dense(Product):
    """Linear: positions are the axes between the first and the last, if any."""

    def of(self, a: Tensor, delta: Tensor) -> Layer:
        """`a` (B, ..., in) and `delta` (B, ..., out)."""
        count = len(a)
        return self.over(a.reshape(count, 1, -1, a.shape[-1]), delta.detach().reshape(count, 1, -1, delta.shape[-1]))


class Convolution(Product):
    """Convolution: a dense layer on patches."""

    def of(self, a: Tensor, delta: Tensor) -> Layer:
        """`a` (B, in, ...) and `delta` (B, out, ...)."""
        module = self.module
        kernel, dilation, stride, padding = module.kernel_size, module.dilation, module.stride, module.padding
        if isinstance(module, nn.Conv1d):
            a, kernel, dilation, stride, padding = (
                a[:, :, None],
                (1, *kernel),
                (1, *dilation),
                (1, *stride),
                (0, *padding),
            )
        patches = _patches(a, kernel, dilation, stride, padding)
        count, groups, positions = len(a), module.groups, patches.shape[-1]
        read = patches.view(count, groups, -1, positions).transpose(2, 3)
        return self.over(read, delta.detach().reshape(count, groups, -1, positions).transpose(2, 3))


def _patches(a: Tensor, kernel: Pair, dilation: Pair, stride: Pair, padding: Pair) -> Tensor:
    """What each output of a convolution reads, (B, in * patch, T), as `torch.nn.functional.unfold` has it, sooner."""
    a = F.pad(a, (padding[1], padding[1], padding[0], padding[0]))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    outputs = [(n - r) // s + 1 for n, r, s in zip(a.shape[2:], reach, stride, strict=True)]
    steps = a.stride()
    apart = (*steps[:2], *(n * d for n, d in zip(steps[2:], dilation, strict=True)))
    view = a.as_strided(
        (*a.shape[:2], *kernel, *outputs), (*apart, *(n * s for n, s in zip(steps[2:], stride, strict=True)))
    )
    return view.reshape(len(a), -1, outputs[0] * outputs[1])


class Norm(Layer):
    """LayerNorm and GroupNorm: a scale and a shift of each example's own normalised values."""

    def of(self, a: Tensor, delta: Tensor) -> Layer:
        """Gradients of scale and shift, (B, ...)."""
        module, delta = self.module, delta.detach()
        if isinstance(module, nn.LayerNorm):
            normal = F.layer_norm(a, module.normalized_shape, None, None, module.eps)
            axes = tuple(range(1, a.dim() - len(module.normalized_shape)))
        else:
            normal = F.group_norm(a, module.num_groups, None, None, module.eps)
            axes = tuple(range(2, a.dim()))
        self.each = {"weight": delta * normal}
        if module.bias is not None:
            self.each["bias"] = delta
        if axes:
            self.each = {name: each.sum(axes) for name, each in self.each.items()}
        return self

    def squares(self) -> Tensor:
        """See `Layer.squares`."""
        return torch.stack([_norms(each) for each in self.each.values()]).sum(0)

    def total(self, factors: Tensor, keep: Tensor | None) -> Parts:
        """See `Layer.total`."""
        return {name: _weighted(_kept(each, keep), factors) for name, each in self.each.items()}


class Lookup(Layer):
    """Embedding: rows of one table, of which an example may read one several times."""

    def of(self, a: Tensor, delta: Tensor) -> Layer:
        """`a` (B, ...) indices, `delta` (B, ..., n)."""
        self.a, self.delta = a.reshape(len(a), -1), delta.detach().reshape(len(a), -1, delta.shape[-1])
        if self.module.padding_idx is not None:
            self.delta = self.delta * (self.a != self.module.padding_idx)[..., None]
        return self

    def squares(self) -> Tensor:
        """Of the sums over equal indices."""
        same = self.a[:, :, None] == self.a[:, None, :]
        delta = self.delta.double()
        products = delta @ delta.transpose(1, 2)
        return _with_rounding((products * same).flatten(1).sum(1), torch.linalg.vector_norm(delta, dim=2))

    def total(self, factors: Tensor, keep: Tensor | None) -> Parts:
        """See `Layer.total`."""
        a, delta = _kept(self.a, keep), _kept(self.delta, keep) * factors[:, None, None]
        weight = torch.zeros_like(self.module.weight)
        return {"weight": weight.index_add_(0, a.reshape(-1), delta.reshape(-1, delta.shape[-1]))}

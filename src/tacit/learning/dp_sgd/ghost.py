"""Cut gradients without the gradients: norms from what each layer reads and what flows back to its output.

One forward pass, one backward pass that stops at the layers' outputs, the norms, and one product for each layer that
sums what was cut ([Goodfellow15] arXiv:1510.01799, [Li22] arXiv:2110.05679; one backward pass, as in [Bu23]
arXiv:2210.00038). No example's gradient of a dense layer is ever written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.func import vmap

from tacit.learning.batches import Examples
from tacit.learning.dp_sgd.engine import cut_factors
from tacit.learning.dp_sgd.layers import Layer, layer_of
from tacit.learning.dp_sgd.mixing import MIXED, ROWS, batch, chosen, mixing
from tacit.learning.task import Task


class Unsuited(Exception):
    """A model's layers are used in a way that the norms do not follow; the message says which."""


class Ghost:
    """For models whose parameters all belong to layers that `layers` knows, each of them called once."""

    name = "ghost"

    def __init__(self, task: Task) -> None:
        self.task, self.bound = task, task.bind()
        self._calls: list[tuple[str, Layer, Tensor, Any]] = []
        for name, module in self.bound.module.named_modules():
            if any(p.requires_grad for p in module.parameters(recurse=False)):
                self._watch(name, module)

    @classmethod
    def accepts(cls, task: Task, sample: Examples) -> str | None:
        """Why the model cannot be run so: None when it can, on examples like those of a sample."""
        return cls._unsuited(task) or mixing(task, sample) or cls._leaking(task, sample)

    @classmethod
    def _leaking(cls, task: Task, sample: Examples) -> str | None:
        """Whether what flows back to the layers from one example reaches the rows of others.

        It may even where no output shows it, as with `x - x.detach()`.
        """
        ghost, x = cls(task), batch(sample, ROWS)
        try:
            for training in (True, False):
                ghost._calls.clear()
                with torch.random.fork_rng(devices=()):
                    output = ghost.bound.module.train(training)(x.clone())
                ghost._require_rows(len(x))
                edges, looked = [edge for *_, edge in ghost._calls], chosen(len(x))
                flows: tuple[Tensor | None, ...] = torch.autograd.grad(output[looked].sum(), edges, allow_unused=True)
                others = [i for i in range(len(x)) if i not in looked]
                if any(flow is not None and bool(flow[others].count_nonzero()) for flow in flows):
                    return MIXED
        except Unsuited as reason:
            return str(reason)
        except Exception as error:  # whatever the user's model raises
            return f"its layers cannot be followed ({type(error).__name__})"
        return None

    @classmethod
    def _unsuited(cls, task: Task) -> str | None:
        seen: set[int] = set()
        for name, module in task.model.named_modules():
            own = [p for p in module.parameters(recurse=False) if p.requires_grad]
            reason = layer_of(module) if own else None
            if isinstance(reason, str):
                return f"{name or 'the model'}: {reason}"
            if any(id(p) in seen for p in own):
                return f"{name} shares its parameters with another layer"
            seen |= {id(p) for p in own}
        return None

    def _watch(self, name: str, module: nn.Module) -> None:
        layer = layer_of(module)
        if isinstance(layer, str):
            raise Unsuited(layer)

        def hook(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> Tensor | None:
            # The edge is that of the output before something writes into it, an in-place ReLU, say.
            self._calls.append((name, layer, given[0].detach(), get_gradient_edge(output)))
            # With channels innermost, what follows, max-pools above all, is several times faster on a CPU.
            return output.contiguous(memory_format=torch.channels_last) if isinstance(module, nn.Conv2d) else None

        module.register_forward_hook(hook)

    def total(self, inputs: Tensor, target: Tensor, norm: float) -> Tensor:
        """See `CutSum.total`."""
        self._calls.clear()
        losses = vmap(self._loss, randomness="different")(self.bound.module(inputs), target)
        self._require_rows(len(target))
        edges = [edge for *_, edge in self._calls]
        deltas = torch.autograd.grad(losses.sum(), edges, allow_unused=True)
        used = [(name, layer.of(read, delta)) for (name, layer, read, _), delta in self._used(deltas)]
        with torch.no_grad():
            factors = cut_factors(torch.stack([part.squares() for _, part in used]).sum(0), norm)
            return self._sum(used, factors)

    def _require_rows(self, rows: int) -> None:
        if len({name for name, *_ in self._calls}) < len(self._calls):
            raise Unsuited("a layer is called more than once")
        if any(len(read) != rows for _, _, read, _ in self._calls):
            raise Unsuited("a layer reads something else than one row for each example")

    def _used(self, deltas: tuple[Tensor | None, ...]) -> Any:
        for call, delta in zip(self._calls, deltas, strict=True):
            if delta is not None:
                yield call, delta

    def _loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self.task.loss(output[None], target[None])

    def _sum(self, used: list[tuple[str, Layer]], factors: Tensor) -> Tensor:
        sound = factors > 0
        keep = None if bool(sound.all()) else torch.nonzero(sound).flatten()
        factors = (factors if keep is None else factors[keep]).to(self.task.dtype)
        sum_of = torch.zeros_like(self.bound.x)
        parts = self.task.layout.unpack(sum_of)
        for name, layer in used:
            for own, g in layer.total(factors, keep).items():
                whole = f"{name}.{own}" if name else own
                if whole in parts:
                    parts[whole].copy_(g)
        return sum_of

"""What training does to a model besides moving its parameters: the buffers that it writes, and the state that it keeps.

Seen by trying: two passes of the model and the loss, in training mode, on a few real examples, on copies. A copy that
sees other examples tells a cache, which is the same for all data, from state that the first data leave. State is looked
for in the attributes of the model and the loss, and in what their code reaches by name.
"""

from __future__ import annotations

import copy
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tacit.learning.frozen import Freezer, frozen
from tacit.learning.reach import reached

EXAMPLES = 8
"""Examples that a probe looks at."""
TRIES = 4
"""How often a model is tried again where other threads may have changed what was looked at."""
OWN = ("_parameters", "_buffers", "_modules", "training")
Loss = Callable[[Tensor, Tensor], Any]


@dataclass(frozen=True)
class Probe:
    """Side effects of a forward pass in training mode, and of the loss.

    Attributes:
        buffers: names of the buffers that are written; of all finite ones, where the pass fails on so few examples.
        state: what else is changed, such as "encoder.calls", "loss", a global or "Class.attribute".
        chance: generators other than torch's that are drawn from.
    """

    buffers: frozenset[str]
    state: tuple[str, ...] = ()
    chance: tuple[str, ...] = ()

    @property
    def effects(self) -> str | None:
        """What of it survives from one client to the next, as words; None where nothing does."""
        found = [f"changes {', '.join(self.state[:3])}"] if self.state else []
        found += [f"draws from {' and '.join(self.chance)}"] if self.chance else []
        return f"a step of it {' and '.join(found)}" if found else None


def probe(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Probe:
    """Tries `model` and `loss` on the first examples of `x` and `y` (R, ...). Generators are left as they were.

    Where other threads run, what changed may be their doing: a model that changes something does so every time.
    """
    found = _probed(model, loss, x, y)
    for _ in range(TRIES):
        if found.effects is None or threading.active_count() == 1:
            break
        found = _probed(model, loss, x, y)
    return found


def _probed(model: nn.Module, loss: Loss, x: Tensor, y: Tensor) -> Probe:
    every = {name: bool(torch.isfinite(b).all()) for name, b in model.named_buffers()}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant
    rows = torch.arange(min(len(x), EXAMPLES))
    try:
        mine, other = _Trial(model, loss), _Trial(model, loss)
        with torch.random.fork_rng(devices=()), torch.no_grad():
            first = mine.step(x[rows], y[rows])
            elsewhere = other.step(x[rows // 2], y[rows // 2])
            second = mine.step(x[rows.flip(0)], y[rows.flip(0)])
        chance = ["random"] if random.getstate() != python else []
        chance += ["numpy.random"] if _drawn(numpy) else []
    except Exception:  # too few examples for BatchNorm, or a bad one: nothing is known of the buffers
        return Probe(frozenset(name for name, finite in every.items() if finite))
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
    changed = {n for n in {*first, *second} if first.get(n) != second.get(n) or first.get(n) != elsewhere.get(n)}
    return Probe(frozenset(mine.written() & every.keys()), tuple(sorted(changed)), tuple(chance))


class _Trial:
    """A copy of the model and the loss, and what it looked like at first."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self.model, self.loss = copy.deepcopy((model, loss))
        self.model.train()
        self.buffers = {n: (b, b._version, frozen(b)) for n, b in self.model.named_buffers()}

    def step(self, x: Tensor, y: Tensor) -> dict[str, list[Any]]:
        """Takes one pass, which always draws the same from torch's generator. Returns all state there is after it."""
        torch.manual_seed(0)
        self.loss(self.model(x), y)
        found: dict[str, list[Any]] = {}
        for name, value in self._state():
            found.setdefault(name, []).append(value)
        return found

    def _state(self) -> Iterator[tuple[str, Any]]:
        for path, module in self.model.named_modules():
            for name, value in vars(module).items():
                if name not in OWN and not name.endswith("_hooks"):
                    yield f"{path}.{name}".lstrip("."), frozen(value)
        yield from ((name, frozen(p)) for name, p in self.model.named_parameters())
        yield from ((name, frozen(b)) for name, b in self.model.named_buffers() if name not in self.buffers)
        yield "loss", frozen(self.loss)
        freezer = Freezer(foreign=False)  # one for all: a global may be a whole data set
        yield from (
            (name, freezer.of(value)) for name, value in reached(self.loss, self.model) if value is not self.loss
        )

    def written(self) -> set[str]:
        """The buffers that were written, even with what they held, or replaced."""
        now = dict(self.model.named_buffers())
        return {
            n
            for n, (tensor, version, bits) in self.buffers.items()
            if now.get(n) is not tensor or tensor._version != version or frozen(tensor) != bits
        }


def _drawn(before: Any) -> bool:
    now: Any = np.random.get_state()  # noqa: NPY002
    return before[2] != now[2] or not np.array_equal(before[1], now[1])

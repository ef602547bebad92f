"""What a model's forward pass does besides giving an output: the buffers that it moves, and the state that it keeps.

Seen by trying: two passes in training mode on a few real examples, on a copy of the model. What the first pass makes
once (a cache) is not counted.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

EXAMPLES = 8
"""Examples that a probe looks at."""
OWN = ("_parameters", "_buffers", "_modules", "training")
PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Probe:
    """Side effects of a forward pass in training mode.

    Attributes:
        buffers: names of the buffers that it moves; of all, where the pass fails on so few examples.
        state: Python attributes that it changes, such as "encoder.calls".
        chance: generators other than torch's that it draws from.
    """

    buffers: frozenset[str]
    state: tuple[str, ...] = ()
    chance: tuple[str, ...] = ()

    @property
    def effects(self) -> str | None:
        """What of it survives from one client to the next, as words; None where nothing does."""
        found = [f"changes {', '.join(self.state[:3])}"] if self.state else []
        found += [f"draws from {' and '.join(self.chance)}"] if self.chance else []
        return f"its forward pass {' and '.join(found)}" if found else None


def probe(model: nn.Module, x: Tensor) -> Probe:
    """Tries `model` on the first examples of `x` (R, ...). Generators are left as they were."""
    every = frozenset(name for name, _ in model.named_buffers())
    mine = copy.deepcopy(model).train()
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant
    try:
        with torch.random.fork_rng(devices=()), torch.no_grad():
            first = {n: b.clone() for n, b in mine.named_buffers()}
            mine(x[:EXAMPLES].clone())
            before = dict(_attributes(mine))
            mine(x[:EXAMPLES].flip(0))
        after = dict(_attributes(mine))
        moved = {n for n, b in mine.named_buffers() if n in every and not _same(first.get(n), b)}
        chance = ["random"] if random.getstate() != python else []
        chance += ["numpy.random"] if _drawn(numpy) else []
    except Exception:  # too few examples for BatchNorm, or a bad one: nothing is known of the buffers
        return Probe(every)
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
    changed = sorted(n for n in {*before, *after} if before.get(n) != after.get(n))
    return Probe(frozenset(moved), tuple(changed), tuple(chance))


def _same(before: Tensor | None, after: Tensor) -> bool:
    return before is not None and before.shape == after.shape and torch.equal(_bits(before), _bits(after))


def _bits(tensor: Tensor) -> Tensor:
    """As integers, for NaN equals itself."""
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _drawn(before: Any) -> bool:
    now: Any = np.random.get_state()  # noqa: NPY002
    return before[2] != now[2] or not np.array_equal(before[1], now[1])


def _attributes(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Every Python attribute of every module, as values that can be compared later."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in OWN and not name.endswith("_hooks"):
                yield f"{path}.{name}".lstrip("."), _frozen(value)


def _frozen(value: Any) -> Any:
    """Plain values as they are, containers item by item, tensors by their bits; anything else by which object it is."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor):
        return tuple(value.shape), _bits(value).numpy().tobytes() if value.numel() < 2**20 else id(value)
    if isinstance(value, list | tuple | deque):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, set | frozenset):
        return frozenset(_frozen(v) for v in value)
    if isinstance(value, dict):
        return tuple((_frozen(k), _frozen(v)) for k, v in value.items())
    return id(value)

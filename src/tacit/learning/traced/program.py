"""The compiled steps of one task, one for each batch length, with the memory that they work on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tacit.learning.task import Task
from tacit.learning.traced.capture import Capture, Tracer
from tacit.learning.traced.channels import convolved, keep_draws, pooled_alike
from tacit.learning.traced.emit import Step, emit
from tacit.learning.traced.passes import simplify
from tacit.learning.traced.storage import Storage
from tacit.learning.traced.updates import Ending, finish


class Program:
    """Parameters, gradient and buffers of one client, and the steps that act on them.

    Attributes:
        storage: parameters; every step reads and writes them here.
        gradient: (d,) what a step with `Ending.GATHERED` leaves, in the storage's order.
        state: one tensor for each buffer of the model.
        written: numbers of the buffers that a step that was captured so far writes to.
        draws: whether a step that was captured so far draws random numbers.
    """

    def __init__(self, task: Task) -> None:
        self.task, self.tracer = task, Tracer(task)
        self.gradient = torch.zeros(task.d, dtype=task.dtype)
        buffers = dict(task.model.named_buffers())
        self.first = [b.detach().clone() for b in buffers.values()]
        self.state = [b.clone() for b in self.first]
        self.number = {name: i for i, name in enumerate(buffers)}
        self.written: set[int] = set()
        self.draws = False
        self.storage = self._stored(frozenset())
        self._decided = False
        self._steps: dict[tuple[Any, ...], Step] = {}

    def step(self, x: Tensor, y: Tensor, ending: Ending) -> Step:
        """The step for batches like `x` and `y`, captured when it is wanted first.

        Returns:
            `step(x, y, rate)`, `step(x, y, rate, keep, shift)` or `step(x, y)`, by `ending` (see `Inputs`); it returns
            the loss.

        Raises:
            Untraceable: see `Tracer.capture`.
        """
        key = (ending, x.shape, x.dtype, y.shape, y.dtype)
        if key not in self._steps:
            self._steps[key] = self.build(self.capture(x, y), x, y, ending)
        return self._steps[key]

    def build(self, capture: Capture, x: Tensor, y: Tensor, ending: Ending) -> Step:
        """The step of a capture, which is used up."""
        self.draws = self.draws or capture.draws
        self.written |= capture.writes
        simplify(capture.module.graph)
        return self._emitted(capture, self.prepare(x), y, ending)

    def _emitted(self, capture: Capture, x: Tensor, y: Tensor, ending: Ending) -> Step:
        inputs = finish(capture, ending)
        fixed = dict(zip(capture.params, self.storage.parts, strict=True))
        fixed |= dict(zip(capture.buffers, self.state, strict=True))
        fixed |= dict(zip(inputs.places, self.storage.views(self.gradient), strict=False))
        sample: dict[Any, Any] = {capture.x: x, capture.y: y}
        if inputs.rate is not None:
            sample[inputs.rate] = 0.0
        if inputs.keep is not None and inputs.shift is not None:
            sample |= {inputs.keep: 1.0, inputs.shift: nothing}
        return emit(capture.module, fixed, sample)

    def capture(self, x: Tensor, y: Tensor) -> Capture:
        """The graph for such batches. The first capture decides which convolution weights are kept channels-last."""
        if not self._decided:
            self._decided = True
            return self._decide(x, y)
        found = self.tracer.capture(self.storage.parts, self.state, self.prepare(x), y)
        if self.storage.last and found.draws:
            keep_draws(found, self._plain(x, y))
        pooled_alike(found.module.graph)
        return found

    def _plain(self, x: Tensor, y: Tensor) -> Capture:
        return self.tracer.capture(self._stored(frozenset()).parts, self.state, x, y)

    def _decide(self, x: Tensor, y: Tensor) -> Capture:
        plain = self._plain(x, y)
        last = frozenset(self.task.layout.names[i] for i in convolved(plain))
        if not last:
            return plain
        self.storage = self._stored(last)
        moved = self.tracer.capture(self.storage.parts, self.state, self.prepare(x), y)
        if keep_draws(moved, plain):
            pooled_alike(moved.module.graph)
            return moved
        self.storage = self._stored(frozenset())
        return plain

    def _stored(self, last: frozenset[str]) -> Storage:
        storage = Storage(self.task.layout, self.task.dtype, last)
        storage.inward(self.task.initial()[0], storage.flat)
        return storage

    def prepare(self, x: Tensor) -> Tensor:
        """Inputs in the memory layout that the steps were captured with."""
        return x.contiguous(memory_format=torch.channels_last) if self.storage.last and x.dim() == 4 else x

    def load(self, parameters: Tensor, buffers: Tensor) -> None:
        """Puts a client at parameters (d,), in the storage's order, and buffers (b,)."""
        self.storage.flat.copy_(parameters)
        travelling = self._views(buffers)
        for i in self.written | set(travelling):
            self.state[i].copy_(travelling.get(i, self.first[i]))

    def store(self, start: Tensor, update: Tensor, buffers: Tensor) -> None:
        """Puts how far the client went from `start` into `update` (d,), and its buffers into (b,)."""
        self.storage.moved_from(start, update)
        for i, view in self._views(buffers).items():
            view.copy_(self.state[i])

    def _views(self, vector: Tensor) -> dict[int, Tensor]:
        """The buffers that travel, by their number, as views of (b,)."""
        return {self.number[name]: view for name, view in self.task.buffer_layout.unpack(vector).items()}


def nothing() -> None:
    """The shift of a step that has none."""

"""The fused engine: a whole block of clients in one compiled call. It runs multilayer perceptrons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.errors import DataError, IncompatibleOptions
from tacit.learning.batches import Examples
from tacit.learning.fused.chain import Activation, Criterion, Refused
from tacit.learning.fused.recognise import recognise
from tacit.learning.solver import SGD, Adam, Solver
from tacit.learning.step import LocalRun, Perturbation
from tacit.learning.task import Task

if TYPE_CHECKING:
    from tacit.learning.fused.kernel import Block, Data, Net, Space
    from tacit.learning.fused.update import Rule

LANES = 16
"""Places in the workspace are multiples of it, so that every matrix starts on a cache line."""
LARGEST = 2**31 - 1
NOISE = 2**17
"""Draws of noise that are made at a time, a megabyte: what a core's cache holds beside a model."""
UNDERIVED = (Activation.IDENTITY, Activation.RELU)


def _aligned(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Zeros that start on a cache line."""
    store = np.zeros(size + LANES, dtype)
    skip = (-store.ctypes.data % 64) // dtype.itemsize
    return store[skip : skip + size]


class FusedEngine:
    """Multilayer perceptrons with a common loss, under SGD or Adam: no Python between the steps, no GIL.

    One instance per worker thread.

    Args:
        task, solver: what `accepts` accepts.

    Raises:
        IncompatibleOptions: they are something else.
    """

    name = "fused"
    threads = True
    private = True

    def __init__(self, task: Task, solver: Solver) -> None:
        reason = self.accepts(task, solver)
        if reason is not None:
            raise IncompatibleOptions(f"the fused engine cannot run this task: {reason}; use the eager engine")
        self.task, self.solver, self.chain = task, solver, recognise(task)
        self.dtype = np.dtype(np.float32 if task.dtype == torch.float32 else np.float64)
        self._batch = 0
        self._places: NDArray[np.int64]
        self._net: Net
        self._space: Space

    @classmethod
    def accepts(cls, task: Task, solver: Solver, sample: Examples | None = None) -> str | None:
        """None where the engine can run `task` with `solver`, on examples like `sample`, else the reason."""
        from tacit.learning.fused import blas

        if type(solver) not in (SGD, Adam):
            return f"the solver is a {type(solver).__name__}, not SGD or Adam"
        try:
            chain = recognise(task)
            blas.find()
        except (Refused, blas.NoBlas) as refused:
            return str(refused)
        if chain.squeezed and chain.criterion is Criterion.CROSS_ENTROPY:
            return "cross-entropy needs one output for each class"
        if task.d > LARGEST:
            return f"the model has {task.d} parameters, more than a 32-bit product can address"
        return None if sample is None else cls(task, solver).refuses(sample)

    def refuses(self, examples: Examples) -> str | None:
        """None where the examples have the shapes and types that the kernel reads, else the reason."""
        x, y, last = examples.x, examples.y, self.chain.layers[-1]
        if x.device.type != "cpu" or y.device.type != "cpu":
            return f"the examples are on {x.device} and {y.device}, not on the CPU"
        if x.dtype != self.task.dtype:
            return f"the inputs are {x.dtype}, the model is {self.task.dtype}"
        inputs = self.chain.layers[0].inputs
        if x.dim() < 2 or (x.dim() > 2 and not self.chain.flattened) or x.shape[1:].numel() != inputs:
            return f"the inputs have shape {tuple(x.shape)}, the model takes (R, {inputs})"
        if not x.is_contiguous() or not y.is_contiguous():
            return "the examples are not contiguous"
        if self.chain.criterion is Criterion.CROSS_ENTROPY:
            dtype, shape = torch.int64, [len(y)]
        else:
            dtype, shape = self.task.dtype, [len(y)] if self.chain.squeezed else [len(y), last.outputs]
        if y.dtype != dtype or list(y.shape) != shape:
            return f"the targets are {y.dtype} of shape {list(y.shape)}, the loss takes {dtype} of shape {shape}"
        return None

    def run(self, job: LocalRun, update: Tensor, buffers: Tensor, loss: Tensor) -> Tensor:
        """See `Engine.run`.

        Raises:
            IncompatibleOptions: the examples are of a kind that `refuses` refuses.
            DataError: a class label is not in [0, classes).
        """
        from tacit.learning.fused import blas, kernel

        reason = self.refuses(job.examples)
        if reason is not None:
            raise IncompatibleOptions(f"the fused engine cannot read these examples: {reason}; use the eager engine")
        self._check_shapes(job, update, loss)
        self._reserve(int(job.batches.lengths.max(initial=1)))
        losses, moved = np.zeros(len(loss)), np.zeros(len(loss))
        with blas.one_thread():
            if job.perturbation is not None:
                self._run_private(job, job.perturbation, update, moved)
            else:
                block = self._block(job, update)
                row = kernel.compiled()(self._net, self._rule(job), self._space, self._data(job), block, losses, moved)
                if row >= 0:
                    raise self._strange(row, job)
        loss.copy_(torch.from_numpy(losses))
        return torch.from_numpy(moved)

    def _run_private(self, job: LocalRun, steps: Perturbation, update: Tensor, moved: NDArray[np.float64]) -> None:
        """Client after client, as many steps at a time as there is room for their noise."""
        from tacit.learning.fused import private

        rule, data, block, d = self._rule(job), self._data(job), self._block(job, update), self.task.d
        train, at_once = private.compiled(), max(1, NOISE // d)
        space = np.zeros(self._batch), np.zeros(max(layer.outputs for layer in self.chain.layers))
        for k, count in enumerate(job.batches.steps.tolist()):
            for first in range(0, count, at_once):
                last = min(first + at_once, count)
                noise = steps.draws[k].normal((last - first) * d)
                scale, expected = steps.noise[k] * steps.clip, float(steps.expected[k])
                how = private.Private(steps.norm, scale, expected, noise, self._places, *space)
                moved[k] = train(self._net, rule, self._space, data, block, how, k, first, last)
                if moved[k] < 0:
                    raise self._strange(int(-moved[k] - 1), job)

    def _strange(self, row: int, job: LocalRun) -> DataError:
        """What to say of an example whose label is no class."""
        start, size, classes = job.examples.start, job.examples.size, self.chain.layers[-1].outputs
        owner = int(np.flatnonzero((start <= row) & (row < start + size))[0])
        return DataError(
            f"its example {row - int(start[owner])} has the class label {int(job.examples.y[row])}: the model has "
            f"{classes} outputs, so number the classes 0 to {classes - 1}"
        )

    def _check_shapes(self, job: LocalRun, update: Tensor, loss: Tensor) -> None:
        """Compiled code writes where it is told to, so what it is told is checked."""
        clients, d, dtype = len(job.batches.client) - 1, self.task.d, self.task.dtype
        wanted = {"x": (job.x[None], 1), "update": (update, clients), "offset": (job.correction.offset, clients)}
        for name, (vectors, count) in wanted.items():
            if vectors is None:
                continue
            if vectors.shape != (count, d) or vectors.dtype != dtype or (d > 1 and vectors.stride(-1) != 1):
                raise ValueError(
                    f"{name} is {tuple(vectors.shape)} {vectors.dtype} with strides {vectors.stride()}: "
                    f"give ({count}, {d}) {dtype}, contiguous along its last axis"
                )
        if loss.shape != (clients,):
            raise ValueError(f"loss has shape {tuple(loss.shape)}: give ({clients},)")

    def _reserve(self, batch: int) -> None:
        """Makes the workspace large enough for batches of `batch` examples."""
        if batch <= self._batch:
            return
        from tacit.learning.fused import blas, kernel

        found, chain, places = blas.find(), self.chain, self.task.layout
        layers = np.zeros((len(chain.layers), 7), np.int64)
        end = _up(batch * chain.layers[0].inputs)
        for row, layer in zip(layers, chain.layers, strict=True):
            value, end = end, end + _up(batch * layer.outputs)
            slope, end = end, end + (0 if layer.activation in UNDERIVED else _up(batch * layer.outputs))
            bias = -1 if layer.bias is None else places[layer.bias].start
            row[:] = layer.inputs, layer.outputs, places[layer.weight].start, bias, layer.activation, value, slope
        widest = max(max(layer.inputs, layer.outputs) for layer in chain.layers)
        flows = [_up(batch * layer.outputs) for layer in chain.layers]
        self._places = np.cumsum([0, *flows[:-1]]).astype(np.int64)
        slots = self.solver.slots()
        self._net = kernel.Net(
            found.sgemm if self.dtype == np.float32 else found.dgemm,
            found.tiled,
            layers,
            np.array([(layer.p, layer.q) for layer in chain.layers]),
            int(chain.criterion),
            chain.delta,
        )
        self._space = kernel.Space(
            rows=_aligned(end, self.dtype),
            near=_aligned(max(batch * widest, sum(flows)), self.dtype),
            far=_aligned(batch * widest, self.dtype),
            g=_aligned(max(places.sizes), self.dtype),
            m=_aligned(self.task.d if slots > 0 else 0, self.dtype),
            v=_aligned(self.task.d if slots > 1 else 0, self.dtype),
        )
        self._batch = batch

    def _rule(self, job: LocalRun) -> Rule:
        from tacit.learning.fused import update

        solver, lr, proximal = self.solver, float(job.lr), float(job.correction.proximal)
        if isinstance(solver, Adam):
            decay = float(solver.weight_decay)
            return update.Rule(update.ADAM, lr, decay, proximal, solver.beta1, solver.beta2, solver.eps)
        assert isinstance(solver, SGD)
        kind = update.NESTEROV if solver.nesterov else update.MOMENTUM if solver.momentum else update.PLAIN
        return update.Rule(kind, lr, float(solver.weight_decay), proximal, float(solver.momentum), 0.0, 0.0)

    def _data(self, job: LocalRun) -> Data:
        from tacit.learning.fused import kernel

        labelled, batches = self.chain.criterion is Criterion.CROSS_ENTROPY, job.batches
        y = job.examples.y.reshape(-1).numpy()
        order, cut, client = (np.require(v, np.int64, ["C", "W"]) for v in (batches.order, batches.cut, batches.client))
        nothing = np.zeros(0, self.dtype), np.zeros(0, np.int64)
        target, labels = (nothing[0], y) if labelled else (y, nothing[1])
        return kernel.Data(job.examples.x.reshape(-1).numpy(), target, labels, order, cut, client)

    def _block(self, job: LocalRun, update: Tensor) -> Block:
        from tacit.learning.fused import kernel

        values, stride = _spanned(update)
        offset, apart = torch.zeros(0, dtype=self.task.dtype), 0
        if job.correction.offset is not None:
            offset, apart = _spanned(job.correction.offset)
        return kernel.Block(job.x.contiguous().numpy(), values.numpy(), stride, offset.numpy(), apart)


def _up(size: int) -> int:
    """`size`, rounded up to a whole number of cache lines."""
    return -(-size // LANES) * LANES


def _spanned(rows: Tensor) -> tuple[Tensor, int]:
    """A (K, d) tensor, whose rows may lie apart, as the vector that it spans, and the distance between its rows."""
    stride = rows.stride(0) if len(rows) > 1 else rows.shape[1]
    return rows.as_strided((stride * (len(rows) - 1) + rows.shape[1],), (1,)), stride

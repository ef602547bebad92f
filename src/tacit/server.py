"""What the server knows between two rounds, and the step that it takes from one sum."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from tacit.aggregation.stage import Chain
from tacit.algorithms.base import Algorithm
from tacit.errors import StorageError, UsageError
from tacit.learning.layout import Layout, Parts
from tacit.learning.task import Task
from tacit.record.checkpoint import load_tensors
from tacit.venue.fold import Total
from tacit.venue.memory import ClientMemory


class Server:
    """The state of a run, from round to round.

    Attributes:
        state: the algorithm's state; "x" is the model (d,).
        buffers: (b,) the model's buffers.
        stages: the state of every stage.
        memory: what the clients remember, in simulation.
    """

    def __init__(self, task: Task, algorithm: Algorithm, chain: Chain, clients: int) -> None:
        self.task, self.algorithm, self.chain, self.clients = task, algorithm, chain, clients
        x, self.buffers = task.initial()
        self.state = algorithm.init(x)
        self.stages = chain.init()
        self.memory = ClientMemory(clients, algorithm.memory(task.d), task.dtype)

    def broadcast(self) -> tuple[Layout, Tensor]:
        """What goes down in this round: its layout, the same in every round, and one flat vector."""
        down = self.algorithm.broadcast(self.state) | {"buffers": self.buffers}
        down |= self.chain.broadcast(self.stages)
        layout = Layout.like(down)
        return layout, layout.pack(down)

    def step(self, total: Total) -> Parts:
        """One server step from one sum; clients that were counted commit their memory.

        Returns:
            The weighted mean of every part of the reports, and "weight", the sum of the weights; float64.
        """
        summed, self.stages = self.chain.decode(total.total, self.stages)
        parts = self.chain.layouts[0].unpack(summed)
        weight = parts.pop("weight")
        mean = {name: value / weight for name, value in parts.items()}
        self.state = self.algorithm.apply(self.state, mean, len(total.counted), self.clients)
        if "buffers" in mean:
            self.buffers = mean["buffers"].to(self.buffers.dtype)
        self.memory.commit(total.counted)
        return mean | {"weight": weight}

    def start_from(self, start: Mapping[str, Tensor] | str | Path) -> None:
        """Begins with other weights than the model's own.

        Raises:
            UsageError: weights that do not fit the model.
            StorageError: a file that cannot be read.
        """
        tensors = start if isinstance(start, Mapping) else load_tensors(Path(start))
        layout, buffers = self.task.layout, self.task.buffer_layout
        pairs = list(zip(layout.names, layout.shapes, strict=True))
        missing = [name for name, _ in pairs if name not in tensors]
        wrong = [name for name, shape in pairs if name in tensors and tuple(tensors[name].shape) != shape]
        if missing or wrong:
            raise UsageError(f"the weights to start from do not fit the model: missing {missing}, other shapes {wrong}")
        broken = [name for name in layout.names if not bool(torch.isfinite(tensors[name]).all())]
        if broken:
            raise UsageError(f"the weights to start from hold NaN or Inf in {broken}: take an earlier checkpoint")
        self.state = self.algorithm.init(layout.pack({n: tensors[n].to(self.task.dtype) for n in layout.names}))
        if buffers.size and all(n in tensors for n in buffers.names):
            self.buffers = buffers.pack({n: tensors[n].to(self.task.dtype) for n in buffers.names})

    def tensors(self) -> dict[str, Tensor]:
        """Everything above, by name, for a checkpoint."""
        clients, memory = self.memory.export()
        named = {f"state.{name}": value for name, value in self.state.items()} | {"buffers": self.buffers}
        named |= {f"stage{i}.{name}": value for i, stage in enumerate(self.stages) for name, value in stage.items()}
        return named | {"memory.clients": torch.from_numpy(clients), "memory.values": memory}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Puts back what `tensors` gave.

        Raises:
            StorageError: a part is missing, or is not of the shape and type that this run has.
        """
        mine = self.tensors()
        clients, values = "memory.clients", "memory.values"
        wrong = [n for n in mine if n not in tensors or tensors[n].dtype != mine[n].dtype]
        wrong += [n for n in set(mine) - {clients, values, *wrong} if tensors[n].shape != mine[n].shape]
        if not wrong and not self.memory.fits(tensors[clients].numpy(), tensors[values]):
            wrong = [clients, values]
        if wrong:
            raise StorageError(f"the checkpoint is damaged in {', '.join(sorted(wrong))}: go on from an earlier one")
        self.state = {name: tensors[f"state.{name}"] for name in self.state}
        self.buffers = tensors["buffers"]
        self.stages = [{n: tensors[f"stage{i}.{n}"] for n in stage} for i, stage in enumerate(self.stages)]
        self.memory.restore(tensors[clients].numpy(), tensors[values])

    def model(self) -> nn.Module:
        """The model as it stands, in evaluation mode."""
        return self.task.install(self.state["x"], self.buffers)

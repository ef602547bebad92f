"""What the server knows between two rounds, and the step that it takes from one sum."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from tacit.aggregation.stage import Chain
from tacit.algorithms.base import Algorithm
from tacit.errors import Problems, StorageError, TacitWarning, UsageError
from tacit.learning.layout import Layout, Parts
from tacit.learning.solver import lr_at
from tacit.learning.submodel import Submodels
from tacit.learning.task import Task
from tacit.record.checkpoint import load_tensors
from tacit.venue.fold import Total
from tacit.venue.memory import ClientMemory


@dataclass(frozen=True)
class Public:
    """Numbers that stand in, in a private run, for those that follow from who took part.

    Attributes:
        weight: what a sum of reports is divided by to be a mean.
        counted: how many clients a round has on average.
    """

    weight: float
    counted: float


class Server:
    """The state of a run, from round to round.

    Attributes:
        state: the algorithm's state; "x" is the model (d,).
        buffers: (b,) the model's buffers.
        stages: the state of every stage.
        memory: what the clients remember, in simulation; elsewhere it is empty, for each keeps its own.
        submodels: the models of every kind of work, where weak devices train narrower ones.
    """

    def __init__(
        self,
        task: Task,
        algorithm: Algorithm,
        chain: Chain,
        clients: int,
        public: Public | None = None,
        submodels: Submodels | None = None,
        *,
        remembers: bool = True,
    ) -> None:
        self.submodels = submodels
        self.task, self.algorithm, self.chain, self.clients, self.public = task, algorithm, chain, clients, public
        x, self.buffers = task.initial()
        self.state = algorithm.init(x)
        self.stages = chain.init()
        size = algorithm.memory(task.d) + chain.memory if remembers else 0
        self.memory = ClientMemory(clients, size, task.dtype)

    def broadcast(self) -> tuple[Layout, Tensor]:
        """What goes down in this round: its layout, the same in every round, and one flat vector."""
        down = self.algorithm.broadcast(self.state) | {"buffers": self.buffers}
        down |= self.chain.broadcast(self.stages)
        layout = Layout.like(down)
        return layout, layout.pack(down)

    def step(self, total: Total, round: int) -> Parts:
        """One server step from one sum; clients that were counted commit their memory.

        Args:
            total: of the reports, with noise where the run is private.
            round: from 0.

        Returns:
            The weighted mean of every part of the reports, and "weight", the sum of the weights; float64.
        """
        summed, self.stages = self.chain.decode(total.total, self.stages)
        parts = self.chain.layouts[0].unpack(summed)
        if self.public is None:
            weight, counted, known = parts.pop("weight"), float(len(total.counted)), Parts()
        else:
            weight, counted = torch.tensor(self.public.weight, dtype=torch.float64), self.public.counted
            known = self.algorithm.public(lr_at(self.algorithm.solver, round))
        mean = known | {name: value / weight for name, value in parts.items()}
        covered = None
        if self.submodels is not None:
            covered = self.submodels.coverage(mean.pop("widths"))
            mean["update"] = self.submodels.mean(mean["update"], covered)
        before = self.state["x"]
        self.state = self.algorithm.apply(self.state, mean, counted, self.clients)
        if covered is not None:  # a server's momentum would move on what nobody has
            self.state["x"] = torch.where(covered > 0, self.state["x"], before)
        if "buffers" in mean:
            self.buffers = mean["buffers"].to(self.buffers.dtype)
        self.memory.commit(total.counted)
        return mean | {"weight": weight}

    def start_from(self, start: Mapping[str, Tensor] | str | Path) -> None:
        """Begins with other parameters and buffers than the model's own; those that `start` lacks stay, with a warning.

        Raises:
            UsageError: weights that do not fit the model, or that no report could change.
            StorageError: a file that cannot be read.
        """
        tensors = start if isinstance(start, Mapping) else load_tensors(Path(start))
        layout, buffers = self.task.layout, self.task.buffer_layout
        with Problems("the run cannot begin with these weights", UsageError) as problems:
            missing = [name for name in layout.names if name not in tensors]
            problems.check(not missing, f"missing {missing}: give all that are trained, as model.state_dict()")
            pairs = [*zip(layout.names, layout.shapes, strict=True), *zip(buffers.names, buffers.shapes, strict=True)]
            for name, shape in pairs:
                if name in tensors and tuple(tensors[name].shape) != shape:
                    problems.add(f"{name} has shape {tuple(tensors[name].shape)}, the model's has {shape}")
                elif name in tensors and not bool(torch.isfinite(tensors[name]).all()):
                    problems.add(f"{name} holds NaN or Inf: take an earlier checkpoint")
            others = self._fixed(tensors)
            problems.check(
                not others,
                f"{others} have other values than the model's, and no report carries them: load them into the model "
                "before the Task is made, model.load_state_dict(weights)",
            )
        lacking = [name for name in buffers.names if name not in tensors]
        if lacking:
            text = f"the weights to begin with lack the buffers {lacking}: they begin as the model has them"
            warnings.warn(text, TacitWarning, stacklevel=4)
        self.state = self.algorithm.init(layout.pack({n: tensors[n].to(self.task.dtype) for n in layout.names}))
        own = buffers.unpack(self.buffers)
        for name in set(buffers.names) - set(lacking):
            own[name].copy_(tensors[name])

    def _fixed(self, tensors: Mapping[str, Tensor]) -> list[str]:
        """Frozen parameters and constant buffers whose values in `tensors` are others than the model's.

        Counters do not count: every client begins with the model's own.
        """
        model, task = self.task.model, self.task
        fixed: dict[str, Tensor] = {n: p for n, p in model.named_parameters() if not p.requires_grad}
        fixed |= {n: b for n, b in model.named_buffers() if n not in task.buffer_layout}
        counters = {n for n in task.moving if n in fixed and not fixed[n].is_floating_point()}
        return [n for n, mine in fixed.items() if n in tensors and n not in counters and not _equal(mine, tensors[n])]

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


def _equal(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.detach(), other.detach().to(one.dtype))

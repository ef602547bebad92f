"""What a block of clients is asked to do: local training, and how its reports are laid out and weighed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.stage import Chain
from tacit.algorithms.base import Algorithm
from tacit.learning.layout import Layout
from tacit.learning.solver import lr_at
from tacit.learning.step import Engine
from tacit.learning.submodel import Submodel
from tacit.learning.task import Task
from tacit.population.population import Population
from tacit.venue.memory import ClientMemory

if TYPE_CHECKING:
    from tacit.privacy.record_guard import Records

Int = NDArray[np.int64]


class Uplink(Protocol):
    """Where clients send their encoded reports."""

    def take(self, clients: Int, integers: Tensor) -> None:
        """Reports (K, m) of whole numbers of the clients (K,); their memory is used again."""
        ...


@dataclass(frozen=True)
class LocalTraining:
    """Broadcast in, sum of reports out: batches, local steps, message, weight, stages, sum.

    A report is `w_k` times the parts of the algorithm's message, the model's buffers, the training loss, the ratio
    `n_k / w_k` and 1, so that every column of a round's record comes out of the same sum.

    Attributes:
        down: layout of the broadcast.
        make_engine: makes one engine for each worker.
        most_examples: a client counts by at most so many of its examples, and at most 1; None for as the method says.
        plant: writes into the updates (K, d) of the clients (K,) that are canaries of an audit; None without one.
        records: makes the local steps private, record by record; None where they are not.
        chance: the seed of models that draw random numbers; None takes `seed`. In a private run it is a secret: what a
            block draws may depend on all of its clients, and nobody may be able to undo that.
        most_weight: no client counts for more than so many examples; None for any number.
        uplink: takes every client's encoded report, where the sum is computed elsewhere; None sums them here.
        tells_losses: every client tells its training loss, beside its report and unprotected.
        kinds: the same for each kind of work, where weak devices are asked for less; empty for one kind.
        kind: which of them this is.
        submodel: the narrower model that is trained; None for the whole one.
        measured: parts of the report that hold a metric of the model that was sent, each with the metric's name.
    """

    task: Task
    algorithm: Algorithm
    population: Population
    memory: ClientMemory
    chain: Chain
    down: Layout
    make_engine: Callable[[], Engine]
    seed: int
    most_examples: int | None = None
    plant: Callable[[Int, Tensor], None] | None = None
    records: Records | None = None
    chance: int | None = None
    most_weight: float | None = None
    uplink: Uplink | None = None
    measured: Mapping[str, str] = field(default_factory=dict)
    tells_losses: bool = False
    kinds: tuple[LocalTraining, ...] = ()
    kind: int = 0
    submodel: Submodel | None = None

    @property
    def layout(self) -> Layout:
        """The layout of a report before the stages."""
        return self.chain.layouts[0]

    @staticmethod
    def report_layout(task: Task, algorithm: Algorithm, loss: bool = True, widths: int = 0) -> Layout:
        """The layout of a report before the stages.

        Args:
            task, algorithm: of the run.
            loss: with the training loss.
            widths: of how many models it says which one was trained.
        """
        layout = algorithm.parts(task.d)
        if widths:
            layout = layout.extend("widths", (widths,))
        if task.buffer_layout.size:
            layout = layout.extend("buffers", (task.buffer_layout.size,))
        return (layout.extend("loss") if loss else layout).extend("examples").extend("weight")

    @staticmethod
    def private_layout(task: Task, algorithm: Algorithm, more: Sequence[str]) -> Layout:
        """The layout of a report of which every number is clipped and noised: no counts, and nothing that is public.

        Args:
            task, algorithm: of the run.
            more: numbers beside the message that are released.
        """
        parts, public = algorithm.parts(task.d), algorithm.public(lr_at(algorithm.solver, 0))
        layout = Layout.of(**{n: s for n, s in zip(parts.names, parts.shapes, strict=True) if n not in public})
        for name in more:
            layout = layout.extend(name)
        return layout

    def weigh(self, examples: Tensor) -> Tensor:
        """(K,) how much clients with so many examples (K,) count."""
        if self.most_examples is not None:
            return examples.clamp(max=self.most_examples) / self.most_examples
        alike = self.algorithm.weights == "uniform" or (self.algorithm.weights == "auto" and self.chain.zeroes)
        if alike:
            return torch.ones_like(examples)
        return examples if self.most_weight is None else examples.clamp(max=self.most_weight)

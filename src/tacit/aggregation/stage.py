"""Stages: transforms of the report around the sum, composed and checked before the run.

A stage encodes reports on the client and decodes their total on the server. It declares the domain of numbers that
it takes and gives, and whether the sum of its outputs is its output for the sum (`additive`): a chain in which these do
not fit is refused when it is put together, with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from tacit.aggregation.fixed_point import FixedPoint
from tacit.errors import IncompatibleOptions
from tacit.learning.layout import Layout, Parts

REAL, INTEGER, MASKED, CIPHERTEXT = "real", "integer", "masked", "ciphertext"


class Stage(Protocol):
    """A transform around the sum. All methods act on `(..., m)`.

    A stage with the attribute `zeroes = True` makes a report that is not finite a report of zeros, which counts.
    """

    takes: ClassVar[str]
    gives: ClassVar[str]
    additive: ClassVar[bool]

    def bind(self, layout: Layout) -> Layout:
        """The layout of what this stage gives, from the layout of what it takes; side statistics extend it."""
        ...

    def init(self) -> Parts:
        """The stage's state on the server."""
        ...

    def broadcast(self, state: Parts) -> Parts:
        """What this stage needs on the clients, once per round."""
        ...

    def encode(self, report: Tensor, layout: Layout, down: Parts) -> Tensor:
        """Reports (K, m) to encoded reports; `report` may be overwritten."""
        ...

    def decode(self, total: Tensor, layout: Layout, state: Parts) -> tuple[Tensor, Parts]:
        """The sum of encoded reports to the sum of reports, and the stage's next state."""
        ...


@dataclass(frozen=True)
class Chain:
    """Stages in order, bound to a report's layout. An empty chain passes reports through.

    Attributes:
        stages: outermost (nearest the client's update) first.
        layouts: what each stage takes; the last entry is what comes out of the last.
        grid: on which real numbers are summed as whole ones; None sums them as they are.
    """

    stages: tuple[Stage, ...]
    layouts: tuple[Layout, ...]
    grid: FixedPoint | None = None

    @classmethod
    def of(cls, stages: Sequence[Stage], layout: Layout, grid: FixedPoint | None = None) -> Chain:
        """Binds `stages` to `layout`, and to the grid what comes out of them where it is real.

        Raises:
            IncompatibleOptions: a stage does not take what the one before it gives, or is not additive.
        """
        domain, layouts = REAL, [layout]
        for stage in stages:
            name = type(stage).__name__
            if stage.takes != domain:
                raise IncompatibleOptions(
                    f"{name} takes {stage.takes} numbers, but gets {domain} ones: change the order"
                )
            if not stage.additive:
                raise IncompatibleOptions(
                    f"{name} is not additive: the sum of its outputs is not the output of the sum"
                )
            domain = stage.gives
            layouts.append(stage.bind(layouts[-1]))
        grid = grid if domain == REAL else None
        if grid is not None:
            grid.bind(layouts[-1])
        return cls(tuple(stages), tuple(layouts), grid)

    @property
    def layout(self) -> Layout:
        """Layout of what is summed."""
        return self.layouts[-1] if self.grid is None else self.grid.layout

    @property
    def dtype(self) -> torch.dtype:
        """Of the sum: whole numbers are added as such."""
        whole = self.grid is not None or (bool(self.stages) and self.stages[-1].gives != REAL)
        return torch.int64 if whole else torch.float64

    @property
    def zeroes(self) -> bool:
        """Whether what is not finite becomes a report of zeros, so that nobody is set aside."""
        return any(getattr(stage, "zeroes", False) for stage in self.stages)

    def init(self) -> list[Parts]:
        """Every stage's state."""
        return [stage.init() for stage in self.stages]

    def broadcast(self, states: list[Parts]) -> Parts:
        """What the stages send down, with the stage's place in front of each name."""
        return {
            f"stage{i}.{name}": value
            for i, (stage, state) in enumerate(zip(self.stages, states, strict=True))
            for name, value in stage.broadcast(state).items()
        }

    def encode(self, report: Tensor, down: Parts) -> Tensor:
        """Reports (K, m) through every stage in order."""
        for i, stage in enumerate(self.stages):
            prefix = f"stage{i}."
            own = {name.removeprefix(prefix): v for name, v in down.items() if name.startswith(prefix)}
            report = stage.encode(report, self.layouts[i], own)
        return report

    def decode(self, total: Tensor, states: list[Parts]) -> tuple[Tensor, list[Parts]]:
        """The total through every stage in reverse order, and their next states.

        A total of real numbers, such as a robust rule makes of decoded ones, is on no grid.
        """
        renewed = list(states)
        total = total if self.grid is None or total.is_floating_point() else self.grid.decode(total)
        for i in reversed(range(len(self.stages))):
            total, renewed[i] = self.stages[i].decode(total, self.layouts[i], states[i])
        return total, renewed

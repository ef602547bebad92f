"""Stages: transforms of the report around the sum, composed and checked before the run.

A stage encodes reports on the client and decodes their total on the server. It declares the domain of numbers that
it takes and gives, and whether the sum of its outputs is its output for the sum (`additive`): a chain in which these do
not fit is refused when it is put together, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from tacit.aggregation.fixed_point import FixedPoint
from tacit.errors import IncompatibleOptions
from tacit.learning.layout import Layout, Parts

REAL, INTEGER, MASKED, CIPHERTEXT = "real", "integer", "masked", "ciphertext"

UNREAD = {
    "aggregation": "the server must read every client's report to know which numbers are in it, and nobody sees one "
    "in a secure sum. Take tacit.RandomK or tacit.CountSketch, whose sums are all that is needed",
    "privacy": "which numbers a client sends follows from its data, and no noise covers that; what it keeps back comes "
    "later, beyond the clip. Take tacit.RandomK or tacit.CountSketch",
    "robust": "a number that a client keeps back is a zero in its report, and a rule that compares reports takes the "
    "zeros of most clients for the truth. Take tacit.RandomK, which keeps the same numbers of all clients",
}
"""Why a stage whose reports the server must read does not go together with these options."""


class Stage(Protocol):
    """A transform around the sum. All methods act on `(..., m)`.

    What a stage may have beside its methods:

    - `zeroes = True`: it makes a report that is not finite a report of zeros, which counts.
    - `plain = True`: the server must read every report by itself, so it stands beside nothing that hides reports,
      bounds what one of them does, or compares them.
    - `unsuited`: options of a federation that it does not go together with, each with the reason.
    - `last = True`: no other stage that touches the update may come after it.
    - `memory(layout) -> int`: how many numbers every client remembers. Its `encode` then takes them, (K, s), as a
      fourth argument and returns the encoded reports and what is to be remembered: kept for those that are counted.
    - `on_grid(weight) -> Stage`: itself for sums on a grid, where no client weighs more than `weight`.
    - `lattice() -> dict[str, int]`: parts in which it gives whole numbers, each with the largest absolute value, so
      that a grid packs several into a word.
    - `encoded_bytes(layout, itemsize) -> int`: the size of one client's encoded report, with `dump(report, layout,
      down) -> bytes` and `load(data, layout, down, dtype) -> report`, for reports (m,) as `encode` gives them. `layout`
      is what it takes. Without these, a report travels as its numbers.
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
        domain, layouts, bound, final = REAL, [layout], list[Stage](), ""
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
            if final:
                raise IncompatibleOptions(f"{name} comes after {final}, which is to be the last: change the order")
            final = name if getattr(stage, "last", False) else ""
            domain = stage.gives
            bound.append(stage if grid is None else _on_grid(stage, grid))
            layouts.append(bound[-1].bind(layouts[-1]))
        grid = grid if domain == REAL else None
        if grid is not None:
            lattices = [one.lattice() for one in bound if hasattr(one, "lattice")]
            grid.bind(layouts[-1], {name: most for found in lattices for name, most in found.items()})
        return cls(tuple(bound), tuple(layouts), grid)

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

    @property
    def memory(self) -> int:
        """How many numbers every client remembers for all stages together."""
        return sum(self._memories)

    @property
    def _memories(self) -> list[int]:
        pairs = zip(self.stages, self.layouts, strict=False)
        return [one.memory(layout) if hasattr(one, "memory") else 0 for one, layout in pairs]

    def encoded_bytes(self, itemsize: int) -> int:
        """The size of one client's report as it is sent where no sum is secure, its numbers of `itemsize` bytes."""
        if self.stages and hasattr(self.stages[-1], "encoded_bytes"):
            return int(self.stages[-1].encoded_bytes(self.layouts[-2], itemsize))
        return self.layouts[-1].size * itemsize

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

    def encode(self, report: Tensor, down: Parts, memory: Tensor | None = None) -> Tensor:
        """Reports (K, m) through every stage in order.

        Args:
            report: may be overwritten.
            down: the broadcast.
            memory: (K, s) what the clients remember, overwritten with what they are to remember; None without.
        """
        at = 0
        for i, (stage, size) in enumerate(zip(self.stages, self._memories, strict=True)):
            own = self.received(i, down)
            if size and memory is not None:
                kept: Any = stage  # that has a memory
                report, memory[:, at : at + size] = kept.encode(report, self.layouts[i], own, memory[:, at : at + size])
            else:
                report = stage.encode(report, self.layouts[i], own)
            at += size
        return report

    def received(self, place: int, down: Parts) -> Parts:
        """What the stage at this place finds in the broadcast."""
        prefix = f"stage{place}."
        return {name.removeprefix(prefix): v for name, v in down.items() if name.startswith(prefix)}

    def decode(self, total: Tensor, states: list[Parts]) -> tuple[Tensor, list[Parts]]:
        """The total through every stage in reverse order, and their next states.

        A total of real numbers, such as a robust rule makes of decoded ones, is on no grid.
        """
        renewed = list(states)
        total = total if self.grid is None or total.is_floating_point() else self.grid.decode(total)
        for i in reversed(range(len(self.stages))):
            total, renewed[i] = self.stages[i].decode(total, self.layouts[i], states[i])
        return total, renewed


def _on_grid(stage: Any, grid: FixedPoint) -> Stage:
    """The stage as it is for sums on this grid."""
    found: Stage = stage.on_grid(grid.weight) if hasattr(stage, "on_grid") else stage
    return found


def clashes(stages: Sequence[Stage], **options: object) -> Iterator[str]:
    """What of a federation does not go together with its stages, with the reason.

    Args:
        stages: in order.
        options: the federation's "aggregation", "privacy" and "robust", each None where it has none.
    """
    for stage in stages:
        because = (UNREAD if getattr(stage, "plain", False) else {}) | dict(getattr(stage, "unsuited", {}))
        for name, reason in because.items():
            if options.get(name) is not None:
                yield f"{stage!r} beside {name}={type(options[name]).__name__}: {reason}"

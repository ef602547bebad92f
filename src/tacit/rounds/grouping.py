"""Robust aggregation in a round: the cohort split into groups, and one total made of what the groups sent.

What a rule acts on: from every group the weighted mean of all parts of its reports that are vectors (the update, and
where there are any, buffers and what a method or a stage adds), as one row, as it comes out of the last stage. What is
a single number in a report (the loss, the number of examples, the weight) stays a sum over all groups: it is told, and
moves no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.aggregation.robust import Robust
from tacit.aggregation.secure_sum import SecureSum, least_drawn
from tacit.aggregation.stage import REAL, Chain, Stage
from tacit.errors import RoundFailed
from tacit.learning.layout import Layout
from tacit.privacy.local_level import LocalLevel
from tacit.selection.cohort import Sampling
from tacit.venue.fold import Total

if TYPE_CHECKING:
    from tacit.federation import Federation

Int = NDArray[np.int64]


@dataclass(frozen=True)
class Grouping:
    """The groups of a run's rounds.

    Args:
        rule: that takes the place of the mean.
        chain: of the run.
        seed: from which groups are drawn: everybody may know it.
    """

    rule: Robust
    chain: Chain
    seed: int

    def split(self, clients: Int, round: int) -> list[Int]:
        """The cohort (K,) in random groups of sizes that differ by one at most, each ascending; none is empty."""
        if self.rule.groups is None:
            return list(clients[:, None])
        order = keys.generator(self.seed, "groups", round).permutation(clients)
        return [np.sort(group) for group in np.array_split(order, min(self.rule.groups, max(len(order), 1)))]

    def combine(self, totals: Sequence[Total], round: int) -> Total:
        """What the rule makes of the groups' totals, as the total of the whole cohort.

        Its vectors are the rule's result times the sum of all weights, so that dividing by that gives the result.

        Args:
            totals: of all groups; the memory of their sums is let go.
            round: from 0.

        Raises:
            RoundFailed: too few groups have a client that was counted.
        """
        there = [total for total in totals if len(total.counted)]
        if why := self.rule.unfit(len(there)):
            rows = "reports" if self.rule.groups is None else "groups"
            raise RoundFailed(f"round {round + 1}: {len(there)} {rows} were counted, and {self.rule!r} says: {why}")
        return merged(totals, self._combined(there))

    def _combined(self, totals: Sequence[Total]) -> Tensor:
        """(m,) float64: vectors by the rule, single numbers as sums."""
        layout = self.chain.layouts[-1]
        vectors, place = vectors_of(layout), layout["weight"].start
        rows = torch.empty(len(totals), len(vectors), dtype=torch.float64)
        summed = torch.zeros(layout.size, dtype=torch.float64)
        for row, total in zip(rows, totals, strict=True):
            real = total.total if self.chain.grid is None else self.chain.grid.decode(total.total)
            total.total = total.total.new_empty(0)
            summed += real
            torch.div(real[vectors], real[place], out=row)
        summed[vectors] = self.rule.combine(rows) * summed[place]
        return summed


def merged(totals: Sequence[Total], total: Tensor) -> Total:
    """One total of all groups, with this sum."""
    return Total(
        total,
        np.concatenate([np.empty(0, np.int64), *(one.counted for one in totals)]),
        [aside for one in totals for aside in one.set_aside],
        sum(one.seconds for one in totals),
        sum(one.lost for one in totals),
        losses=_joined([one.losses for one in totals]),
    )


def _joined(parts: list[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if known and len(known) == len(parts) else None


def vectors_of(layout: Layout) -> Int:
    """Places of all parts of a report that are not single numbers."""
    slices = [layout[name] for name, shape in zip(layout.names, layout.shapes, strict=True) if shape]
    return np.concatenate([np.arange(part.start, part.stop, dtype=np.int64) for part in slices])


def grouping_of(federation: Federation) -> Grouping | None:
    """The groups of a federation with a robust rule, or None."""
    if federation.robust is None:
        return None
    return Grouping(federation.robust, federation.chain, federation.seed)


def clashes(federation: Federation, stages: Sequence[Stage], sampling: Sampling) -> Iterator[str]:
    """What does not go together with the federation's robust rule, with the reason."""
    rule: Any = federation.robust
    if isinstance(federation.privacy, LocalLevel):
        yield (
            f"privacy=LocalLevel puts noise on every report, in which {rule!r} cannot tell a false one from a true: "
            "leave robust out, the clip bounds what a false report does"
        )
    elif federation.privacy is not None:
        yield (
            f"privacy={type(federation.privacy).__name__} is accounted for one sum, which a client moves by its clip "
            f"norm at most, and {rule!r} is no sum: nothing bounds so how far a client moves it. Leave robust out (the "
            "clip bounds what a false report does), or promise record_privacy: its noise is in every report already"
        )
    yield from _clashes_of_method(federation)
    for stage in stages:
        if stage.gives != REAL:
            yield f"{type(stage).__name__} makes {stage.gives} numbers of reports, and {rule!r} compares real ones"
    yield from _unfit(rule, federation.aggregation, sampling)


def _clashes_of_method(federation: Federation) -> Iterator[str]:
    """What a method sends beside its update, where that must stay a mean."""
    rule, algorithm, d = federation.robust, federation.algorithm, federation.task.d
    parts, method = algorithm.parts(d), type(algorithm).__name__
    beside = [(name, shape) for name, shape in zip(parts.names, parts.shapes, strict=True) if name != "update"]
    scalars = [name for name, shape in beside if not shape]
    if scalars:
        yield (
            f"{method} steps by {', '.join(scalars)}, single numbers that stay plain sums, so that one client could "
            f"move the model through them: take FedAvg, FedProx, FedDyn or a server optimiser with {rule!r}"
        )
    vectors = [name for name, shape in beside if shape]
    if vectors and algorithm.memory(d):
        yield (
            f"{method} keeps on the server the mean of what its clients remember ({', '.join(vectors)}); {rule!r} is "
            "no mean, so that the two drift apart, even where all clients are honest: take FedAvg, FedProx, FedDyn or "
            "a server optimiser"
        )


def _unfit(rule: Robust, aggregation: Any, sampling: Sampling) -> Iterator[str]:
    """Cohorts that the rule cannot be applied to."""
    if aggregation is None:
        least = least_drawn(sampling)
        rows = least if rule.groups is None else min(rule.groups, least)
        if why := rule.unfit(rows):
            now_and_then = " (now and then)" if rows < sampling.size and rows == least else ""
            yield f"{rule!r} on {rows} rows{now_and_then}: {why}"
        if rule.groups is not None and rule.groups > sampling.size:
            yield f"groups is {rule.groups}, and a cohort has {sampling.size:g} clients: take fewer groups"
        return
    name = type(aggregation).__name__
    if not isinstance(aggregation, SecureSum):
        yield f"{rule!r} compares sums of groups, and {name} makes one of the whole cohort: take tacit.SecureSum()"
        return
    if rule.groups is None:
        yield (
            f"{rule!r} compares the reports of single clients, and with {name} nobody sees one: give groups=, a number "
            "of random groups, each with a secure sum of its own, and the rule compares their means"
        )
        return
    if why := rule.unfit(rule.groups):
        yield f"{rule!r}: {why}"
    yield from aggregation.ungroupable(sampling, rule.groups)

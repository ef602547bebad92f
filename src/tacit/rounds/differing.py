"""Work that differs by device tier: what does not go with it, and the kinds of work that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tacit.aggregation.compression.top_k import TopK
from tacit.aggregation.stage import Chain, Stage
from tacit.algorithms.base import Algorithm
from tacit.checks import offers
from tacit.fleet.by_tier import ByTier, of_kind
from tacit.learning.submodel import Submodel, Submodels
from tacit.learning.task import Task

if TYPE_CHECKING:
    from tacit.federation import Federation


def clashes(federation: Federation) -> Iterator[str]:
    """Every reason why a federation cannot ask less of weak devices; none where it does not want to."""
    how: Any = federation.by_tier
    if how is None:
        return
    if not isinstance(how, ByTier):
        yield f"by_tier is {how!r}: give tacit.ByTier(steps=(1.0, 0.5)), say, or leave it out"
        return
    if federation.fleet is None:
        yield f"by_tier is {how!r}, and clients have no tiers without devices: give a fleet, too"
    if federation.record_privacy is not None:
        yield "record_privacy is accounted for the same steps of every client: leave by_tier out"
    if how.width or how.top_k:
        for option in ("privacy", "robust"):
            if getattr(federation, option) is not None:
                yield (
                    f"{option}={type(getattr(federation, option)).__name__} needs reports of one kind, in which every "
                    "number stands for the same: of by_tier leave out width and top_k"
                )
    if how.top_k and federation.aggregation is not None:
        yield "top_k: the server must read which numbers a client sends, and aggregation hides them: leave one out"
    if how.width and offers(federation.algorithm, "memory", "parts"):
        yield from _of_widths(federation, how)
    if how.batch_size and not hasattr(federation.algorithm.solver, "batch_size"):
        yield f"{federation.algorithm.solver!r} has no batch size that a tier could change"


def _of_widths(federation: Federation, how: ByTier) -> Iterator[str]:
    algorithm, method = federation.algorithm, type(federation.algorithm).__name__
    if algorithm.memory(1) or algorithm.parts(1).names != ("update",):
        yield f"{method} sends or remembers more than an update, which narrower models lack: take FedAvg or FedProx"
    summed: Any = federation.aggregation
    if summed is not None and getattr(summed, "range", None) is not None and summed.range < 1:
        yield f"range is {summed.range:g}, and a report says with a 1 which model was trained: state a range from 1"
    if max(how.width) < 1:
        yield f"width is {how.width!r}: one tier must train the whole model, width 1.0, or parts of it stay as they are"


def submodels(task: Task, how: ByTier | None) -> Submodels | None:
    """The models of all kinds of work; None where all train the whole one.

    Raises:
        UsageError: the task knows no such models.
    """
    if how is None or not how.width:
        return None
    widths = [of_kind(how.width, kind, 1.0) for kind in range(how.kinds)]
    made = {width: Submodel.of(task, width) for width in dict.fromkeys(widths)}
    return Submodels([made[width] for width in widths], task.d)


def compression(how: ByTier | None, kind: int | None = None) -> tuple[Stage, ...]:
    """The stage that shortens updates by tier, of a kind of work or of the one that sends most."""
    if how is None or not how.top_k:
        return ()
    return (TopK(max(how.top_k) if kind is None else of_kind(how.top_k, kind, 1.0)),)


def method_of(algorithm: Algorithm, how: ByTier, kind: int) -> Algorithm:
    """The method with the local solver of a kind of work."""
    changed: Any = algorithm
    size = of_kind(how.batch_size, kind, None)
    if size is None:
        return algorithm
    solver: Any = algorithm.solver
    altered: Algorithm = replace(changed, solver=replace(solver, batch_size=size))
    return altered


def chain_of(chain: Chain, how: ByTier, kind: int) -> Chain:
    """The stages of a kind of work: reports of all kinds have one layout."""
    own: Sequence[Stage] = compression(how, kind)
    return replace(chain, stages=(*chain.stages[: len(chain.stages) - len(own)], *own)) if own else chain

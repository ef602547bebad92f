"""What a private run releases: the bounded parts of a report, and the columns of its history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import TYPE_CHECKING

from tacit.errors import UnregisteredRelease
from tacit.privacy.bound import WITHIN, Bound
from tacit.privacy.user_level import UserLevel

if TYPE_CHECKING:
    from tacit.privacy.record_level import RecordLevel
    from tacit.record.stopping import Stopping

UPDATE, LOSS, METRICS = "update", "loss", "metrics"
MEASURED = "metric:"
"""Before the name of a metric, in the layout of a report."""


def measured_parts(level: UserLevel | None) -> dict[str, str]:
    """The parts of a report that hold metrics, each with the name of its metric."""
    return {} if level is None else {f"{MEASURED}{name}": name for name in level.metrics}


def bounds_of(level: UserLevel, names: Sequence[str]) -> tuple[Bound, ...]:
    """The bounds of a report whose parts have these names, in their order."""
    assert level.clip is not None
    beside = {LOSS, WITHIN, *measured_parts(level)}
    found = [Bound(UPDATE, tuple(name for name in names if name not in beside), level.clip)]
    if level.loss_bound is not None:
        found.append(Bound(LOSS, (LOSS,), level.loss_bound))
    if level.metrics:
        found.append(Bound(METRICS, tuple(measured_parts(level)), sqrt(len(level.metrics))))
    if level.clip_quantile is not None:
        found.append(Bound(WITHIN, (WITHIN,), 0.5))
    return tuple(found)


def report_parts(level: UserLevel) -> tuple[str, ...]:
    """The numbers that a report carries beside its message."""
    loss = (LOSS,) if level.loss_bound is not None else ()
    within = (WITHIN,) if level.clip_quantile is not None else ()
    return (*loss, *measured_parts(level), *within)


RELEASED = ("round", "clients", "update_norm", "epsilon", "clip", "bytes_down", "bytes_up")
"""Columns of the history that tell no more than what every round releases."""


def released_columns(level: UserLevel | RecordLevel, names: Iterable[str]) -> set[str]:
    """Which of the history's columns are released: by these, and by no others, a run may be ended."""
    public = {name for name in names if name.startswith("test_") and level.public_evaluation}
    loss = {LOSS} if isinstance(level, UserLevel) and level.loss_bound is not None else set()
    measured = {f"cohort_{name}" for name in level.metrics} if isinstance(level, UserLevel) else set()
    return {*RELEASED, *public, *loss, *measured}


def require_released(level: UserLevel | RecordLevel, rules: Sequence[Stopping]) -> None:
    """Holds stopping rules against what a run releases: how long it runs is seen by everybody.

    Raises:
        UnregisteredRelease: a rule looks at something that is hidden, or measured on data that are not public.
    """
    for metric in (getattr(rule, "metric", None) for rule in rules):
        if metric is None or metric in released_columns(level, [metric]):
            continue
        remedy = "leave the rule out"
        if metric == LOSS and isinstance(level, UserLevel):
            remedy = "release it, UserLevel(loss_bound=10.0)"
        elif str(metric).startswith("test_"):
            remedy = (
                "measure on public data and say so, public_evaluation=True, or release a metric of the task, "
                "UserLevel(metrics=('accuracy',)), whose column is cohort_accuracy"
            )
        raise UnregisteredRelease(
            f"a stopping rule looks at {metric}, which is hidden: if it comes from the data of the people in the "
            f"population, when the run ends tells of them. Take update_norm, or {remedy}"
        )

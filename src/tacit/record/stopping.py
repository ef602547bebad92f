"""When a run ends before its last round: convergence and early stopping, by what the history shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, Protocol

from tacit.checks import count, make_plain, not_negative, positive
from tacit.errors import Problems, UsageError

Row = Mapping[str, Any]
TEXTS = ("set_aside_reasons",)
"""Columns of the history that hold no numbers."""


class Stopping(Protocol):
    """A rule that looks at the rounds so far."""

    def done(self, rows: Sequence[Row]) -> str | None:
        """Why the run should end now, or None."""
        ...


@dataclass(frozen=True)
class Patience:
    """Ends the run when `metric` has not improved by `min_delta` for `rounds` rounds in which it was measured.

    Where this rule ends the run, the run's model is the one after the round with the best value, and
    `run.facts["kept_round"]` says which that was. A run that ends for another reason has its last model.

    Args:
        metric: a column of the history, for example "test_loss".
        rounds: how many measured rounds to wait.
        mode: "min" or "max": which way is better. NaN and infinities are never better.
        min_delta: what counts as an improvement, in units of the metric.
        keep: "best" keeps a copy of the model with the best value and gives that; "last" gives the last one.
    """

    metric: str = "loss"
    rounds: int = 10
    mode: str = "min"
    min_delta: float = 0.0
    keep: str = "best"

    def __post_init__(self) -> None:
        with Problems("Patience cannot be built", UsageError) as problems:
            problems.check(self.mode in ("min", "max"), f"mode is {self.mode!r}: give 'min' or 'max'")
            problems.check(self.keep in ("best", "last"), f"keep is {self.keep!r}: give 'best' or 'last'")
            metric: object = self.metric
            named = isinstance(metric, str) and metric not in TEXTS
            problems.check(named, f"metric is {metric!r}: give a column of numbers in the history")
            problems.extend(count("rounds", self.rounds) + not_negative("min_delta", self.min_delta))
        make_plain(self)

    def done(self, rows: Sequence[Row]) -> str | None:
        """See `Stopping.done`."""
        if rows and self.metric not in rows[-1]:
            raise UsageError(f"Patience watches {self.metric!r}, which is not in the history: {', '.join(rows[-1])}")
        values, best, since = self._values(rows), inf, 0
        for value in values.values():
            best, since = (value, 0) if value < best - self.min_delta else (best, since + 1)
        if since < self.rounds:
            return None
        place, text = self.best(rows), f"{self.metric} has not improved for {since} rounds"
        if place is None:
            return text
        return f"{text}; its best was {self._sign * values[place]:.6g} in round {rows[place].get('round', place + 1)}"

    @property
    def key(self) -> str:
        """What is watched, and which way is better."""
        return f"{self.mode} {self.metric}"

    def best(self, rows: Sequence[Row]) -> int | None:
        """The place in `rows` of the best value, the first one where there are several; None where none is finite."""
        values = self._values(rows)
        return min(values, key=values.__getitem__) if values else None

    @property
    def _sign(self) -> float:
        return 1.0 if self.mode == "min" else -1.0

    def _values(self, rows: Sequence[Row]) -> dict[int, float]:
        """Place -> value, smaller ones better, of the rows in which it was measured and is a finite number."""
        found = ((k, row.get(self.metric)) for k, row in enumerate(rows))
        return {k: self._sign * float(value) for k, value in found if value is not None and isfinite(value)}


@dataclass(frozen=True)
class Converged:
    """Ends the run when the server's step is shorter than `norm` for `rounds` rounds in a row.

    Args:
        norm: Euclidean length of the change of the model in a round.
        rounds: how many rounds in a row.
    """

    norm: float = 1e-4
    rounds: int = 1

    def __post_init__(self) -> None:
        with Problems("Converged cannot be built", UsageError) as problems:
            problems.extend(positive("norm", self.norm) + count("rounds", self.rounds))
        make_plain(self)

    def done(self, rows: Sequence[Row]) -> str | None:
        """See `Stopping.done`."""
        last = [float(r["update_norm"]) for r in rows[-self.rounds :]]
        if len(last) < self.rounds or max(last) >= self.norm:
            return None
        return f"converged: the model moved by {last[-1]:.3g}, less than {self.norm:g}"

"""When a run ends before its last round: convergence and early stopping, by what the history shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from tacit.errors import Problems, UsageError

Row = Mapping[str, Any]


class Stopping(Protocol):
    """A rule that looks at the rounds so far."""

    def done(self, rows: Sequence[Row]) -> str | None:
        """Why the run should end now, or None."""
        ...


@dataclass(frozen=True)
class Patience:
    """Ends the run when `metric` has not improved by `min_delta` for `rounds` rounds in which it was measured.

    Args:
        metric: a column of the history, for example "test_loss".
        rounds: how many measured rounds to wait.
        mode: "min" or "max": which way is better.
        min_delta: what counts as an improvement, in units of the metric.
    """

    metric: str = "loss"
    rounds: int = 10
    mode: str = "min"
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        with Problems("Patience cannot be built", UsageError) as problems:
            problems.check(self.mode in ("min", "max"), f"mode is {self.mode!r}: give 'min' or 'max'")
            problems.check(self.rounds >= 1, f"rounds is {self.rounds!r}: give at least 1")
            problems.check(self.min_delta >= 0, f"min_delta is {self.min_delta!r}: give 0 or more")

    def done(self, rows: Sequence[Row]) -> str | None:
        """See `Stopping.done`."""
        sign = 1.0 if self.mode == "min" else -1.0
        if rows and self.metric not in rows[-1]:
            raise UsageError(f"Patience watches {self.metric!r}, which is not in the history: {', '.join(rows[-1])}")
        values = [sign * float(r[self.metric]) for r in rows if r[self.metric] is not None and isfinite(r[self.metric])]
        best, since = float("inf"), 0
        for value in values:
            best, since = (value, 0) if value < best - self.min_delta else (best, since + 1)
        if since < self.rounds:
            return None
        return f"{self.metric} has not improved for {since} rounds; its best was {sign * best:.6g}"


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
            problems.check(self.norm > 0, f"norm is {self.norm!r}: give a positive number")
            problems.check(self.rounds >= 1, f"rounds is {self.rounds!r}: give at least 1")

    def done(self, rows: Sequence[Row]) -> str | None:
        """See `Stopping.done`."""
        last = [float(r["update_norm"]) for r in rows[-self.rounds :]]
        if len(last) < self.rounds or max(last) >= self.norm:
            return None
        return f"converged: the model moved by {last[-1]:.3g}, less than {self.norm:g}"

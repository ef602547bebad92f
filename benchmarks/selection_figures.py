"""What the runs of the benchmark of selection say: times to a target, ratios and differences, paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from scipy import stats

from benchmarks.selection_trials import Case, Outcome

SHARE, WIDTH, LAST = 0.95, 3, 5
"""The target as a share of the best that waiting for all reaches, and over how many evaluations a running mean goes;
the final accuracy is the mean of the last evaluations."""
LEVEL = 0.95

Found: TypeAlias = Mapping[tuple[Case, int], Outcome]


@dataclass
class Figure:
    """One line of the table.

    Attributes:
        values: by seed; None where the target was not reached.
        scale: "ratio" (their geometric mean) or "difference" (their mean).
        goal: what it is to reach: at least, or at most where not `more`; None where nothing was set.
        tolerant: a goal is missed only where the whole interval is on the wrong side of it.
        mean, low, high: over seeds, with the ends of a 95 % t interval (of the logarithms, of ratios).
    """

    part: str
    what: str
    unit: str
    values: list[float | None]
    scale: str = "difference"
    goal: float | None = None
    more: bool = True
    tolerant: bool = False
    mean: float = field(init=False, default=float("nan"))
    low: float = field(init=False, default=float("nan"))
    high: float = field(init=False, default=float("nan"))

    def __post_init__(self) -> None:
        known = np.array([value for value in self.values if value is not None], float)
        if len(known):
            self.mean, self.low, self.high = interval(known, self.scale == "ratio")

    @property
    def missing(self) -> int:
        """In how many seeds the target was not reached."""
        return sum(value is None for value in self.values)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        best = (self.high if self.more else self.low) if self.tolerant else self.mean
        return not self.missing and (best >= self.goal if self.more else best <= self.goal)


def interval(values: Sequence[float] | np.ndarray, ratio: bool) -> tuple[float, float, float]:
    """Mean, low and high of a t interval; of one value, itself."""
    x = np.log(values) if ratio else np.asarray(values, float)
    mean = float(x.mean())
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))) if len(x) > 1 else 0.0
    ends = (mean, mean - half, mean + half)
    return (float(np.exp(ends[0])), float(np.exp(ends[1])), float(np.exp(ends[2]))) if ratio else ends


def running(values: Sequence[float]) -> np.ndarray:
    """Means over `WIDTH` evaluations, the first at the last of them."""
    return np.convolve(values, np.ones(WIDTH) / WIDTH, "valid")


def time_to(outcome: Outcome, target: float) -> float | None:
    """Hours until the running mean is at the target; None if it never is."""
    reached = np.flatnonzero(running(outcome.accuracy) >= target)
    return outcome.hours[int(reached[0]) + WIDTH - 1] if len(reached) else None


def final(outcome: Outcome, share: float = 1.0) -> float:
    """Mean accuracy of the last evaluations, after a share of the rounds."""
    end = round(share * len(outcome.accuracy))
    return float(np.mean(outcome.accuracy[:end][-LAST:]))


class Reader:
    """Reads figures off the runs.

    Args:
        found: runs by case and seed.
        seeds: those to read.
    """

    def __init__(self, found: Found, seeds: Sequence[int]) -> None:
        self.found, self.seeds = found, seeds

    def targets(self, case: Case) -> list[float]:
        """By seed: a share of the best running mean of the reference."""
        return [SHARE * float(running(self.found[reference(case), seed].accuracy).max()) for seed in self.seeds]

    def times(self, case: Case) -> list[float | None]:
        """Hours to the target, by seed."""
        targets = self.targets(case)
        return [time_to(self.found[case, seed], at) for seed, at in zip(self.seeds, targets, strict=True)]

    def speedup(self, slow: Case, fast: Case) -> list[float | None]:
        """How many times the hours of `fast` those of `slow` are."""
        pairs = zip(self.times(slow), self.times(fast), strict=True)
        return [None if a is None or b is None else a / b for a, b in pairs]

    def of(self, case: Case, read: Callable[[Outcome], float | None]) -> list[float | None]:
        """What `read` says of each seed's outcome."""
        return [read(self.found[case, seed]) for seed in self.seeds]

    def gain(self, better: Case, base: Case, read: Callable[[Outcome], float] = final) -> list[float | None]:
        """Percentage points by which `better` is above `base`."""
        runs = [(self.found[better, seed], self.found[base, seed]) for seed in self.seeds]
        return [100 * (read(a) - read(b)) for a, b in runs]


def reference(case: Case) -> Case:
    """The case that sets the target: waiting for all, uniform cohorts, everybody always there.

    Of the 30 clients of Synthetic(1, 1), the phones that are never there are so many that the target of all is out of
    reach: under traces it is that of the same phones.
    """
    return Case(case.ground, "wait", fleet=case.fleet if case.ground == "synthetic" else "lognormal")


def lines(figures: Sequence[Figure]) -> list[str]:
    """The lines of Markdown tables, one for each figure."""
    return [f"| {' | '.join(cells(figure)[1:])} |" for figure in figures]


def cells(figure: Figure) -> list[str]:
    """A line of the table as text."""
    f = figure
    goal = "" if f.goal is None else f"{'at least' if f.more else 'at most'} {f.goal:g} {f.unit}"
    verdict = "" if f.met is None else "reached" if f.met else "missed"
    if f.missing == len(f.values):
        return [f.part, f.what, "never reached", "", goal, verdict]
    missing = f"; not reached with {f.missing} of {len(f.values)} seeds" if f.missing else ""
    between = f"{_number(f, f.low)} .. {_number(f, f.high)}{missing}"
    return [f.part, f.what, f"{_number(f, f.mean)} {f.unit}".strip(), between, goal, verdict]


def _number(figure: Figure, value: float) -> str:
    """Differences with their sign, to two places; others to three digits."""
    if figure.unit == "pp":
        return f"{value:+.2f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"

"""Pictures of the benchmark of selection: accuracy against virtual hours, and who took part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.selection_figures import Found
from benchmarks.selection_grounds import GROUNDS
from benchmarks.selection_trials import Case

SHOWN = {
    "wait": ("waiting for all", "#111827", "-"),
    "first": ("over-selection 1.3", "#c2410c", "-"),
    "partial": ("partial work", "#0f766e", "-"),
    "deadline": ("deadline", "#9ca3af", "--"),
    "buffered": ("FedBuff", "#2563eb", "-"),
}
"""Of cases: label, colour, line."""
MAIN = ("mnist", "apps")
POINTS = 120


def hours(found: Found, seeds: Sequence[int], to: Path) -> None:
    """Mean accuracy against virtual time, with the range in which all seeds lie, for each way to close rounds."""
    pyplot = _pyplot()
    figure, grid = pyplot.subplots(1, len(MAIN), figsize=(9.6, 3.8))
    for ground, axes in zip(MAIN, grid, strict=True):
        for name, (label, colour, line) in SHOWN.items():
            at, values = _curves(found, Case(ground, name), seeds)
            axes.fill_between(at, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(at, values.mean(axis=0), line, color=colour, linewidth=1.6, label=label)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="virtual hours (logarithmic)", ylabel=GROUNDS[ground].metric.removeprefix("test_"))
        axes.set_title(ground, loc="left")
        _quiet(axes)
    grid[0].legend(frameon=False, fontsize=8, loc="lower right")
    _save(figure, to, pyplot)


def deciles(found: Found, seeds: Sequence[int], to: Path) -> None:
    """The share of reports by tenths of the devices, fastest first: mean over seeds, and their range."""
    pyplot = _pyplot()
    figure, grid = pyplot.subplots(1, len(MAIN), figsize=(9.6, 3.4), sharey=True)
    for ground, axes in zip(MAIN, grid, strict=True):
        for name, (label, colour, line) in SHOWN.items():
            shares = 100 * np.array([found[Case(ground, name), seed].by_decile for seed in seeds])
            tenth = np.arange(1, shares.shape[1] + 1)
            axes.fill_between(tenth, shares.min(axis=0), shares.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(
                tenth, shares.mean(axis=0), line, color=colour, linewidth=1.6, marker="o", markersize=3, label=label
            )
        axes.set(xlabel="tenth of the devices, fastest first", ylabel="% of the reports", ylim=(0, None))
        axes.set_xticks(np.arange(1, 11))
        axes.set_title(ground, loc="left")
        _quiet(axes)
    grid[0].legend(frameon=False, fontsize=8, loc="lower left")
    _save(figure, to, pyplot)


def _curves(found: Found, case: Case, seeds: Sequence[int]) -> tuple[Any, Any]:
    """Hours (P,), and the accuracy of each seed's last evaluation by then, (seeds, P)."""
    runs = [found[case, seed] for seed in seeds]
    first, last = max(run.hours[0] for run in runs), min(run.hours[-1] for run in runs)
    at = np.geomspace(first, last, POINTS)
    values = [np.array(run.accuracy)[np.searchsorted(run.hours, at * (1 + 1e-9), "right") - 1] for run in runs]
    return at, np.array(values)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "tacit", "font.size": 9, "svg.fonttype": "path"}
    from matplotlib import pyplot

    return pyplot


def _quiet(axes: Any) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _save(figure: Any, to: Path, pyplot: Any) -> None:
    figure.tight_layout()
    figure.savefig(to, facecolor="white", metadata={"Date": None})
    pyplot.close(figure)

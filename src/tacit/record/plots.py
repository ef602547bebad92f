"""Plots of a run's history, as SVG text that stands in a page by itself."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

INK, QUIET, BLUE, ORANGE, GREEN, RED, VIOLET = (
    "#1c2733",
    "#8a96a3",
    "#2f6db3",
    "#d9822b",
    "#3c8f5a",
    "#c0504d",
    "#7a5ea8",
)
PALE = "#c4d8ee"
ROUND = "round"
"""What stands below an axis of rounds, which are whole numbers."""
COLOURS = (BLUE, ORANGE, GREEN, RED, VIOLET, QUIET)
HOURS = "virtual hours"
WIDE = 5.0
"""How much longer the longest run may take than the shortest before hours stand on a logarithmic axis."""
REASONS = ("late", "dropped", "left", "unavailable")
"""Why clients of a round on a fleet do not count: columns of the history."""
Table = Mapping[str, Mapping[str, float | None]]


def figure(draw: Any, width: float = 6.4, height: float = 3.0) -> str:
    """Calls `draw(axes)` on an empty figure and returns the SVG element.

    The figure never touches pyplot's global state, so a run may be plotted inside a notebook or a server.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    style: Any = {
        "svg.hashsalt": "tacit",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "svg.fonttype": "path",
    }
    with rc_context(style):
        drawing = Figure(figsize=(width, height), layout="constrained")
        axes = drawing.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        draw(axes)
        if axes.get_xlabel() == ROUND:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        buffer = io.StringIO()
        drawing.savefig(buffer, format="svg", metadata={"Date": None})
    return re.sub(r"^.*?(?=<svg)", "", buffer.getvalue(), count=1, flags=re.DOTALL)


def loss_curves(history: pandas.DataFrame, part: str = "test") -> str | None:
    """Training loss, and the loss on `part` of the data where it was measured; None where all is hidden."""
    if history["loss"].isna().all() and ("test_loss" not in history or history["test_loss"].isna().all()):
        return None

    def draw(axes: Axes) -> None:
        if history["loss"].notna().any():
            axes.plot(history["round"], history["loss"], color=BLUE, label="training (mean over the cohort)")
        if "test_loss" in history and history["test_loss"].notna().any():
            known = history[history["test_loss"].notna()]
            axes.plot(known["round"], known["test_loss"], color=ORANGE, label=part)
        axes.set(xlabel=ROUND, ylabel="loss")
        axes.legend(frameon=False)

    return figure(draw)


def privacy_spent(history: pandas.DataFrame, claim: Mapping[str, Any] | None) -> str | None:
    """Epsilon over rounds, with the claim of the run; None where it is not private."""
    if claim is None or "epsilon" not in history:
        return None

    def draw(axes: Axes) -> None:
        label = f"spent, at delta {claim['delta']:.2g}"
        if claim.get("unit") == "record":
            label = f"spent by the client with the most, at delta {claim['delta']:.2g} at most"
        axes.plot(history["round"], history["epsilon"], color=BLUE, label=label)
        axes.set(xlabel=ROUND, ylabel="epsilon", ylim=(0, None))
        axes.legend(frameon=False)

    return figure(draw)


def metric_curves(history: pandas.DataFrame, part: str = "test") -> str | None:
    """Every metric but the loss over rounds, measured on `part` of the data; None where none was measured."""
    names = [c for c in history if str(c).startswith("test_") and c != "test_loss" and history[c].notna().any()]
    if not names:
        return None

    def draw(axes: Axes) -> None:
        for name, colour in zip(names, COLOURS * (1 + len(names) // len(COLOURS)), strict=False):
            known = history[history[name].notna()]
            axes.plot(known["round"], known[name], color=colour, label=str(name).removeprefix("test_"))
        axes.set(xlabel=ROUND, ylabel=f"{part} metric")
        axes.legend(frameon=False, ncols=2)

    return figure(draw)


def phases(history: pandas.DataFrame) -> str:
    """Where the time of each round went; nothing where that is hidden."""
    names = [str(c) for c in history if str(c).startswith("seconds_") and history[c].notna().any()]
    if not names:
        return ""

    def draw(axes: Axes) -> None:
        values = [history[n] for n in names]
        labels = [n.removeprefix("seconds_") for n in names]
        axes.stackplot(history["round"], values, labels=labels, colors=COLOURS[: len(names)], linewidth=0)
        axes.set(xlabel=ROUND, ylabel="seconds")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=5)

    return figure(draw)


def participation(history: pandas.DataFrame) -> str:
    """Clients counted and set aside, and the length of the server's step."""

    def draw(axes: Axes) -> None:
        hidden = history["set_aside"].isna().all()
        label = "expected" if hidden else "counted"
        axes.bar(history["round"], history["clients"], color=PALE, width=0.9, label=label)
        if not hidden and history["set_aside"].any():
            bottom = history["clients"]
            axes.bar(history["round"], history["set_aside"], bottom=bottom, color=RED, width=0.9, label="set aside")
        axes.set(xlabel=ROUND, ylabel="clients")
        step = axes.twinx()
        step.plot(history["round"], history["update_norm"], color=ORANGE, label="length of the step")
        step.set_ylabel("change of the model (norm)")
        step.spines["top"].set_visible(False)
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
        step.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1))

    return figure(draw)


def trade_off(points: Sequence[tuple[float, float, float]], without: float, metric: str) -> str:
    """A metric against epsilon, (epsilon, mean, standard deviation) each, with the line of runs without privacy."""

    def draw(axes: Axes) -> None:
        epsilons, means, spreads = zip(*points, strict=True)
        axes.errorbar(epsilons, means, yerr=spreads, color=BLUE, marker="o", capsize=3, label="with privacy")
        axes.axhline(without, color=QUIET, linestyle="--", label="without")
        axes.set(xlabel="epsilon", ylabel=metric, xscale="log", xticks=epsilons)
        axes.set_xticks(epsilons, [f"{epsilon:g}" for epsilon in epsilons])
        axes.minorticks_off()
        axes.legend(frameon=False)

    return figure(draw)


def comparison_bars(
    comparison: Table, metric: str, intervals: Mapping[str, Sequence[float]] | None = None, own: str = "federated"
) -> str:
    """One metric for every way of learning, `own` in colour; with confidence intervals where they are known."""
    known = {name: value for name, row in comparison.items() if (value := row.get(metric)) is not None}
    names = list(reversed(known))

    def draw(axes: Axes) -> None:
        colours = [BLUE if n == own else QUIET for n in names]
        axes.barh([n.replace("_", " ") for n in names], [known[n] for n in names], color=colours)
        for place, name in enumerate(names):
            if intervals and name in intervals:
                axes.plot(intervals[name], [place, place], color=INK, linewidth=1.2)
        axes.set(xlabel=metric)

    return figure(draw, height=0.5 + 0.32 * len(names))


def time_to_accuracy(
    curves: Mapping[str, Sequence[Sequence[tuple[float, float]]]], target: float, metric: str = "accuracy"
) -> str:
    """A metric against virtual hours for each policy: the mean over seeds, and a band from the lowest to the highest.

    Args:
        curves: policy -> one curve for each seed -> (virtual hours, value) by round. Between rounds the last value
            stands; a curve ends where the first of its seeds does.
        target: a level to draw.
        metric: what is measured.
    """
    named = {name: [np.array(curve, np.float64).reshape(-1, 2) for curve in seeds] for name, seeds in curves.items()}
    ends = [min(curve[-1, 0] for curve in seeds) for seeds in named.values()]

    def draw(axes: Axes) -> None:
        for number, (name, seeds) in enumerate(named.items()):
            hours, values = _together(seeds)
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(hours, values.mean(0), color=colour, label=name, drawstyle="steps-post")
            axes.fill_between(hours, values.min(0), values.max(0), color=colour, alpha=0.2, linewidth=0, step="post")
        axes.axhline(target, color=QUIET, linestyle="--", label=f"target {target:g}")
        axes.set(xlabel=HOURS, ylabel=metric)
        if ends and min(ends) > 0 and max(ends) > WIDE * min(ends):
            axes.set_xscale("log")
        axes.legend(frameon=False)

    return figure(draw)


def _together(seeds: Sequence[NDArray[np.float64]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hours at which any of the curves has a point and all have a value, (H,), and their values then, (seeds, H)."""
    hours = np.unique(np.concatenate([curve[:, 0] for curve in seeds]))
    first, last = max(curve[0, 0] for curve in seeds), min(curve[-1, 0] for curve in seeds)
    hours = hours[(hours >= first) & (hours <= last)] if first <= last else np.array([first])
    at = [np.searchsorted(curve[:, 0], hours, side="right") - 1 for curve in seeds]
    return hours, np.stack([curve[place, 1] for curve, place in zip(seeds, at, strict=True)])


def metric_by_time(history: pandas.DataFrame, part: str = "test", headline: str | None = None) -> str | None:
    """A metric, `headline` or all but the loss, against virtual hours; None where time or metric is not known."""
    names = [c for c in history if str(c).startswith("test_") and c != "test_loss" and history[c].notna().any()]
    names = [name for name in names if name == f"test_{headline}"] or names
    if not names or "virtual_hours" not in history or history["virtual_hours"].isna().all():
        return None

    def draw(axes: Axes) -> None:
        for number, name in enumerate(names):
            known = history[history[name].notna() & history["virtual_hours"].notna()]
            colour, text = COLOURS[number % len(COLOURS)], str(name).removeprefix("test_")
            axes.plot(known["virtual_hours"], known[name], color=colour, marker=".", label=text)
        axes.set(xlabel=HOURS, ylabel=f"{part} metric")
        axes.legend(frameon=False)

    return figure(draw)


def tier_shares(reports: Sequence[float], devices: Sequence[float]) -> str:
    """Who took part: the share of all reports that each tier of devices made, beside its share of the devices."""

    def draw(axes: Axes) -> None:
        place = np.arange(len(reports))
        axes.bar(place - 0.2, [100 * share for share in reports], 0.4, color=BLUE, label="of the reports")
        axes.bar(place + 0.2, [100 * share for share in devices], 0.4, color=PALE, label="of the devices")
        ends = {0: " (fastest)", len(reports) - 1: " (slowest)"}
        axes.set_xticks(place, [f"{tier}{ends.get(tier, '')}" for tier in range(len(reports))])
        axes.set(xlabel="tier by compute", ylabel="share (%)")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)

    return figure(draw)


def device_hours(used: Mapping[str, float], wasted: Mapping[str, float]) -> str:
    """Where devices' time went: hours of all together by phase, those in no sum apart."""

    def draw(axes: Axes) -> None:
        names = list(used)[::-1]
        lost = [wasted.get(name, 0.0) for name in names]
        kept = [used[name] - gone for name, gone in zip(names, lost, strict=True)]
        axes.barh(names, kept, color=BLUE, label="in a sum")
        axes.barh(names, lost, left=kept, color=RED, label="wasted")
        axes.set(xlabel="device-hours")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)

    return figure(draw, height=2.0)


def failures(history: pandas.DataFrame) -> str | None:
    """Clients whose report did not come, by reason, round by round; None where that is not known, or all did."""
    names = [name for name in REASONS if name in history and history[name].fillna(0).any()]
    if not names:
        return None

    def draw(axes: Axes) -> None:
        bottom = np.zeros(len(history))
        for name, colour in zip(names, (ORANGE, RED, VIOLET, QUIET), strict=False):
            many = history[name].fillna(0).to_numpy(np.float64)
            axes.bar(history["round"], many, bottom=bottom, color=colour, width=0.9, label=name)
            bottom += many
        axes.set(xlabel=ROUND, ylabel="clients without a report")
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)

    return figure(draw)


def by_hour(shares: Sequence[float]) -> str:
    """The share of devices that can take part, by hour of the day."""

    def draw(axes: Axes) -> None:
        axes.bar(range(len(shares)), [100 * share for share in shares], color=BLUE, width=0.9)
        axes.set(xlabel="hour of the day (UTC)", ylabel="devices available (%)", xticks=range(0, len(shares), 3))

    return figure(draw)

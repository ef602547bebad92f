"""Plots of a run's history, as SVG text that stands in a page by itself."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

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

"""What was found, drawn: recovered images beside the true ones, a recovered history, similarity in numbers, curves."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tacit.attacks.material import ANALYTIC, Material
from tacit.attacks.membership import Membership
from tacit.attacks.roc import bound
from tacit.attacks.similarity import psnr
from tacit.attacks.target import CLIPPED, PLAIN, PRIVATE, SETTINGS
from tacit.attacks.tries import LOCAL, Row, Try
from tacit.record.plots import BLUE, INK, ORANGE, QUIET, RED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {PLAIN: RED, CLIPPED: ORANGE, PRIVATE: BLUE}
CONTROL = "another client"
DENSITY = 150
SHOWN = 4
"""Images of one kind of work."""
SIZE, MARGIN = 0.8, 1.05
"""Of an image, and of the names of rows, in inches."""
TOP = 10


@dataclass(frozen=True)
class Drawing:
    """A picture.

    Attributes:
        name: of its file, without the ending.
        title: above it.
        caption: what it shows, and how to read it.
        png: the picture itself.
    """

    name: str
    title: str
    caption: str
    png: bytes


def drawn(
    name: str,
    title: str,
    caption: str,
    fill: Callable[[Figure], None],
    width: float,
    height: float,
    *,
    free: bool = False,
) -> Drawing:
    """Calls `fill(figure)` on an empty figure of so many inches; pyplot's global state is never touched.

    `free` lets it place everything itself.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.titlesize": 10,
    }
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout=None if free else "constrained")
        fill(figure)
        raster = io.BytesIO()
        figure.savefig(raster, format="png", dpi=DENSITY, facecolor="white")
    return Drawing(name, title, caption, raster.getvalue())


def images(material: Material, tries: Sequence[Try]) -> Drawing:
    """True images, what came back of them in each setting, and another client's."""
    works = list(dict.fromkeys(one.work for one in tries))
    columns = {work: _cells(work, tries) for work in works}

    count = sum(len(columns[work][PLAIN]) for work in works)
    what = "the mean of its images" if tries[0].method == ANALYTIC else "each of its images"
    return drawn(
        f"inversion-{material.name.rsplit(': ', 1)[-1]}",
        f"Images from one client's update ({material.name}, {tries[0].method})",
        f"Top row: what the client holds ({what}, where there are several). Below: what came back from its message, "
        "with the peak signal-to-noise ratio in decibels. Bottom row: what another client holds, matched in the same "
        "way. A row says something only as far as it beats the bottom one.",
        lambda figure: _grid(figure, columns, material.shape[1:]),
        SIZE * (count + 0.4 * (len(works) - 1)) + MARGIN + 0.1,
        SIZE * (len(SETTINGS) + 2) * 1.2 + 0.35,
        free=True,
    )


Cell = tuple[np.ndarray, np.ndarray, np.ndarray]


def _cells(work: str, tries: Sequence[Try]) -> dict[str, list[Cell]]:
    """Setting -> (recovered, true, control) of at most `SHOWN` images, of as many clients as there are."""
    found = {}
    for setting in SETTINGS:
        mine = [one for one in tries if one.work == work and one.setting == setting]
        if len(mine[0].recovered) > 1:
            mine = mine[:1]
        order = np.argsort([row.tobytes() for row in mine[0].true]) if len(mine) == 1 else np.array([0])
        found[setting] = [
            (one.recovered[row], one.true[row], one.control[row]) for one in mine for row in order[:SHOWN]
        ][:SHOWN]
    return found


def _grid(figure: Figure, columns: dict[str, dict[str, list[Cell]]], shape: tuple[int, ...]) -> None:
    """All works side by side: a row for the truth, one for every setting, one for another client."""
    names, widths = ("true", *SETTINGS, CONTROL), list[float]()
    for cells in columns.values():
        widths += [*([0.4] if widths else []), *[1.0] * len(cells[PLAIN])]
    wide, high = figure.get_size_inches()
    edges = {"left": MARGIN / wide, "right": 1 - 0.1 / wide, "top": 1 - 0.3 / high, "bottom": 0.2 / high}
    grid = figure.add_gridspec(len(names), len(widths), width_ratios=widths, wspace=0.06, hspace=0.2, **edges)
    place = 0
    for work, cells in columns.items():
        for column in range(len(cells[PLAIN])):
            for row, name in enumerate(names):
                axes = figure.add_subplot(grid[row, place])
                _image(axes, name, cells[name if name in cells else PLAIN][column], shape)
                if place == 0:
                    axes.set_ylabel(name, rotation=0, ha="right", va="center", color=COLOURS.get(name, INK))
                if row == 0 and column == 0:
                    axes.set_title(work, fontsize=9, loc="left")
            place += 1
        place += 1


def _image(axes: Axes, name: str, cell: Cell, shape: tuple[int, ...]) -> None:
    recovered, true, control = cell
    shown = {"true": true, CONTROL: control}.get(name, recovered)
    axes.imshow(shown.reshape(shape), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("#d5dbe1")
    if name != "true":
        axes.set_xlabel(f"{psnr(shown, true):.0f} dB", fontsize=7, labelpad=1, color=QUIET)


def history(material: Material, tries: Sequence[Try]) -> Drawing:
    """What one user used most: the truth, what came back in each setting, and another client's."""
    mine = {one.setting: one for one in reversed(tries) if one.work == LOCAL and one.method == ANALYTIC}
    names, columns = list(material.history), list(material.history.values())
    true = mine[PLAIN].true[0][columns]
    wanted = set(np.argsort(-true, kind="stable")[: min(TOP, int((true > 0).sum()))].tolist())
    lists = {"true": true} | {setting: one.recovered[0][columns] for setting, one in mine.items()}
    lists = {name: lists[name] for name in ("true", *SETTINGS)} | {CONTROL: mine[PLAIN].control[0][columns]}

    def fill(figure: Figure) -> None:
        for axes, (name, values) in zip(np.ravel(figure.subplots(1, len(lists))), lists.items(), strict=True):
            order = np.argsort(-values, kind="stable")[:TOP][::-1]
            axes.barh(range(len(order)), values[order], color=[BLUE if k in wanted else "#cfd6dd" for k in order])
            axes.set_yticks(range(len(order)), [names[k] for k in order], fontsize=7)
            axes.set_xticks([])
            axes.spines[["top", "right", "bottom"]].set_visible(False)
            hits = len(wanted & set(order.tolist()))
            axes.set_title(f"{name}: {hits} of {len(wanted)}", fontsize=9, color=COLOURS.get(name, INK))

    return drawn(
        "inversion-history",
        f"What one user used most, from one message ({material.name})",
        "The ten largest entries of the mean history of one client: its own (left), and as read off the first layer of "
        "what it sends after its real local training. Blue: truly among its ten. Right: another client, as far as a "
        "guess would come that never saw the message.",
        fill,
        11,
        2.9,
    )


def similarities(rows: Sequence[Row]) -> Drawing:
    """Cosine of what came back, over kinds of work, by setting."""
    kinds = list(dict.fromkeys((row.material, row.method) for row in rows))

    def fill(figure: Figure) -> None:
        for axes, kind in zip(np.ravel(figure.subplots(1, len(kinds), sharey=True)), kinds, strict=True):
            _bars(axes, [row for row in rows if (row.material, row.method) == kind])
            axes.set_title(f"{kind[0].replace(': ', chr(10))}, {kind[1]}", fontsize=8)
        figure.axes[0].set(ylabel="cosine with the truth", ylim=(-0.15, 1.05))
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)

    return drawn(
        "inversion-similarity",
        "How near the recovered examples come",
        "Cosine similarity to the truth, mean and standard deviation over clients; 1 is exact. The black line is what "
        "another client's examples reach: an attack is worth what it has above it.",
        fill,
        2.7 * len(kinds) + 0.6,
        3.4,
    )


def _bars(axes: Axes, rows: Sequence[Row]) -> None:
    works = list(dict.fromkeys(row.work for row in rows))
    for place, setting in enumerate(SETTINGS):
        mine = {row.work: row for row in rows if row.setting == setting}
        at = np.arange(len(works)) + 0.26 * (place - 1)
        means = [mine[work].mean["cosine"] or 0.0 for work in works]
        spreads = [mine[work].spread["cosine"] or 0.0 for work in works]
        axes.bar(at, means, 0.24, yerr=spreads, color=COLOURS[setting], label=setting, error_kw={"lw": 0.8})
    for place, work in enumerate(works):
        control = next(row.control["cosine"] for row in rows if row.work == work) or 0.0
        label = CONTROL if place == 0 else None
        axes.plot([place - 0.42, place + 0.42], [control, control], color=INK, lw=1.6, label=label)
    axes.axhline(0, color=QUIET, lw=0.6)
    axes.set_xticks(range(len(works)), [work.replace(", ", "\n").replace(" training", "\ntraining") for work in works])
    axes.tick_params(axis="x", labelsize=8, length=0)
    axes.spines[["top", "right"]].set_visible(False)


def curves(found: Membership) -> Drawing:
    """The curves on logarithmic axes, with what the claim leaves to any attack."""
    epsilon, delta = found.claim["epsilon"], found.claim["delta"]
    least = 1 / (2 * max(roc.others for roc in found.rocs.values()))
    rates = np.geomspace(least, 1, 200)

    def fill(figure: Figure) -> None:
        axes = figure.add_subplot()
        limit = bound(rates, epsilon, delta)
        axes.fill_between(rates, limit, 1, color="#e8eef5", lw=0)
        axes.plot(rates, limit, color=INK, lw=1, ls=":", label=f"DP allows at most (epsilon {epsilon:.3g})")
        axes.plot(rates, rates, color=QUIET, lw=1, ls="--", label="guessing")
        for setting, roc in found.rocs.items():
            label = f"{setting}: AUC {roc.auc:.3f} ({roc.interval[0]:.3f} to {roc.interval[1]:.3f})"
            fpr, tpr = np.maximum(roc.fpr, least), np.maximum(roc.tpr, least)
            axes.step(fpr, tpr, where="post", color=COLOURS[setting], lw=1.8, label=label)
        axes.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least, 1.1))
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, loc="lower right", fontsize=8)

    return drawn(
        "membership",
        "Who took part, from the final model",
        f"Offline LiRA on whole clients with {found.shadows} federations for each setting. What counts is the left "
        "edge: how many clients are named where almost nobody is named falsely. The shaded region is out of reach of "
        "every attack on the federations with DP, if their claim is true.",
        fill,
        6.4,
        4.8,
    )

"""Cost of a session against clients, parameters and the share that is lost: measured where it is quick, else estimated.

Estimates are those of `tacit secure estimate`, and are made for measured points too, to be held against them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.secure_sessions import config, session, whole
from tacit.aggregation.secure.estimate import estimate

CLIENTS = (10, 50, 100, 200, 500)
PARAMETERS = (1_000, 100_000, 1_000_000)
DROPOUT = (0.0, 0.05, 0.1, 0.3)
LONGEST = 3.0
"""Seconds of a whole session, by its estimate, up to which it is held."""
COLOURS = ("#0f766e", "#c2410c", "#a21caf", "#64748b", "#65a30d")


@dataclass
class Point:
    """What a session costs.

    Attributes:
        dropout: share of the clients that is lost after sharing secrets, and that the graph provides for.
        client: processor seconds of one client; the median over clients where measured.
        server: processor seconds of the server, all steps, on one core.
        measured: a session was held.
        estimated: `client` and `server` as estimated.
    """

    clients: int
    parameters: int
    dropout: float
    neighbours: int
    client: float
    server: float
    measured: bool
    estimated: tuple[float, float]


def points(quick: bool) -> list[Point]:
    """All of the grid; without identities, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})  # estimates are for the cores that there are
    try:
        return list(_points(quick))
    finally:
        os.sched_setaffinity(0, cores)


def _points(quick: bool) -> Iterator[Point]:
    some = product(CLIENTS[:2], PARAMETERS[:1], DROPOUT[::2]) if quick else product(CLIENTS, PARAMETERS, DROPOUT)
    for clients, parameters, dropout in some:
        settings = config(clients, parameters, dropout=dropout)
        told = estimate(settings, clients)
        client, server = told.seconds_client, told.seconds_server
        measured = clients * client + server < LONGEST
        if measured:
            held = session(settings, clients, lost=int(clients * dropout))
            whole(held)
            client, server = median(held.client_cpu()), sum(held.server.cpu.values())
        yield Point(
            clients, parameters, dropout, told.neighbours, client, server, measured,
            (told.seconds_client, told.seconds_server),
        )  # fmt: skip


def as_json(found: list[Point]) -> list[dict[str, Any]]:
    """The points as plain data."""
    return [asdict(point) for point in found]


def agreement(found: list[Point]) -> dict[str, list[float]]:
    """What measured points cost of what was estimated, for client and server."""
    held = [p for p in found if p.measured]
    return {
        "client": [p.client / p.estimated[0] for p in held],
        "server": [p.server / p.estimated[1] for p in held],
    }


def plot(found: list[Point], path: Path) -> None:
    """Seconds of client and server against each of the three; filled where measured, hollow where estimated."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "tacit", "svg.fonttype": "path", "font.size": 9}
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    figure, axes = pyplot.subplots(2, 3, figsize=(10, 5.6), sharey="row", sharex="col")
    for row, who in enumerate(("client", "server")):
        _lines(axes[row, 0], found, who, "clients", "parameters", {"dropout": 0.1})
        _lines(axes[row, 1], found, who, "parameters", "clients", {"dropout": 0.1})
        _lines(axes[row, 2], found, who, "dropout", "clients", {"parameters": 100_000})
        axes[row, 0].set_ylabel(f"seconds of {'one client' if who == 'client' else 'the server'}")
    labels = ("clients, 10 % lost", "parameters, 10 % lost", "share of the clients lost, 100,000 parameters")
    for axis, label in zip(axes[1], labels, strict=True):
        axis.set_xlabel(label)
    for place in (0, 1):
        axes[0, place].set_xscale("log")
    for axis in (axis for axis in axes[0, :2] if axis.lines):
        axis.legend(fontsize=7, frameon=False)
    marks = [
        Line2D([], [], color="#334155", marker="o", linestyle="", label="measured"),
        Line2D([], [], color="#334155", marker="o", linestyle="", fillstyle="none", label="estimated"),
    ]
    axes[1, 0].legend(handles=marks, fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    pyplot.close(figure)


def _lines(axis: Any, found: list[Point], who: str, along: str, each: str, fixed: dict[str, float]) -> None:
    """A line for each value of `each`, over `along`, with the third held."""
    here = [p for p in found if all(getattr(p, name) == value for name, value in fixed.items())]
    for colour, value in zip(COLOURS, sorted({getattr(p, each) for p in here}), strict=False):
        mine = sorted((p for p in here if getattr(p, each) == value), key=lambda p: float(getattr(p, along)))
        axis.plot([getattr(p, along) for p in mine], [getattr(p, who) for p in mine], color=colour, linewidth=1,
                  label=f"{value:,} {each}")  # fmt: skip
        for point in mine:
            style = "full" if point.measured else "none"
            axis.plot(getattr(point, along), getattr(point, who), "o", color=colour, fillstyle=style, markersize=4)
    axis.set_yscale("log")
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)

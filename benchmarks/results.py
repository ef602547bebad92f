"""What a benchmark run leaves behind: a table on the screen, a JSON file, a plot."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import floor, log10
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import workloads
from benchmarks.arena import Measurement, Schedule
from benchmarks.engines import TACIT
from benchmarks.figures import Row, Spread

FOLDER = Path(__file__).parent / "results"
VERSION = 1
WIDTH = 150


def show(rows: list[Row], machine: dict[str, Any], quick: bool) -> None:
    """Prints one table for each workload, and below it how each engine was used."""
    console = Console()
    if console.width < WIDTH:
        console = Console(width=WIDTH)
    memory = f"{machine['memory_gib']} GiB" if machine["memory_gib"] else "memory unknown"
    console.print(f"{machine['processor']}, {machine['cores']} cores, {memory}, caches {machine['caches']}")
    for name in dict.fromkeys(row.workload for row in rows):
        workload, here = workloads.find(name, quick), [row for row in rows if row.workload == name]
        console.print(_table(workload, here))
        for row in here:
            versions = ", ".join(f"{k} {v}" for k, v in row.versions.items())
            console.print(f"  [bold]{row.engine}[/]: {row.note} ({versions})" + _doubt(row), highlight=False)
    if quick:
        console.print("[yellow]A quick run shows that everything works. Its figures mean nothing.[/]")


def _table(workload: workloads.Workload, rows: list[Row]) -> Table:
    title = f"{workload.name}: {workload.title} ({workload.flops_per_round / 1e9:.1f} GFLOP a round)"
    table = Table(title=title, title_justify="left")
    table.add_column("engine")
    for heading in (
        "s / round", "low .. high", "n", "x naive", "tacit is x", "examples / s", "GFLOP/s", "% of peak",
        "ready after s", "MiB", "other load",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    if row.seconds is None:
        return [row.engine, "[red]no figure[/]"]
    s = row.seconds
    return [
        row.engine if row.trusted else f"[red]{row.engine} (!)[/]",
        f"{s.median:.3g}",
        f"{s.low:.3g} .. {s.high:.3g}",
        str(s.count),
        _ratio(row.over_naive) if row.trusted else "",
        _ratio(row.tacit_over) if row.trusted and row.engine != TACIT.name else "",
        f"{row.examples:,.0f}" if row.examples else "",
        f"{row.gflops:.1f}" if row.gflops else "",
        f"{100 * row.share:.1f}" if row.share else "",
        f"{row.ready:.1f}" if row.ready else "",
        f"{row.peak_mb:,.0f}" if row.peak_mb else "",
        f"{row.others.median:.2f}" if row.others else "",
    ]


def _ratio(spread: Spread | None) -> str:
    if spread is None:
        return ""
    if spread.count == 1:
        return f"{spread.median:.3g}"
    return f"{spread.median:.3g} ({spread.low:.3g} .. {spread.high:.3g})"


def _doubt(row: Row) -> str:
    """What a reader should know besides the figure."""
    said = [f"[red]{row.failure}[/]"] if row.failure else []
    if row.check is not None and row.engine != "naive":
        colour, word = ("green", "did the work") if row.check.passed else ("red", "DID NOT do the same work")
        said.append(f"[{colour}]{word}[/]: {row.check}")
    if row.outside is not None:
        said.append(f"{100 * row.outside.median:.1f} % of a round is not local steps" + _phases(row))
    return "".join(f"\n      {line}" for line in said)


def _phases(row: Row) -> str:
    """The phases that take a thousandth of a round or more."""
    if not row.phases or not row.seconds:
        return ""
    shares = {name: seconds / row.seconds.median for name, seconds in row.phases.items()}
    return " (phases: " + ", ".join(f"{name} {100 * s:.1f} %" for name, s in shares.items() if s >= 0.001) + ")"


def as_json(
    rows: list[Row], measurements: list[Measurement], schedule: Schedule, machine: dict[str, Any]
) -> dict[str, Any]:
    """The run as plain data: figures, and every single time that they come from."""
    return {
        "version": VERSION,
        "machine": machine,
        "schedule": asdict(schedule),
        "workloads": {
            name: {
                "title": w.title,
                "parameters": w.parameters,
                "clients": w.clients,
                "steps_per_round": w.steps_per_round,
                "examples_per_round": w.examples_per_round,
                "flops_per_round": w.flops_per_round,
            }
            for name, w in ((name, workloads.find(name, schedule.quick)) for name in schedule.workloads)
        },
        "rows": [{**asdict(row), "trusted": row.trusted} for row in rows],
        "measurements": [
            {
                "workload": m.workload,
                "engine": m.engine.name,
                "repetition": m.repetition,
                "threads": m.engine.threads,
                "processes": m.engine.processes,
                "ready": m.ready,
                "load": asdict(m.load) if m.load else None,
                "failure": m.failure,
                "rounds": m.rounds,
            }
            for m in measurements
        ],
    }


def write(name: str, content: dict[str, Any], rows: list[Row], quick: bool) -> list[Path]:
    """Writes `results/name.json` and `results/name.png`. Returns their paths."""
    FOLDER.mkdir(exist_ok=True)
    table, picture = FOLDER / f"{name}.json", FOLDER / f"{name}.png"
    table.write_text(json.dumps(content, indent=1) + "\n")
    plot(rows, picture, quick)
    return [table, picture]


def plot(rows: list[Row], path: Path, quick: bool = False) -> None:
    """Seconds per round as bars on a logarithmic axis, one panel for each workload, spread as whiskers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rounds = [row for row in rows if row.seconds and row.examples]
    names = list(dict.fromkeys(row.workload for row in rounds))
    if not names:
        return
    figure, axes = pyplot.subplots(
        len(names), 1, figsize=(8, 0.8 + 0.36 * len(rounds) + 0.7 * len(names)), squeeze=False,
        height_ratios=[1.5 + sum(row.workload == name for row in rounds) for name in names],
    )  # fmt: skip
    for axis, name in zip(axes[:, 0], names, strict=True):
        _panel(axis, workloads.find(name, quick), [row for row in rounds if row.workload == name])
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _panel(axis: Any, workload: workloads.Workload, rows: list[Row]) -> None:
    ordered = sorted(rows, key=lambda row: -row.seconds.median if row.seconds else 0.0)
    for place, row in enumerate(ordered):
        s = row.seconds
        if s is None:
            continue
        colour = "#0b7285" if row.engine == TACIT.name else "#adb5bd" if row.trusted else "#e03131"
        axis.barh(place, s.median, color=colour, xerr=[[s.median - s.low], [s.high - s.median]], ecolor="#495057")
        ratio = f"   {row.over_naive.median:.2g}x naive" if row.over_naive and row.trusted else ""
        axis.text(s.high, place, f"  {s.median:.3g} s{ratio}", va="center", fontsize=8)
    axis.set_yticks(range(len(ordered)), [row.engine for row in ordered])
    axis.set_xscale("log")
    # Bars need a left end, which a logarithmic axis does not have: a power of ten below the fastest.
    low = 10.0 ** floor(log10(ordered[-1].seconds.low) - 0.3) if ordered[-1].seconds else 1e-3
    high = max(row.seconds.high for row in ordered if row.seconds)
    axis.set_xlim(low, high * (high / low) ** 0.4)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("")
    axis.set_xlabel("seconds per round (logarithmic)", fontsize=8)
    axis.set_title(f"{workload.name}: {workload.title}", fontsize=9, loc="left")
    axis.spines[["top", "right"]].set_visible(False)

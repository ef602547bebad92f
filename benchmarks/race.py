"""What both benchmark commands share: their options, and the way from options to a table, a JSON file and a plot."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from benchmarks import arena, engines, figures, machine, results
from benchmarks.arena import Schedule
from benchmarks.engines import Engine
from benchmarks.workloads import WORKLOADS

Workloads = Annotated[str, typer.Option("--workloads", "-w", help="Comma-separated: " + ", ".join(WORKLOADS) + ".")]
Engines = Annotated[str, typer.Option("--engines", "-e", help="Comma-separated names; all: each of them.")]
Repeats = Annotated[int, typer.Option(min=1, help="How often every engine has its turn.")]
Rounds = Annotated[int, typer.Option(min=1, help="Timed rounds of each turn, after one that is not counted.")]
Quick = Annotated[bool, typer.Option("--quick", help="Few clients, one repetition: to try it, not to measure.")]
Device = Annotated[str, typer.Option(help="cpu or cuda: where tacit and the loops train.")]
Limit = Annotated[float, typer.Option(min=1.0, help="Seconds after which a process is ended and counts as failed.")]
Out = Annotated[str, typer.Option(help="Name of the files in benchmarks/results.")]


def schedule(workloads: str, repeats: int, rounds: int, quick: bool, device: str, limit: float) -> Schedule:
    """The schedule that the options ask for; exits with a usage error where they cannot be met."""
    names = tuple(name.strip() for name in workloads.split(",") if name.strip())
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown or not names:
        raise typer.BadParameter(f"unknown workload(s) {unknown}: choose from {', '.join(WORKLOADS)}")
    if device not in ("cpu", "cuda"):
        raise typer.BadParameter(f"--device is {device!r}: give cpu or cuda")
    return Schedule(names, 1 if quick else repeats, rounds, quick, device, limit)


def run(among: tuple[Engine, ...], names: str, asked: Schedule, out: str) -> None:
    """Measures, prints, writes. Ends with exit code 1 where an engine gave no figure or did not do the work."""
    try:
        chosen = engines.named(names, among)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    console = Console(stderr=True)
    found = machine.describe()
    measurements = arena.run_all(chosen, asked, lambda text: console.print(text, markup=False, highlight=False))
    rows = figures.rows(measurements, asked.quick)
    results.show(rows, found, asked.quick)
    name = f"{out}-quick" if asked.quick else out
    for path in results.write(name, results.as_json(rows, measurements, asked, found), rows, asked.quick):
        console.print(f"wrote {path.relative_to(results.FOLDER.parents[1])}", highlight=False)
    if any(not row.trusted or row.failure for row in rows):
        raise typer.Exit(1)

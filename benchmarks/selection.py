"""`make bench-selection`: who is asked, and when rounds close, on a fleet of unequal devices, in virtual time."""

from __future__ import annotations

import json
import os
import time
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine, selection_plots
from benchmarks.selection_clock import Turns, median_interval, turns
from benchmarks.selection_figures import Figure, Reader, cells, lines
from benchmarks.selection_parts import PARTS, cases
from benchmarks.selection_trials import Case, Outcome, Scale, run
from tacit.errors import TacitWarning

FOLDER = Path(__file__).parent / "results"
PICTURES = Path(__file__).parents[1] / "docs" / "images"
PAGE = PICTURES.parent / "selection-measured.md"
HEAD = ("| | mean over seeds | 95 % interval | goal | |", "|---|---:|---|---|---|")
VERSION = 1
CLOCK = "clock"
FULL, QUICK = Scale(), Scale(small=20)
TIMED, TURNS, ROUNDS = ("mnist", "apps"), 40, 40
"""Grounds, turns, and rounds of a run in the part "clock"."""
HELP = """Compares who is asked and when rounds close on fleets of unequal devices: virtual time to a target accuracy,
final accuracy, and who took part. Seconds of devices are arbitrary: all figures are ratios.

The target is 95 % of the best accuracy that waiting for all reaches with the same seed, by means over three
evaluations. Intervals are over seeds: data, first weights, devices and draws all differ.

Parts:

  closing   waiting for all, a deadline, over-selection, partial work

  steps     FedNova and FedProx against FedAvg where slow devices hold other labels

  guided    Oort and power-of-choice, on their own ground and under availability traces

  buffered  FedBuff against synchronous rounds

  fair      a quota against uniform cohorts

  clock     the real time that the clock costs

MNIST is looked for in the folder named by TACIT_DATA; `tacit data mnist` says how to get it.

Every run that the JSON file already holds is not made again, so that what was cut off goes on. It writes
benchmarks/results/selection.json, docs/images/selection.svg and selection-deciles.svg, and the tables of
docs/selection-measured.md; with --quick, whose figures mean nothing, or another --out, everything to results.

Examples:

  python -m benchmarks.selection --quick

  python -m benchmarks.selection --parts fair,clock --out some
"""
console = Console(width=170)
app = typer.Typer(add_completion=False, rich_markup_mode=None)


class Book:
    """What was measured, in a file that is written after every seed."""

    def __init__(self, path: Path, scale: Scale) -> None:
        self.path, self.scale = path, scale
        blank = {"version": VERSION, "small": scale.small, "runs": [], CLOCK: {}}
        content: Any = json.loads(path.read_text()) if path.exists() else blank
        if content["version"] != VERSION or content["small"] != scale.small:
            raise SystemExit(
                f"{path} was made by another version of this benchmark: move it away, or give another --out"
            )
        self.found = {(Case(**row["case"]), row["seed"]): Outcome(**row["outcome"]) for row in content["runs"]}
        self.clock = {ground: Turns(**times) for ground, times in content[CLOCK].items()}
        self.machine = content.get("machine") or machine.describe()

    def measure(self, wanted: list[Case], seeds: int) -> None:
        """Makes the runs that are missing: all cases with one seed come before the next seed."""
        left = [(case, seed) for seed in range(seeds) for case in wanted if (case, seed) not in self.found]
        for number, (case, seed) in enumerate(left):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", TacitWarning)
                self.found[case, seed] = outcome = run(case, seed, self.scale)
            told = f"{outcome.accuracy[-1]:.3f} after {outcome.hours[-1]:.3g} h, {outcome.seconds:.1f} s"
            console.print(f"{number + 1}/{len(left)} seed {seed}: {case.name}: {told}", highlight=False)
            if number + 1 == len(left) or left[number + 1][1] != seed:
                self.write([])

    def write(self, figures: list[Figure]) -> None:
        """Writes everything; runs by seed and case."""
        runs = [
            {"case": asdict(case), "seed": seed, "outcome": asdict(outcome)}
            for (case, seed), outcome in sorted(self.found.items(), key=lambda item: (item[0][1], item[0][0].name))
        ]
        content = {
            "version": VERSION,
            "small": self.scale.small,
            "machine": self.machine,
            "figures": [asdict(figure) | {"met": figure.met} for figure in figures],
            CLOCK: {ground: asdict(times) for ground, times in self.clock.items()},
        }
        head = json.dumps(content, indent=1)
        rows = ",\n".join(json.dumps(row) for row in runs)
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(f'{head[:-2]},\n "runs": [\n{rows}\n]\n}}\n')


def clock_figures(found: dict[str, Turns]) -> list[Figure]:
    """What the clock adds: medians over turns, with bootstrap intervals."""
    made = []
    for ground, times in found.items():
        turned = f"median of {len(times.plain)} turns"
        for what, unit, goal, values in (
            ("real time that the clock adds to a round", "%", 5.0, times.added()),
            ("processor time that the clock adds to a run", "%", None, times.added(cpu=True)),
            ("processor time that the clock adds to a round", "ms", None, times.each_round()),
        ):
            figure = Figure(CLOCK, f"{ground}: {what}, {turned}", unit, [*values], goal=goal, more=False)
            figure.mean, figure.low, figure.high = median_interval(values)
            made.append(figure)
    return made


@app.command(help=HELP)
def main(
    parts: Annotated[str, typer.Option(help="By commas.")] = ",".join((*PARTS, CLOCK)),
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each case.")] = 5,
    quick: Annotated[bool, typer.Option("--quick", help="Small and short: to try it, not to measure.")] = False,
    out: Annotated[str, typer.Option(help="Name of the result file.")] = "selection",
) -> None:
    """Runs the benchmark."""
    wanted = parts.split(",")
    if unknown := set(wanted) - {*PARTS, CLOCK}:
        raise typer.BadParameter(f"unknown part(s) {', '.join(sorted(unknown))}: see --help")
    began, name = time.perf_counter(), f"{out}-quick" if quick else out
    book = Book(FOLDER / f"{name}.json", QUICK if quick else FULL)
    shown = [part for part in PARTS if part in wanted]
    book.measure(list(dict.fromkeys(case for part in shown for case in cases(part))), seeds)
    for ground in TIMED if CLOCK in wanted else ():
        if ground not in book.clock:
            book.clock[ground] = turns(*((2, 4) if quick else (TURNS, ROUNDS)), book.scale, ground)
    reader = Reader(book.found, range(seeds))
    figures = [figure for part in shown for figure in PARTS[part](reader)]
    figures += clock_figures(book.clock) if CLOCK in wanted else []
    for figure in figures if quick else ():
        figure.goal = None
    book.machine |= {"load_after": round(os.getloadavg()[0], 2)}
    book.write(figures)
    show(figures)
    if {"closing", "buffered"} <= set(wanted):
        folder, stem = (FOLDER, name) if quick or out != "selection" else (PICTURES, "selection")
        selection_plots.hours(book.found, range(seeds), folder / f"{stem}.svg")
        selection_plots.deciles(book.found, range(seeds), folder / f"{stem}-deciles.svg")
    if not quick and out == "selection":
        PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8"), figures), encoding="utf-8")
    console.print(f"{time.perf_counter() - began:.0f} s; written: {book.path}", highlight=False)


def show(figures: list[Figure]) -> None:
    """Prints the table."""
    table = Table(title="selection on a fleet", title_justify="left")
    for place, heading in enumerate(("part", "", "mean over seeds", "95 % interval", "goal", "")):
        table.add_column(heading, justify="right" if place == 2 else "left")
    for figure in figures:
        table.add_row(*cells(figure))
    console.print(table)


def recorded(path: Path) -> list[Figure]:
    """The figures of a result file."""
    figures = []
    for row in json.loads(path.read_text())["figures"]:
        figure = Figure(**{name: row[name] for name in ("part", "what", "unit", "values")})
        for name in ("scale", "goal", "more", "tolerant", "mean", "low", "high"):
            setattr(figure, name, row[name])
        figures.append(figure)
    return figures


def refreshed(page: str, figures: list[Figure]) -> str:
    """A page with the table of each part anew: it stands below `<!-- part -->` and an empty line."""
    for part in dict.fromkeys(figure.part for figure in figures):
        before, mark, after = page.partition(f"<!-- {part} -->\n\n")
        if mark:
            rest = after.splitlines(keepends=True)
            while rest and rest[0].startswith("|"):
                del rest[0]
            table = "\n".join([*HEAD, *lines([f for f in figures if f.part == part])])
            gap = "" if rest and rest[0] == "\n" else "\n"
            page = f"{before}{mark}{table}\n{gap}{''.join(rest)}"
    return page


if __name__ == "__main__":
    app()

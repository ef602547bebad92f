"""`make bench-dp-sgd`: what a private local step costs beside a plain one, in tacit and elsewhere, in one run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.peers import environment
from benchmarks.private_steps import CASES

FOLDER = Path(__file__).parent / "results"
VERSION = 1
CONTESTANTS = {
    "pytorch": "benchmarks.own_steps",
    "tacit": "benchmarks.own_steps",
    "tacit-private": "benchmarks.own_steps",
    "vmap-grad": "benchmarks.own_steps",
    "opacus-hooks": "benchmarks.peers.opacus",
    "opacus-ghost": "benchmarks.peers.opacus",
    "opacus-secure": "benchmarks.peers.opacus",
}
"""The program of each."""
PLAIN = ("pytorch", "tacit")
TURN = 0.25
"""Seconds that a turn takes, about."""
ALIKE = 0.01
"""Relative difference between private steps without noise that still counts as the same work. tacit cuts gradients to
1 - 2^-8 of the norm, to have room for rounding."""
HELP = """Measures seconds of one thread for a local step of DP-SGD, and for a plain one, on batches that are given.

Cases: the perceptron 256-256-128-100 with batches of 32, 64 and 256, and the CNN of the MNIST example of Opacus (26,010
parameters) with batches of 64 and 256.

Contestants: pytorch (zero_grad, backward, optim.SGD: every ratio is against it), tacit (its engine without privacy),
tacit-private (its engine of DP-SGD, noise of AES), vmap-grad (DP-SGD by hand with torch.func), opacus-hooks,
opacus-ghost and opacus-secure, in an environment of their own under .bench/. One that cannot run here keeps its row,
with the reason.

Contestants take turns of about a quarter of a second, --repeats times. Shown are medians of processor time with the
smallest and the largest value: other programs on the machine disturb it less than they do the clock's, which the JSON
file holds too. Before that, one step of each without noise must go as far as everyone else's.

It writes benchmarks/results/dp-sgd.json (dp-sgd-quick with --quick).

Examples:

  python -m benchmarks.dp_sgd --quick

  python -m benchmarks.dp_sgd --cases cnn-64 --repeats 15
"""
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass
class Row:
    """One contestant on one case.

    Attributes:
        cpu, seconds: of a step, by turn.
        norms: how far a step without noise goes, in all and by halves.
        failure: why there is no figure.
    """

    contestant: str
    case: str
    note: str = ""
    cpu: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    failure: str | None = None


class Program:
    """A program of contestants that waits for questions."""

    def __init__(self, module: str, python: str) -> None:
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [python, "-m", module], env=variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def ask(self, **question: Any) -> dict[str, Any]:
        """One question, one answer; a program that ended answers with a failure."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"failure": "its program ended"}
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"failure": "its program ended"}
        return answer

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@app.command(help=HELP)
def main(
    cases: Annotated[str, typer.Option(help="By commas.")] = ",".join(CASES),
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each contestant.")] = 15,
    quick: Annotated[bool, typer.Option("--quick", help="Two turns each: to try it, not to measure.")] = False,
    out: Annotated[str, typer.Option(help="Name of the result file.")] = "dp-sgd",
) -> None:
    """Runs the benchmark."""
    wanted = cases.split(",")
    if unknown := set(wanted) - set(CASES):
        raise typer.BadParameter(f"unknown case(s) {', '.join(sorted(unknown))}: choose from {', '.join(CASES)}")
    console = Console(width=150)
    found, asks, close = machine.describe(), *_programs()
    rows = [row for case in wanted for row in measured(case, asks, 2 if quick else repeats)]
    close()
    console.print(_table(rows))
    for row in rows:
        if row.failure:
            console.print(f"[yellow]{row.case} {row.contestant}: {row.failure}[/]", highlight=False)
    name = f"{out}-quick" if quick else out
    path = FOLDER / f"{name}.json"
    content = {"version": VERSION, "machine": found, "rows": [vars(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    console.print(f"written: {path}", highlight=False)
    if any(row.failure and row.contestant != "opacus-secure" for row in rows):
        raise typer.Exit(1)


Ask = Callable[..., dict[str, Any]]


def _programs() -> tuple[dict[str, Ask], Callable[[], None]]:
    """How each program is asked, and how all are ended."""
    asks: dict[str, Ask] = {"benchmarks.own_steps": (own := Program("benchmarks.own_steps", sys.executable)).ask}
    started = [own]
    try:
        python = environment.ensure(environment.ENVIRONMENTS["opacus"])
    except environment.EnvironmentUnavailable as reason:
        text = f"not available: {reason}"
        asks["benchmarks.peers.opacus"] = lambda **_: {"failure": text}
    else:
        started.append(Program("benchmarks.peers.opacus", str(python)))
        asks["benchmarks.peers.opacus"] = started[-1].ask

    def close() -> None:
        for program in started:
            program.close()

    return asks, close


def measured(case: str, asks: dict[str, Ask], repeats: int) -> list[Row]:
    """Every contestant on one case."""
    rows = [Row(name, case) for name in CONTESTANTS]
    for row in rows:
        answer = _ask(row, asks, do="check")
        row.norms, row.note = answer.get("norms", []), answer.get("note", "")
    _compare([row for row in rows if row.contestant in PLAIN])
    _compare([row for row in rows if row.contestant not in PLAIN])
    steps = {row.contestant: _steps(_ask(row, asks, do="time", steps=3)) for row in rows}
    for _ in range(repeats):
        for row in rows:
            answer = _ask(row, asks, do="time", steps=steps[row.contestant])
            if not row.failure:
                row.cpu.append(answer["cpu"])
                row.seconds.append(answer["seconds"])
    return rows


def _ask(row: Row, asks: dict[str, Ask], **question: Any) -> dict[str, Any]:
    if row.failure:
        return {}
    answer = asks[CONTESTANTS[row.contestant]](contestant=row.contestant, case=row.case, **question)
    row.failure = answer.get("failure")
    return answer


def _steps(answer: dict[str, Any]) -> int:
    return max(3, round(TURN / answer["cpu"])) if "cpu" in answer else 3


def _compare(rows: list[Row]) -> None:
    """Refuses those that do not go as far as the median."""
    sound = [row for row in rows if not row.failure]
    for row in sound:
        for place, norm in enumerate(row.norms):
            usual = median(other.norms[place] for other in sound)
            if abs(norm - usual) > ALIKE * usual:
                row.failure = f"a step without noise goes {norm:.5g} and not {usual:.5g} as others' do"


def _table(rows: list[Row]) -> Table:
    table = Table(title="Processor time of a step, one thread", title_justify="left")
    headings = ("case", "contestant", "ms", "low .. high", "x pytorch", "x tacit-private", "how")
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if 2 <= place <= 5 else "left")
    for row in rows:
        if row.failure:
            table.add_row(row.case, row.contestant, "", "", "", "", "no figure")
            continue
        beside = {other.contestant: other for other in rows if other.case == row.case}
        ms = [1e3 * s for s in row.cpu]
        table.add_row(
            row.case, row.contestant, f"{median(ms):.3f}", f"{min(ms):.3f} .. {max(ms):.3f}",
            ratio(row, beside["pytorch"]), ratio(row, beside["tacit-private"]), row.note,
        )  # fmt: skip
    return table


def ratio(row: Row, to: Row) -> str:
    """The median over repetitions of what one takes of what another takes, with the middle half of them."""
    if row.failure or to.failure:
        return ""
    ratios = sorted(mine / theirs for mine, theirs in zip(row.cpu, to.cpu, strict=True))
    quarter = len(ratios) // 4
    return f"{median(ratios):.2f} ({ratios[quarter]:.2f} .. {ratios[-1 - quarter]:.2f})"


if __name__ == "__main__":
    app()

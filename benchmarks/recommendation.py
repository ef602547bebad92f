"""`make bench-recommendation`: which loss ranks better, and what learning together is worth, in the app recommender.

Every figure comes from `tacit run app-recommendation` as a user would type it: each run is a process of its own, and
what is kept is its result.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from tacit.record.result import Result

FOLDER = Path(__file__).parent / "results"
VERSION = 1
TRAINED = ("federated", "pooled", "local")
COLUMNS = ("HR@1", "HR@5", "HR@10", "MRR@10", "NDCG@10")
START = "import sys; from tacit.cli.main import main; sys.exit(main())"
HELP = """Holds the app recommender against pooled and local training and naive recommenders, for both losses.

It runs `tacit run app-recommendation` on generated logs and on MovieLens latest-small, which is left out where it is
not at hand: TACIT_DATA names the folder of datasets, `tacit data movielens-latest-small` says how to get it.

It writes benchmarks/results/recommendation.json and .md. --rounds shortens the runs to see that everything works; such
figures mean nothing.

Examples:

  python -m benchmarks.recommendation

  python -m benchmarks.recommendation --data synthetic --losses cross_entropy --rounds 2 --out trial
"""
console = Console(width=150)
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True)
class Trial:
    """One run: the data, the loss, and the command line that makes it."""

    data: str
    loss: str
    options: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """What to type after `tacit`."""
        return ["run", "app-recommendation", "--data", self.data, "--set", f"model.loss={self.loss}", *self.options]

    @property
    def command(self) -> str:
        """What to type."""
        return " ".join(["tacit", *self.words])

    def run(self) -> Result:
        """Carries it out, its progress on standard error.

        Raises:
            SystemExit: the run failed; it has said why.
        """
        with TemporaryDirectory() as folder:
            words = [*self.words, "--json", "--out", f"{folder}/run"]
            done = subprocess.run([sys.executable, "-c", START, *words], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.returncode)
        return Result.of(done.stdout, "result.json")


@dataclass(frozen=True)
class Line:
    """A line of a table: a method, the loss it was trained with (none for the naive ones), and its scores."""

    method: str
    loss: str
    scores: dict[str, float | None]
    interval: tuple[float, float] | None
    cold: float | None

    @property
    def cells(self) -> list[str]:
        """As text."""
        between = f" ({self.interval[0]:.3f} - {self.interval[1]:.3f})" if self.interval else ""
        cells = [_number(self.scores[name]) + (between if name == "HR@10" else "") for name in COLUMNS]
        return [self.method.replace("_", " "), self.loss.replace("_", "-"), *cells, _number(self.cold)]


HEADINGS = ("method", "loss", *(f"{name} (95 %)" if name == "HR@10" else name for name in COLUMNS), "HR@10 cold")


@app.command(help=HELP)
def main(
    data: Annotated[str, typer.Option(help="Sources, by commas.")] = "synthetic,movielens-latest-small",
    losses: Annotated[str, typer.Option(help="Losses, by commas.")] = "cross_entropy,mse",
    seed: Annotated[int, typer.Option(help="Of every draw.")] = 0,
    rounds: Annotated[int | None, typer.Option(help="Rounds; the scenario's own number by default.")] = None,
    out: Annotated[str, typer.Option(help="Name of the result files.")] = "recommendation",
) -> None:
    """Runs the benchmark."""
    options = ("--seed", str(seed), *(() if rounds is None else ("--rounds", str(rounds))))
    found: dict[str, dict[str, tuple[Trial, Result]]] = {}
    for source in data.split(","):
        if lacking := _lacking(source):
            console.print(f"[yellow]{source} is left out: {lacking}[/]", highlight=False)
            continue
        trials = [Trial(source, loss, options) for loss in losses.split(",")]
        found[source] = {trial.loss: (trial, trial.run()) for trial in trials}
        _show(source, [result for _, result in found[source].values()], list(_lines(found[source])))
    if not found:
        raise SystemExit("nothing was measured: bring a dataset, or name synthetic")
    for path in _write(out, found):
        console.print(f"written: {path}", highlight=False)


def _lacking(source: str) -> str:
    """Why a dataset cannot be used, or nothing."""
    from tacit.scenarios import datasets

    if source not in datasets.names():
        return ""
    missing = datasets.status(source).missing
    where = f"set {datasets.FOLDER_VARIABLE} to the folder that has {source}, or see `tacit data {source}`"
    return f"{', '.join(missing)} not at hand; {where}" if missing else ""


def _lines(runs: dict[str, tuple[Trial, Result]]) -> Iterator[Line]:
    """What is trained once for each loss; what only counts, once."""
    results = {loss: result for loss, (_, result) in runs.items()}
    for method in TRAINED:
        for loss, result in results.items():
            yield from _line(method, loss, result)
    result = next(iter(results.values()))
    for method in result.comparison:
        if method not in TRAINED:
            yield from _line(method, "", result)


def _line(method: str, loss: str, result: Result) -> Iterator[Line]:
    scores = result.comparison.get(method)
    if scores is not None:
        cold = result.cold_start.get(method)
        yield Line(method, loss, scores, result.intervals.get(method), cold["HR@10"] if cold else None)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _share(result: Result) -> str:
    """The federated HR@10 as a share of the pooled one."""
    federated, pooled = (result.comparison.get(name) or {} for name in ("federated", "pooled"))
    above, below = federated.get("HR@10"), pooled.get("HR@10")
    return f"{above / below:.1%}" if above is not None and below else "not known"


def _about(result: Result) -> str:
    """How a run was, in a sentence."""
    return (
        f"federated / pooled HR@10 {_share(result)}; {result.clients} clients, {result.parameters:,} parameters, "
        f"{result.rounds} rounds in {result.seconds:.0f} s ({result.engine} engine, {result.workers} workers); "
        f"validation HR@10 {_number(result.validation.get('HR@10'))} after the last round"
    )


def _show(source: str, results: list[Result], lines: list[Line]) -> None:
    table = Table(title=f"{source}: {results[0].data.source}", title_justify="left")
    for place, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="left" if place < 2 else "right")
    for line in lines:
        table.add_row(*line.cells)
    console.print(table)
    for result in results:
        console.print(f"  {_about(result)}", highlight=False)


def _write(name: str, found: dict[str, dict[str, tuple[Trial, Result]]]) -> list[Path]:
    """Writes `results/name.json` and `results/name.md`. Returns their paths."""
    FOLDER.mkdir(exist_ok=True)
    runs = [
        {"data": trial.data, "loss": loss, "command": trial.command, "result": json.loads(result.json_text)}
        for source in found.values()
        for loss, (trial, result) in source.items()
    ]
    content: dict[str, Any] = {"version": VERSION, "machine": machine.describe(), "runs": runs}
    table, text = FOLDER / f"{name}.json", FOLDER / f"{name}.md"
    table.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    text.write_text(_markdown(found), encoding="utf-8")
    return [table, text]


def _markdown(found: dict[str, dict[str, tuple[Trial, Result]]]) -> str:
    parts = [
        "# The app recommender beside what it should be held against\n",
        "Made by `python -m benchmarks.recommendation`. HR@10 has its 95 % bootstrap interval over users; *cold* are "
        "users that no shared model was trained on. The test part is looked at once, after the last round. A user "
        "without an item of the vocabulary in their test part is in no average.\n",
    ]
    for source, runs in found.items():
        results = {loss: result for loss, (_, result) in runs.items()}
        label = " (no person made these data)" if next(iter(results.values())).data.synthetic else ""
        parts.append(f"## {source}{label}\n")
        parts += [f"- {note}" for note in next(iter(results.values())).data.notes] + [""]
        parts.append(f"| {' | '.join(HEADINGS)} |\n|{'---|' * 2}{'---:|' * (len(HEADINGS) - 2)}")
        parts += [f"| {' | '.join(line.cells)} |" for line in _lines(runs)]
        parts.append("")
        for loss, (trial, result) in runs.items():
            parts.append(f"- **{loss}**: {_about(result)}.\n  `{trial.command}`")
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    app()

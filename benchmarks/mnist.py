"""`make bench-mnist`: accuracy on MNIST against epsilon, for private records and for private clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.mnist_trials import TUNING_SEED, Outcome, Setting, Trial

FOLDER = Path(__file__).parent / "results"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "mnist.svg"
"""The plot of results/mnist.json; that of other result files lies beside them."""
VERSION = 1
HELP = """Trains on MNIST with differential privacy and prints the accuracy on the public test set against epsilon.

Parts:

  silo          records protected, one silo of 60,000 images, the CNN of 26,010 parameters

  silos         records protected, ten silos of 6,000 images, the same model

  users         clients protected, 1000 of 60 images, Poisson cohorts, a perceptron of 32 hidden units

  shards        the same where most clients hold two of ten digits

  turns         clients protected by correlated noise (BISR) and turns, without secret cohorts

  clips         users at epsilon 4, with fixed clip norms and with one that follows the median from afar (also longer)

  tuning        what the settings of the others were chosen by: 50,000 training images, measured on the other 10,000

The images are looked for in the folder named by TACIT_DATA; `tacit data mnist` says how to get them.

Every training that the JSON file already holds is not run again, so that a run that was cut off goes on. It writes
benchmarks/results/mnist.json and docs/images/mnist.svg (results/mnist-quick.json and .svg with --quick, whose figures
mean nothing).

Examples:

  python -m benchmarks.mnist --quick

  python -m benchmarks.mnist --parts silo --epsilons 3 --seeds 3

  python -m benchmarks.mnist
"""
EPSILONS = (1.0, 2.0, 3.0, 4.0, 8.0)
CLIPS = (0.03, 0.1, 0.3, 1.0, 3.0)
STARTS = (0.03, 0.3, 3.0)
"""Of the clip norms that follow the median."""

SILO = Setting("record", 1, "cnn", lr=2.0, batch_size=512, steps=117, rounds=6, clip=0.1, momentum=0.9)
SILOS = replace(SILO, clients=10, batch_size=128, steps=47)
FIRST = Setting("user", 1000, "mlp", lr=0.1, batch_size=10, steps=6, rounds=100, clip=0.3, expected=200)
USERS = replace(FIRST, server_momentum=0.9, server_lr=0.3)
SHARDS = replace(USERS, deal="shards")
TURNS = replace(USERS, mechanism="bisr")
SETTINGS = {"silo": SILO, "silos": SILOS, "users": USERS, "shards": SHARDS, "turns": TURNS}
PLAIN_LR = 0.05
"""Of record-level settings without privacy: gradients are then not cut, and the private rate would diverge."""
TRIED = (
    FIRST,
    replace(FIRST, clip=0.1),
    replace(FIRST, clip=1.0),
    replace(FIRST, rounds=50),
    replace(FIRST, lr=0.03),
    replace(FIRST, lr=0.3),
    replace(FIRST, expected=100),
    USERS,
    replace(USERS, clip=1.0),
    replace(USERS, rounds=200),
    replace(USERS, server_lr=1.0),
    replace(SILO, lr=1.0),
    SILO,
    replace(SILOS, batch_size=512, steps=12),
    SILOS,
    replace(SILOS, lr=4.0),
    replace(SILOS, batch_size=64, steps=94),
)
"""Settings of the part "tuning", at epsilon 3 for records and 4 for clients."""

console = Console(width=150)
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=HELP)
def main(
    parts: Annotated[str, typer.Option(help="By commas.")] = ",".join((*SETTINGS, "clips", "tuning")),
    epsilons: Annotated[str, typer.Option(help="By commas.")] = ",".join(f"{e:g}" for e in EPSILONS),
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each setting.")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="Clients trained at once.")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="Two rounds each: to try it, not to measure.")] = False,
    out: Annotated[str, typer.Option(help="Name of the result files.")] = "mnist",
) -> None:
    """Runs the benchmark."""
    unknown = set(parts.split(",")) - {*SETTINGS, "clips", "tuning"}
    if unknown:
        raise typer.BadParameter(f"unknown part(s) {', '.join(sorted(unknown))}: see --help")
    name = f"{out}-quick" if quick else out
    wanted = [t for part in parts.split(",") for t in trials(part, [float(e) for e in epsilons.split(",")], seeds)]
    if quick:
        wanted = [replace(t, setting=replace(t.setting, rounds=2, steps=2)) for t in wanted]
    book = Book(FOLDER / f"{name}.json")
    book.measure(wanted, workers)
    show(book.found)
    plot(book.found, PICTURE if name == "mnist" else FOLDER / f"{name}.svg")
    console.print(f"written: {book.path}", highlight=False)


def trials(part: str, epsilons: list[float], seeds: int) -> Iterator[Trial]:
    """What a part consists of: all settings with one seed come before the next seed."""
    if part == "tuning":
        for setting in TRIED:
            yield Trial(part, setting, 3.0 if setting.unit == "record" else 4.0, TUNING_SEED, tuning=True)
        return
    for seed in range(seeds):
        if part == "clips":
            yield from (Trial(part, replace(USERS, clip=clip), 4.0, seed) for clip in CLIPS)
            yield from (Trial(part, replace(USERS, clip=clip, quantile=0.5), 4.0, seed) for clip in STARTS)
            yield Trial(part, replace(USERS, clip=max(STARTS), quantile=0.5, rounds=200), 4.0, seed)
            continue
        setting = SETTINGS[part]
        yield from (Trial(part, setting, epsilon, seed) for epsilon in epsilons)
        yield Trial(part, replace(setting, lr=PLAIN_LR) if setting.unit == "record" else setting, None, seed)


class Book:
    """What was measured, in a file that is written after every training."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content: Any = json.loads(path.read_text()) if path.exists() else {"version": VERSION, "trials": []}
        if content["version"] != VERSION:
            raise SystemExit(f"{path} is of version {content['version']}, not {VERSION}: move it away")
        self.found = [(_trial(row["trial"]), Outcome(**row["outcome"])) for row in content["trials"]]

    def measure(self, wanted: list[Trial], workers: int) -> None:
        """Runs what is not there yet."""
        from benchmarks.mnist_trials import run

        known = {trial for trial, _ in self.found}
        missing = [trial for trial in dict.fromkeys(wanted) if trial not in known]
        console.print(f"{len(wanted) - len(missing)} of {len(wanted)} trainings are there already", highlight=False)
        for place, trial in enumerate(missing, start=1):
            outcome = run(trial, workers)
            self.found.append((trial, outcome))
            self._write()
            console.print(f"{place}/{len(missing)} {described(trial)}: {100 * outcome.accuracy:.2f} %", highlight=False)

    def _write(self) -> None:
        rows = [{"trial": asdict(trial), "outcome": asdict(outcome)} for trial, outcome in self.found]
        content = {"version": VERSION, "machine": machine.describe(), "trials": rows}
        self.path.parent.mkdir(exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(content, indent=1) + "\n")
        partial.replace(self.path)


def _trial(row: dict[str, Any]) -> Trial:
    return Trial(**(row | {"setting": Setting(**row["setting"])}))


def described(trial: Trial) -> str:
    """In a few words."""
    s, budget = trial.setting, "no privacy" if trial.epsilon is None else f"epsilon {trial.epsilon:g}"
    clip = f"C = {s.clip:g}" if s.quantile is None else f"C from {s.clip:g} to quantile {s.quantile:g}"
    local = f"lr {s.lr:g}, momentum {s.momentum:g}, batch {s.batch_size}, {s.steps} steps"
    server = f", server lr {s.server_lr:g}, momentum {s.server_momentum:g}" if s.unit == "user" else ""
    cohort = f", {s.expected} clients" if s.expected else ""
    return f"{trial.part}, {budget}, seed {trial.seed}: {clip}, {local}, {s.rounds} rounds{cohort}{server}"


def show(found: list[tuple[Trial, Outcome]]) -> None:
    """Prints every setting with the mean accuracy over seeds and their range."""
    table = Table(title="Accuracy on images that were not trained on", title_justify="left")
    for heading in ("training", "seeds", "accuracy, %", "low .. high", "z", "engine", "s"):
        table.add_column(heading, justify="left" if heading in ("training", "engine") else "right")
    for trials_of, outcomes in together(found):
        values = [100 * outcome.accuracy for outcome in outcomes]
        last = outcomes[-1]
        table.add_row(
            described(trials_of).replace(f", seed {trials_of.seed}", ""), str(len(values)),
            f"{sum(values) / len(values):.2f}", f"{min(values):.2f} .. {max(values):.2f}",
            "" if last.noise is None else f"{last.noise:.3f}", last.engine, f"{last.seconds:.0f}",
        )  # fmt: skip
    console.print(table)


def together(found: list[tuple[Trial, Outcome]]) -> list[tuple[Trial, list[Outcome]]]:
    """Outcomes of trials that differ in the seed only, beside the first of these."""
    groups: dict[Trial, list[Outcome]] = {}
    for trial, outcome in found:
        groups.setdefault(replace(trial, seed=0), []).append(outcome)
    return list(groups.items())


LINES = {
    "silo": ("records, one silo of 60,000", "#0f766e"),
    "silos": ("records, ten silos of 6,000", "#65a30d"),
    "users": ("clients, 1000 of 60, Poisson cohorts", "#c2410c"),
    "shards": ("clients, two digits each", "#a21caf"),
    "turns": ("clients, turns and correlated noise", "#64748b"),
}


def plot(found: list[tuple[Trial, Outcome]], path: Path) -> None:
    """Accuracy against epsilon, a line for each part; dashed, what the same training reaches without privacy."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "tacit", "svg.fonttype": "path"}
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7.2, 4.4))
    for part, (label, colour) in LINES.items():
        mine = [(t, o) for t, o in together(found) if t.part == part]
        points = sorted((t.epsilon, [o.accuracy for o in outcomes]) for t, outcomes in mine if t.epsilon is not None)
        if not points:
            continue
        x, y = [e for e, _ in points], [100 * sum(a) / len(a) for _, a in points]
        spread = [[m - 100 * min(a) for m, (_, a) in zip(y, points, strict=True)],
                  [100 * max(a) - m for m, (_, a) in zip(y, points, strict=True)]]  # fmt: skip
        axis.errorbar(x, y, yerr=spread, marker="o", color=colour, label=label, capsize=2)
        for t, outcomes in mine:
            if t.epsilon is None:
                axis.axhline(100 * sum(o.accuracy for o in outcomes) / len(outcomes), color=colour, ls="--", lw=0.8)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set(xlabel="epsilon", ylabel="accuracy on the test set, %")
    axis.set_title("MNIST; dashed: the same training without privacy", loc="left", fontsize=10)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(path, facecolor="white", metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    app()

"""`make bench-poisoning`: what false reports of f of n clients do to accuracy, with and without robust rules."""

from __future__ import annotations

import json
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas
import torch
import typer
from numpy.typing import NDArray
from scipy.stats import norm
from torch import Tensor
from torch.nn.functional import cross_entropy

import tacit
from benchmarks import machine
from tacit.aggregation.robust import Robust

RESULT = Path(__file__).parent / "results" / "poisoning.json"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "poisoning.svg"
CLIENTS, EXAMPLES, CLASSES, WIDTH, ROUNDS = 50, 2500, 10, 20, 20
FALSE = (0, 5, 10, 15)
"""Clients that lie, of 50."""
ATTACKS = ("sign flip x10", "noise", "label flip", "a little")
TOLD = (5, 10)
"""Of these, what the table shows."""
GROUPS, SMALLEST, RANGE = 10, 3, 32.0
"""Random groups, the fewest clients in a sum, and the largest coordinate that a liar sends: it wants to be counted."""
HELP = f"""Trains a perceptron on {CLIENTS} clients, each with a few of {CLASSES} classes, of which some lie, and
prints the accuracy on the test set after {ROUNDS} rounds; 0 where the run fails.

Attacks: the update times -10; Gaussian noise of ten times its length; wrong labels (9 - y); and "a little is enough"
([Baruch19] arXiv:1902.06156), mean - z std of the updates that the liars themselves would have sent a round before.

Plain rules see every client's report. Grouped ones see {GROUPS} sums of {CLIENTS // GROUPS} clients each, by secure
aggregation.

It writes benchmarks/results/poisoning.json and docs/images/poisoning.svg.

Examples:

  python -m benchmarks.poisoning --seeds 1

  python -m benchmarks.poisoning
"""


@dataclass(frozen=True)
class Defence:
    """What stands against false reports."""

    name: str
    rule: Robust | None = None
    bound: float | None = None

    def options(self) -> dict[str, Any]:
        """Arguments of a federation."""
        grouped = self.rule is not None and self.rule.groups is not None
        return {
            "robust": self.rule,
            "stages": [] if self.bound is None else [tacit.NormBound(self.bound)],
            "aggregation": tacit.SecureSum(minimum=SMALLEST, range=2 * RANGE) if grouped else None,
        }


PLAIN = (
    Defence("mean"),
    Defence("norm bound", bound=1.0),
    Defence("median", tacit.Median()),
    Defence("trimmed mean 0.2", tacit.TrimmedMean(0.2)),
    Defence("geometric median", tacit.GeometricMedian()),
    Defence("Krum 0.2", tacit.Krum(0.2)),
    Defence("Multi-Krum 0.2, 20", tacit.Krum(0.2, keep=20)),
)
GROUPED = (
    Defence("median", tacit.Median(groups=GROUPS)),
    Defence("trimmed mean 0.3", tacit.TrimmedMean(0.3, groups=GROUPS)),
    Defence("geometric median", tacit.GeometricMedian(groups=GROUPS)),
    Defence("Multi-Krum 0.3, 5", tacit.Krum(0.3, keep=5, groups=GROUPS)),
)
WAYS = {"plain": PLAIN, "grouped": GROUPED}
TITLES = {"plain": "every report is seen", "grouped": f"{GROUPS} secure sums are seen"}
COLOURS = {
    "mean": "#111827",
    "norm bound": "#9ca3af",
    "median": "#0f766e",
    "trimmed mean": "#65a30d",
    "geometric median": "#2563eb",
    "Krum": "#fb923c",
    "Multi-Krum": "#c2410c",
}


@dataclass
class Liars:
    """Clients that replace their updates, by the hook through which an audit plants its canaries."""

    clients: NDArray[np.int64]
    attack: str
    of: int
    rng: np.random.Generator
    honest: list[Tensor] = field(default_factory=list)
    before: list[Tensor] = field(default_factory=list)

    def plant(self, clients: NDArray[np.int64], update: Tensor) -> None:
        """Replaces the rows of those that lie, of updates (K, d)."""
        for k in np.flatnonzero(np.isin(clients, self.clients)):
            self.honest.append(update[k].clone())
            update[k] = self._false(update[k]).clamp(-RANGE, RANGE)

    def see(self, round: int, mean: object) -> None:
        """A round is over."""
        self.before, self.honest = self.honest, []

    def _false(self, update: Tensor) -> Tensor:
        if self.attack == "sign flip x10":
            return -10 * update
        if self.attack == "noise":
            drawn = torch.from_numpy(self.rng.normal(size=len(update))).to(update.dtype)
            return drawn * (10 * float(update.norm()) / float(drawn.norm()))
        if self.attack == "a little" and len(self.before) > 1:
            known, liars = torch.stack(self.before), len(self.clients)
            supporters = self.of // 2 + 1 - liars
            z = float(norm.ppf((self.of - liars - supporters) / (self.of - liars)))
            return known.mean(dim=0) - z * known.std(dim=0)
        return update


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Share of labels that are right."""
    right: Tensor = (output.argmax(dim=1) == target).float().mean()
    return right


def federation(defence: Defence, attack: str, false: int, seed: int) -> tuple[tacit.Federation, tuple[Tensor, Tensor]]:
    """The federation with its liars, and the test set."""
    torch.manual_seed(seed)
    centres = torch.randn(CLASSES, WIDTH)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(CLASSES, (n,))
        return centres[y] + 1.2 * torch.randn(n, WIDTH), y

    dealt = tacit.Population.partition(*draw(EXAMPLES), by=tacit.Dirichlet(CLIENTS, alpha=1.0), seed=seed)
    liars = np.sort(np.random.default_rng(seed).permutation(CLIENTS)[:false])
    held = {client: dealt.examples(np.array([k])).of(0) for k, client in enumerate(dealt.ids)}
    if attack == "label flip":
        for k in liars:
            x, y = held[dealt.ids[k]]
            held[dealt.ids[k]] = x, CLASSES - 1 - y
    model = torch.nn.Sequential(torch.nn.Linear(WIDTH, 32), torch.nn.ReLU(), torch.nn.Linear(32, CLASSES))
    task = tacit.Task(model, cross_entropy, {"accuracy": accuracy})
    method = tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=10, epochs=1))
    clients = tacit.Population.from_arrays(held)
    made = tacit.Federation(task, clients, method, seed=seed, workers=1, engine="fused", **defence.options())
    lying: Any = Liars(liars, attack, CLIENTS, np.random.default_rng(seed + 1))
    made.audit = lying
    return made, draw(2000)


def accuracies(way: str, place: int, seed: int) -> list[dict[str, Any]]:
    """Of one defence with one seed: a row for each attack and number of liars; without any, all attacks are one."""
    defence, rows = WAYS[way][place], list[dict[str, Any]]()
    for attack in ATTACKS:
        for false in FALSE:
            if false or attack == ATTACKS[0]:
                found = accuracy_with(defence, attack, false, seed)
            else:
                found = rows[0]["accuracy"]
            named = {"way": way, "defence": defence.name, "attack": attack, "false": false, "seed": seed}
            rows.append(named | {"accuracy": found})
    return rows


def accuracy_with(defence: Defence, attack: str, false: int, seed: int) -> float:
    """On the test set at the end; 0 where the run fails."""
    made, test = federation(defence, attack, false, seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", tacit.TacitWarning)
            run = made.run(ROUNDS, test, evaluate_every=ROUNDS, progress=False)
    except tacit.RoundFailed:
        return 0.0
    return float(run.history["test_accuracy"].iloc[-1])


def lines(rows: pandas.DataFrame) -> str:
    """The table in Markdown: a line for each defence, a column for each attack with a tenth and a fifth of liars."""
    shown = [(attack, false) for attack in ATTACKS for false in TOLD]
    heads = [f"{attack}, {false} of {CLIENTS}" for attack, false in shown]
    text = [f"| | no liar | {' | '.join(heads)} |", "|---|" + "---|" * (len(heads) + 1)]
    for way, defences in WAYS.items():
        for defence in defences:
            mine = rows[(rows.way == way) & (rows.defence == defence.name)]
            means = mine.groupby(["attack", "false"])["accuracy"].mean()
            cells = [f"{means[key]:.2f}" for key in [(ATTACKS[0], 0), *shown]]
            text.append(f"| {way}: {defence.name} | {' | '.join(cells)} |")
    return "\n".join(text)


def plot(rows: pandas.DataFrame, to: Path) -> None:
    """Accuracy against the number of liars: a row of pictures for each way, a column for each attack."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "tacit", "font.size": 9, "svg.fonttype": "path"}
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(2, len(ATTACKS), figsize=(11, 5.6), sharex=True, sharey=True)
    for (way, title), line in zip(TITLES.items(), grid, strict=True):
        for attack, axes in zip(ATTACKS, line, strict=True):
            for defence in (PLAIN[0], *(one for one in WAYS[way] if one.rule or one.bound)):
                of = "plain" if defence is PLAIN[0] else way
                mine = rows[(rows.way == of) & (rows.defence == defence.name) & (rows.attack == attack)]
                means = mine.groupby("false")["accuracy"].mean()
                colour = COLOURS[defence.name.split(" 0")[0]]
                axes.plot(means.index, means, marker="o", markersize=3, color=colour, label=defence.name)
            axes.set(ylim=(0, 1), title=f"{attack}, {way}")
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
        line[0].set_ylabel(f"accuracy ({title})")
        line[-1].legend(frameon=False, fontsize=7, loc="lower left")
    for axes in grid[-1]:
        axes.set_xlabel(f"clients that lie, of {CLIENTS}")
    figure.tight_layout()
    figure.savefig(to, facecolor="white", metadata={"Date": None})


app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=HELP)
def main(
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each setting.")] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at once.")] = 2,
) -> None:
    """Runs the benchmark."""
    began = time.perf_counter()
    tasks = [(way, place, seed) for seed in range(seeds) for way in WAYS for place in range(len(WAYS[way]))]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = [row for rows in pool.map(accuracies, *zip(*tasks, strict=True)) for row in rows]
    rows = pandas.DataFrame(found)
    facts = {"version": 1, "machine": machine.describe(), "seconds": round(time.perf_counter() - began, 1)}
    RESULT.write_text(json.dumps(facts | {"seeds": seeds, "rounds": ROUNDS, "rows": found}, indent=1) + "\n")
    plot(rows, PICTURE)
    print(lines(rows))
    print(f"{facts['seconds']:.0f} seconds; written: {RESULT}")


if __name__ == "__main__":
    app()

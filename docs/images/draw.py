"""Draws the picture of the README from real runs of examples/noniid_methods.py: `make pictures`."""

from pathlib import Path
from runpy import run_path

import matplotlib
import pandas

matplotlib.use("svg")
matplotlib.rcParams |= {"svg.hashsalt": "tacit", "font.size": 11, "svg.fonttype": "path"}
from matplotlib import pyplot  # noqa: E402 - the backend comes first

HERE = Path(__file__).parent
SEEDS = 5
SHOWN = {"Scaffold": ("SCAFFOLD", "#0f766e"), "FedAvg": ("FedAvg", "#c2410c"), "FedProx": ("FedProx", "#64748b")}


def draw(runs: list[pandas.DataFrame], to: Path) -> None:
    """Draws the mean accuracy over runs, and the range in which all of them lie."""
    figure, axes = pyplot.subplots(figsize=(7.2, 3.8))
    rounds = runs[0].index + 1
    for name, (label, colour) in SHOWN.items():
        values = pandas.concat([run[name] for run in runs], axis=1)
        axes.fill_between(rounds, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.15, linewidth=0)
        axes.plot(rounds, values.mean(axis=1), color=colour, linewidth=2, label=label)
    axes.set(xlabel="round", ylabel="accuracy on all ten classes", xlim=(1, len(rounds)), ylim=(0, 1))
    axes.set_title("Twenty clients, each knows one class", loc="left")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    figure.savefig(to, facecolor="white", metadata={"Date": None})


def main() -> None:
    """Runs the example with several seeds, keeps the figures beside the picture, and draws."""
    compare = run_path(str(HERE.parents[1] / "examples" / "noniid_methods.py"))["compare"]
    runs = [compare(seed=seed) for seed in range(SEEDS)]
    table = pandas.concat(runs, keys=range(SEEDS), names=["seed", "round"]).round(4)
    table.to_csv(HERE / "noniid.csv")
    draw(runs, HERE / "noniid.svg")


if __name__ == "__main__":
    main()

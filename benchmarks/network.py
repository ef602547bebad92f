"""`python -m benchmarks.network`: what the network costs beside what is computed; and Flower's deployment."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine, network_flower
from benchmarks.network_ground import MEGABYTE, names
from benchmarks.network_host import Job
from benchmarks.network_processes import Host, Process, Silos, certificates
from tacit.network.consent.log import Log
from tacit.network.journal import Journal
from tacit.record import checkpoint as checkpoints

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "network-measured.md"
VERSION = 1
WARM = 3
"""Rounds that are not counted: engines are chosen, and connections opened."""
HELP = """Measures the network on one machine: the load shares its cores with the coordinator.

Parts: idle (memory that 2,000 participants add who have enrolled, approved the run and wait for work), uploads (masked
reports of a megabyte into one secure sum: signature, digest and message checked, added, journalled), rounds (what a
round costs beside training, with five participants as processes of their own, secure sums, over TLS) and flower
(seconds per round of its deployment with five SuperNodes and a NumPy model as small, in an environment of its own under
.bench/). The first two over TLS and in clear.

It writes benchmarks/results/network.json, where parts that were not asked for stay as they are, and the tables of
docs/network-measured.md (results/network-quick.json alone with --quick, whose figures mean nothing).

Examples:

  python -m benchmarks.network --quick

  python -m benchmarks.network --parts rounds,flower
"""
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass
class Figure:
    """One line of a table.

    Attributes:
        values: one or several.
        goal: what the median is to reach: at most, or at least where `more`; None where nothing was set.
        failure: why there are no values.
    """

    what: str
    unit: str
    values: list[float] = field(default_factory=list)
    goal: float | None = None
    more: bool = False
    failure: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None or not self.values:
            return None
        return median(self.values) >= self.goal if self.more else median(self.values) <= self.goal


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        idle: participants that wait, for `hold` seconds after all are there.
        uploading: participants of a sum, in so many `sums`, `at_once` uploads at a time.
        rounds: that are counted.
        flower: rounds of Flower.
    """

    idle: int = 2000
    hold: float = 25.0
    uploading: int = 120
    sums: int = 3
    at_once: int = 8
    rounds: int = 60
    flower: int = 6
    quick: bool = False


QUICK = Scale(idle=50, hold=3.0, uploading=8, sums=1, at_once=4, rounds=3, flower=3, quick=True)


def _ways(folder: Path) -> Iterator[tuple[str, Path, str | None]]:
    for how in ("TLS", "in clear"):
        place = folder / how.replace(" ", "-")
        yield how, place, certificates(place / "certs") if how == "TLS" else None


def idle(scale: Scale, folder: Path) -> Iterator[Figure]:
    """Part 1."""
    for how, place, made in _ways(folder):
        few = {"aggregation": {"minimum": 5}}
        host = Host(Job(str(place / "run"), scale.idle + 1, 1, 5, 5, few, made))
        invitations = host.invitations(scale.idle)
        time.sleep(2.0)
        before = host.memory()
        load = Process(
            "benchmarks.network_load", {"size": 5, "invitations": invitations, "at_once": 1}, place / "load.log"
        )
        load.hear()
        until, used, began = time.monotonic() + scale.hold, host.cpu(), time.monotonic()
        most = 0.0
        while time.monotonic() < until:
            most = max(most, host.memory() - before)
            time.sleep(1.0)
        cpu = 100 * (host.cpu() - used) / (time.monotonic() - began)
        told = host.ask({"do": "load"})
        there = told["counts"]["online"]
        load.close()
        host.close()
        yield Figure(f"{there:,} idle participants, {how}: memory that they add", "MB", [most], 80.0)
        yield Figure(f"{how}: the coordinator before them", "MB", [before])
        yield Figure(f"{how}: processor while they wait, of one core", "%", [cpu])


def uploads(scale: Scale, folder: Path) -> Iterator[Figure]:
    """Part 2."""
    waits = {"network": {"answer": 300.0, "patience": 300.0, "absence": 300.0}}
    size = 2**10 if scale.quick else MEGABYTE
    for how, place, made in _ways(folder):
        count = scale.uploading
        host = Host(Job(str(place / "run"), count, scale.sums, max(3, count // 2), size, waits, made))
        job = {"size": size, "invitations": host.invitations(count), "at_once": scale.at_once}
        load = Process("benchmarks.network_load", job, place / "load.log")
        rates, fast, slow, mine, theirs = ([] for _ in range(5))
        for _ in range(scale.sums):
            _heard(load, "uploading")
            used = host.cpu()
            told = _heard(load, "uploaded")
            mine.append(1000 * (host.cpu() - used) / count)
            theirs.append(1000 * told["cpu"] / count)
            rates.append(told["uploads"] / told["seconds"])
            each = told["each"]
            fast.append(1000 * each[len(each) // 2])
            slow.append(1000 * each[int(0.99 * len(each))])
        host.ended()
        load.close()
        host.close()
        what = f"{size * 4 / 2**20:g} MiB each, {count} in a sum, {scale.at_once} at a time, {how}"
        yield Figure(f"masked reports of {what}", "a second", rates, 200.0, more=True)
        yield Figure(f"{how}: from the first byte to the receipt, half of them within", "ms", fast)
        yield Figure(f"{how}: 99 % of them within", "ms", slow)
        yield Figure(f"{how}: processor of the coordinator for each", "ms", mine)
        yield Figure(f"{how}: processor of the load for each", "ms", theirs)


def _heard(load: Process, word: str) -> dict[str, Any]:
    while True:
        told = load.hear()
        if word in told:
            return told


def rounds(scale: Scale, folder: Path) -> Iterator[Figure]:
    """Part 3."""
    whole, training, rows = _federated(scale, folder / "secure", secure=True)
    yield Figure("a round beside training, 5 participants, TLS, secure sums", "ms", _beside(whole, training), 100.0)
    yield Figure("from the start of a round to that of the next", "ms", [1000 * s for s in whole])
    yield Figure("of it the slowest participant's training", "ms", [1000 * s for s in training])
    for name, what in (
        ("seconds_select", "training asked for and done, keys and shares exchanged"),
        ("seconds_train", "masked reports"),
        ("seconds_secure", "survivors confirmed, masks removed"),
        ("seconds_aggregate", "the server's step"),
    ):
        yield Figure(f"of it {what} (`{name}`)", "ms", [1000 * (row[name] or 0.0) for row in rows])
    inside = [row["seconds"] for row in rows]
    outside = [1000 * (a - b) for a, b in zip(whole, inside, strict=False)]
    yield Figure("of it between rounds: checkpoint, publication", "ms", outside)
    whole, training, _ = _federated(scale, folder / "plain", secure=False)
    yield Figure("a round beside training, 5 participants, TLS, no secure sums", "ms", _beside(whole, training))


def _federated(scale: Scale, place: Path, *, secure: bool) -> tuple[list[float], list[float], list[dict[str, Any]]]:
    """Seconds from round to round, the longest training of each, and what the run wrote of them."""
    count = 5
    made = certificates(place / "certs")
    sections: dict[str, Any] = {} if secure else {"aggregation": "none"}
    host = Host(Job(str(place / "run"), count, scale.rounds + WARM, count, count, sections, made))
    texts = host.invitations(count)
    silos = [
        Silos(place / "silos", [(name, k, texts[k])], count, place / f"{name}.log", secure=secure)
        for k, name in enumerate(names(count))
    ]
    host.ended()
    for one in [*silos, host]:
        one.close()
    rows = checkpoints.latest(place / "run" / "checkpoints").state["rows"][WARM:]
    starts = _starts(place / "run")[WARM:]
    return [b - a for a, b in pairwise(starts)], _training(place / "silos")[WARM:], rows


def _beside(whole: list[float], training: list[float]) -> list[float]:
    return [1000 * (all_of_it - train) for all_of_it, train in zip(whole, training, strict=False)]


def _starts(run: Path) -> list[float]:
    """When each round was opened, by the journal, in seconds."""
    with Journal.open(run / "journal.sqlite", holder="benchmark") as journal:
        return [one.opened / 1000 for one in journal.rounds()]


def _training(silos: Path) -> list[float]:
    """By round the longest training, as the participants' own logs have it."""
    longest: dict[int, float] = {}
    for path in sorted(silos.glob("*/log.jsonl")):
        for entry in Log(path).entries():
            if entry.event == "trained":
                round, seconds = int(entry.facts["round"]), float(entry.facts["seconds"])
                longest[round] = max(longest.get(round, 0.0), seconds)
    return [longest[round] for round in sorted(longest)]


def flower(scale: Scale, folder: Path) -> Iterator[Figure]:
    """Part 4."""
    place = folder / "flower"
    place.mkdir(parents=True)
    found = network_flower.measured(place, 5, scale.flower)
    what = "Flower: SuperLink, 5 SuperNodes, in clear, no secure sums: a round"
    if "failure" in found:
        yield Figure(what, "ms", failure=found["failure"])
        return
    versions = ", ".join(
        f"{name} {version}" for name, version in found["versions"].items() if name in ("flwr", "numpy")
    )
    yield Figure(f"{what} ({versions})", "ms", [1000 * s for s in found["seconds"]])


PARTS: dict[str, Callable[[Scale, Path], Iterator[Figure]]] = {
    "rounds": rounds, "flower": flower, "uploads": uploads, "idle": idle,
}  # fmt: skip


@app.command(help=HELP)
def main(
    parts: Annotated[str, typer.Option(help="By commas.")] = ",".join(PARTS),
    quick: Annotated[bool, typer.Option("--quick", help="Small and few: to try it, not to measure.")] = False,
    out: Annotated[str, typer.Option(help="Name of the result file.")] = "network",
) -> None:
    """Runs the benchmark."""
    wanted = parts.split(",")
    if unknown := set(wanted) - set(PARTS):
        raise typer.BadParameter(f"unknown part(s) {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    console, scale, name = Console(width=130), QUICK if quick else Scale(), f"{out}-quick" if quick else out
    path = RESULTS / f"{name}.json"
    kept: dict[str, Any] = json.loads(path.read_text())["parts"] if path.exists() else {}
    for part in (part for part in PARTS if part in wanted):
        described = machine.describe()
        folder = Path(tempfile.mkdtemp(prefix="tacit-network-"))
        try:
            figures = list(PARTS[part](scale, folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        described["load_after"] = round(os.getloadavg()[0], 2)
        console.print(_table(part, figures, described))
        kept[part] = {"machine": described, "figures": [vars(figure) | {"met": figure.met} for figure in figures]}
        told = {"version": VERSION, "machine": described, "parts": kept}
        path.write_text(json.dumps(told, indent=1) + "\n")
    if name == "network":
        write(PAGE, kept)
    console.print(f"written: {path}", highlight=False)


def _table(part: str, figures: list[Figure], described: dict[str, Any]) -> Table:
    title = f"{part} (load {described['load_before']} before, {described['load_after']} after)"
    table = Table(title=title, title_justify="left")
    for heading in ("what", "median", "low .. high", "n", "", "goal", ""):
        table.add_column(heading)
    for figure in figures:
        table.add_row(*_cells(figure))
    return table


def _cells(figure: Figure) -> list[str]:
    goal = "" if figure.goal is None else f"{'at least' if figure.more else 'at most'} {figure.goal:g}"
    if not figure.values:
        return [figure.what, "no figure", "", "", figure.unit, goal, figure.failure or ""]
    low, high = min(figure.values), max(figure.values)
    spread = f"{low:.3g} .. {high:.3g}" if len(figure.values) > 1 else ""
    verdict = "" if figure.met is None else "reached" if figure.met else "missed"
    return [figure.what, f"{median(figure.values):.3g}", spread, str(len(figure.values)), figure.unit, goal, verdict]


def write(page: Path, parts: dict[str, Any]) -> None:
    """Writes the tables into the page, each between its markers."""
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if begin not in text:
            continue
        head, _, rest = text.partition(begin)
        told = part["machine"]
        lines = ["| | median | low .. high | n | | goal | |", "|---|---:|---|---:|---|---|---|"]
        for one in part["figures"]:
            figure = Figure(**{key: value for key, value in one.items() if key != "met"})
            lines.append(f"| {' | '.join(_cells(figure))} |")
        where = f"{told['processor']}, {told['cores']} cores, Python {told['python']}"
        lines += ["", f"*{where}; load of the machine {told['load_before']} before, {told['load_after']} after.*"]
        text = head + begin + "\n\n" + "\n".join(lines) + "\n\n" + end + rest.partition(end)[2]
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    app()

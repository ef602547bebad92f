"""`make bench-secure`: what secure aggregation costs a client, the server and a simulation, and what Flower's does."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks import machine, secure_grid, secure_ideal, secure_server, secure_sessions
from benchmarks.dp_sgd import Program
from benchmarks.peers import environment

FOLDER = Path(__file__).parent / "results"
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "secure.svg"
VERSION = 1
CORRUPT, DROPOUT = 0.05, 0.05
"""With 1000 clients these give 60 neighbours."""
BYTES_EACH = 150
"""Bytes up for each neighbour, at most, beside the vector and a hundredth of a megabyte."""
HELP = """Measures secure aggregation through the real state machines; every sum is held against the plain one.

Parts: client (a client's processor time against a bare loop of as many AES-128-CTR masks, and its bytes), server (its
last step with 1000 clients against the bare loop, its memory at 200 and at 1000, one core and two), round (61 clients,
1000 parameters, in one process; and Flower's SecAgg+ with its own client mod and server workflow, a loop in place of
the network, in an environment of its own under .bench/), ideal (what SecureSum() adds to a round of workload A of
`python -m benchmarks.workloads`) and grid (cost against clients, parameters and dropout: sessions where they are quick,
estimates elsewhere).

What is compared takes turns. Shown are medians with the smallest and the largest value. It takes some minutes; Flower
takes one of them for each of its rounds.

It writes benchmarks/results/secure.json, where parts that were not asked for stay as they are, and, with the grid,
docs/images/secure.svg (results/secure-quick.json and .svg with --quick, whose figures mean nothing).

Examples:

  python -m benchmarks.secure --quick

  python -m benchmarks.secure --parts client,ideal --out some
"""
app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass
class Figure:
    """One line of the table.

    Attributes:
        values: by turn.
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
        if self.goal is None:
            return None
        if not self.values:
            return False
        return median(self.values) >= self.goal if self.more else median(self.values) <= self.goal


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Attributes:
        length: parameters of client and server.
        few, many: clients in the two sessions that measure the server.
        full: clients of a complete graph.
        short: parameters of a whole round.
        turns: of what is quick; `close` of the server's last step, `peer` of Flower, `ideal` of runs of two rounds.
    """

    length: int = 1_000_000
    few: int = 200
    many: int = 1000
    full: int = 61
    short: int = 1000
    turns: int = 15
    rounds: int = 5
    close: int = 3
    peer: int = 2
    ideal: int = 5
    quick: bool = False


QUICK = Scale(20_000, 30, 120, 9, 100, turns=2, rounds=1, close=1, peer=1, ideal=1, quick=True)


def client(scale: Scale) -> Iterator[Figure]:
    """Part 1."""
    n, d = scale.full, scale.length
    for signed in (False, True):
        found = secure_sessions.client_turns(n, d, signed, scale.turns)
        k, how = found["neighbours"], "identities" if signed else "no identities"
        where = f"{n} clients, {how}"
        yield Figure(f"a client, {where}", "ms", [1e3 * s for s in found["client"]])
        yield Figure(f"bare loop, {k + 1} masks", "ms", [1e3 * s for s in found["bare"]])
        goal = None if signed else 1.4
        yield Figure(f"a client / bare loop, {where}", "x", _ratio(found["client"], found["bare"]), goal)
        most = (4.01 * d + k * BYTES_EACH) / 1e6
        yield Figure(f"bytes up, k = {k}, {how}", "MB", [found["bytes_up"] / 1e6], most)
        yield from _steps(found["steps"], where)
    shared = secure_sessions.roster_turns(scale.many, scale.short, 3, corrupt=CORRUPT, dropout=DROPOUT)
    yield Figure(f"advertise and share, {scale.many} clients, identities", "ms", [1e3 * s for s in shared])


def _steps(seconds: Mapping[str, float], where: str) -> Iterator[Figure]:
    """What a client does, step by step; what takes no time is left out."""
    for step, taken in seconds.items():
        if taken >= 1e-3:
            yield Figure(f"  of it {step}, {where}", "ms", [1e3 * taken])


def server(scale: Scale) -> Iterator[Figure]:
    """Part 2."""
    small, large = (
        secure_server.measured(n, scale.length, DROPOUT, CORRUPT, turns)
        for n, turns in ((scale.few, 1), (scale.many, scale.close))
    )
    n, k, turns = large["clients"], large["neighbours"], large["turns"]
    where = f"{n} clients, k = {k}, t = {large['threshold']}, {100 * DROPOUT:g} % lost"
    beside = _ratio(large["client"][:: secure_server.EVERY], large["bare"])
    yield Figure(f"a client / bare loop, {n} clients, no identities", "x", beside, 1.4)
    yield from _steps(large["client_steps"], f"{n} clients, no identities")
    bare, one = ([turn[name]["cpu"] for turn in turns] for name in ("bare", "1"))
    yield Figure(f"bare loop, {turns[0]['masks']} masks", "s", bare)
    yield Figure(f"unmasking, {where}", "s", one)
    yield Figure("unmasking / bare loop", "x", _ratio(one, bare), 1.5)
    yield from _scaling(turns)
    for found in (small, large):
        what = f"memory beyond that at the start, {found['clients']} clients"
        yield Figure(what, "MB", [found["memory"] / 1e6])
    more = (large["memory"] - small["memory"]) / (n - small["clients"])
    yield Figure("memory for one more client", "kB", [more / 1e3])
    yield Figure("  of a vector's bytes", "%", [100 * more / (4 * scale.length)])
    for step, seconds in large["server_cpu"].items():
        if seconds < 1e-2:
            continue
        yield Figure(f"  {step}, all {n} clients", "s", [seconds])


def _scaling(turns: Sequence[dict[str, Any]]) -> Iterator[Figure]:
    """One core against two, by the clock, beside what the machine had to give."""
    if "2" not in turns[0]:
        yield Figure("two cores", "x", failure="this machine has one core")
        return
    gain = [turn["1"]["seconds"] / turn["2"]["seconds"] for turn in turns]
    yield Figure("unmasking on two cores, times as fast", "x", gain)
    ideal = [2 * turn["bare"]["seconds"] / turn["pair"]["seconds"] for turn in turns]
    yield Figure("two bare loops in two processes, times as fast as in turn", "x", ideal)


def whole_round(scale: Scale) -> Iterator[Figure]:
    """Part 3."""
    n, d = scale.full, scale.short
    where = f"{n} clients, {d} parameters"
    ours: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    theirs: list[dict[str, Any]] = []
    ask, close = _flower()
    threshold = secure_sessions.config(n, d).degree(n).threshold
    for turn in range(scale.rounds):
        for signed, found in ours.items():
            found.append(secure_sessions.round_turn(n, d, signed))
        if turn < scale.peer and not any("failure" in answer for answer in theirs):
            theirs.append(ask(clients=n, length=d, threshold=threshold))
    close()
    for signed, goal in ((False, 1.0), (True, 2.5)):
        how = "with identities" if signed else "without identities"
        yield Figure(f"tacit, {where}, {how}", "s", [turn["seconds"] for turn in ours[signed]], goal)
        yield Figure(f"  of the processor, {how}", "s", [turn["cpu"] for turn in ours[signed]])
    failures = [answer["failure"] for answer in theirs if "failure" in answer]
    if failures:
        yield Figure("Flower / tacit", "x", goal=30, more=True, failure=failures[0])
        return
    yield Figure(f"Flower SecAgg+, {where}, t = {threshold}", "s", [turn["seconds"] for turn in theirs])
    for place, name in ((False, "without identities"), (True, "with identities, which Flower has not")):
        ratio = _ratio([turn["cpu"] for turn in theirs], [turn["cpu"] for turn in ours[place]][: len(theirs)])
        yield Figure(f"Flower / tacit, {name}", "x", ratio, None if place else 30, more=True)


def _flower() -> tuple[Callable[..., dict[str, Any]], Callable[[], None]]:
    """How Flower is asked for a round, and how its program is ended."""
    try:
        python = environment.ensure(environment.ENVIRONMENTS["flower"])
    except environment.EnvironmentUnavailable as reason:
        text = f"not available: {reason}"
        return lambda **_: {"failure": text}, lambda: None
    program = Program("benchmarks.peers.flower_secagg", str(python))
    return program.ask, program.close


def ideal(scale: Scale) -> Iterator[Figure]:
    """Part 4."""
    found = secure_ideal.turns(scale.ideal, 2, scale.quick)
    wall, used = found["seconds"], found["cpu"]
    yield Figure(f"a round of workload A, {found['clients']} clients", "s", wall["plain"])
    yield Figure("the same with SecureSum()", "s", wall["secure"])
    share = [100 * (s / p - 1) for s, p in zip(wall["secure"], wall["plain"], strict=True)]
    yield Figure("SecureSum() adds", "%", share, 15)
    share = [100 * (s / p - 1) for s, p in zip(used["secure"], used["plain"], strict=True)]
    yield Figure("SecureSum() adds, of the processor", "%", share)


def grid(found: list[secure_grid.Point]) -> Iterator[Figure]:
    """Part 5: how far estimates are from what was measured."""
    held = sum(point.measured for point in found)
    for who, ratios in secure_grid.agreement(found).items():
        yield Figure(f"{who}: measured / estimated, {held} of {len(found)} points", "x", ratios)


PARTS: dict[str, Callable[[Scale], Iterator[Figure]]] = {
    "ideal": ideal, "round": whole_round, "client": client, "server": server,
}  # fmt: skip
"""In the order in which they run: what holds much memory comes last."""


@app.command(help=HELP)
def main(
    parts: Annotated[str, typer.Option(help="By commas.")] = ",".join((*PARTS, "grid")),
    quick: Annotated[bool, typer.Option("--quick", help="Small and few: to try it, not to measure.")] = False,
    out: Annotated[str, typer.Option(help="Name of the result file.")] = "secure",
) -> None:
    """Runs the benchmark."""
    wanted = parts.split(",")
    if unknown := set(wanted) - {*PARTS, "grid"}:
        names = ", ".join((*PARTS, "grid"))
        raise typer.BadParameter(f"unknown part(s) {', '.join(sorted(unknown))}: choose from {names}")
    console, scale, name = Console(width=130), QUICK if quick else Scale(), f"{out}-quick" if quick else out
    path = FOLDER / f"{name}.json"
    kept: dict[str, Any] = json.loads(path.read_text())["parts"] if path.exists() else {}
    for part in (part for part in (*PARTS, "grid") if part in wanted):
        described = machine.describe()
        points = secure_grid.points(quick) if part == "grid" else []
        figures = list(grid(points) if part == "grid" else PARTS[part](scale))
        if points:
            secure_grid.plot(points, PICTURE if name == "secure" else FOLDER / f"{name}.svg")
        for figure in figures if quick else ():
            figure.goal = None
        described["load_after"] = round(os.getloadavg()[0], 2)
        show(console, part, figures, described)
        found = [vars(figure) | {"met": figure.met} for figure in figures]
        kept[part] = {"machine": described, "figures": found, "points": secure_grid.as_json(points)}
        told = {"version": VERSION, "machine": described, "peer": _versions(), "parts": kept}
        path.write_text(json.dumps(told, indent=1) + "\n")
    console.print(f"written: {path}", highlight=False)


def _versions() -> dict[str, str]:
    """Of Flower, where it is there."""
    peer = environment.ENVIRONMENTS["flower"]
    return environment.versions(peer) if (peer.folder / "versions.json").exists() else {}


def _ratio(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Turn by turn."""
    return [a / b for a, b in zip(above, below, strict=True)]


def show(console: Console, part: str, figures: Sequence[Figure], described: Mapping[str, Any]) -> None:
    """Prints the table of a part."""
    title = f"{part} (load {described['load_before']} before, {described['load_after']} after)"
    table = Table(title=title, title_justify="left")
    for place, heading in enumerate(("what", "median", "low .. high", "n", "", "goal", "")):
        table.add_column(heading, justify="right" if 1 <= place <= 3 or place == 5 else "left")
    for f in figures:
        goal = "" if f.goal is None else f"{'>=' if f.more else '<='} {f.goal:g}"
        verdict = "" if f.met is None else "met" if f.met else "missed"
        if not f.values:
            table.add_row(f"{f.what}: {f.failure}", "", "", "", f.unit, goal, "no figure")
            continue
        low, high = min(f.values), max(f.values)
        spread = f"{low:.3g} .. {high:.3g}" if len(f.values) > 1 else ""
        table.add_row(f.what, f"{median(f.values):.4g}", spread, str(len(f.values)), f.unit, goal, verdict)
    console.print(table)


if __name__ == "__main__":
    app()

"""`tacit privacy sweep`: what privacy costs in accuracy, over several epsilons and seeds, as a table and a plot."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from tacit.cli.options import Json, Quiet, Settings, Workers

if TYPE_CHECKING:
    from tacit.plan import Given, Plan
    from tacit.scenarios.scenario import Prepared

EXAMPLES = """\b
Examples:
  tacit privacy sweep app-recommendation
  tacit privacy sweep app-recommendation --epsilons 1,4,16 --seeds 5 --set data.phones=2000
  tacit privacy sweep plan.toml --out sweep --json

Every run is one of the plan's, with --epsilon and the seed changed, measured on the test part at its end; beside them
runs without privacy. On people's data each private run is charged to the ledger, as all runs are.
"""
Outcome: TypeAlias = tuple[float, str, dict[str, Any] | None]
Target = Annotated[str, typer.Argument(metavar="SCENARIO|PLAN.toml", help="`tacit scenarios` lists the scenarios.")]
Epsilons = Annotated[str, typer.Option(metavar="A,B,...", help="What runs may spend.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs for each epsilon, with seeds 0, 1, ...")]
Rounds = Annotated[int | None, typer.Option(help="Rounds of federated learning, at most.")]
Out = Annotated[Path, typer.Option(help="Folder for sweep.json and sweep.svg.")]


@dataclass(frozen=True)
class Point:
    """Runs with one epsilon.

    Attributes:
        epsilon: what each may spend; None without privacy.
        noise_multiplier, delta: of the first run; None without privacy.
        values: the metric, one for each seed.
    """

    epsilon: float | None
    noise_multiplier: float | None
    delta: float | None
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over seeds."""
        return fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Standard deviation over seeds; None for one."""
        return stdev(self.values) if len(self.values) > 1 else None


def sweep(
    target: Target,
    epsilons: Epsilons = "1,2,4,8",
    seeds: Seeds = 3,
    rounds: Rounds = None,
    settings: Settings = None,
    workers: Workers = None,
    out: Out = Path("sweep"),
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train with several epsilons and seeds, and show accuracy against privacy."""
    from tacit.record.checkpoint import save_text
    from tacit.record.plots import trade_off

    wanted = budgets(epsilons)
    options = [("--rounds", "rounds", rounds), ("--workers", "run.workers", workers)]
    points, metric = measured(target, options, settings or [], wanted, seeds, quiet)
    told = {"metric": metric, "points": [{**asdict(p), "mean": p.mean, "spread": p.spread} for p in points]}
    out.mkdir(parents=True, exist_ok=True)
    save_text(out / "sweep.json", json_format.dumps(told, indent=2) + "\n")
    private = [(p.epsilon, p.mean, p.spread or 0.0) for p in points if p.epsilon is not None]
    save_text(out / "sweep.svg", trade_off(private, points[0].mean, metric))
    if json:
        print(json_format.dumps(told, indent=2))
        return
    _print(points, metric, out)


def budgets(text: str) -> list[float]:
    """The epsilons in "1,2,4".

    Raises:
        UsageError: one is no positive number.
    """
    from tacit.checks import positive
    from tacit.errors import Problems, UsageError

    with Problems("the sweep cannot start", UsageError) as problems:
        found = []
        for word in text.split(","):
            try:
                value = float(word)
            except ValueError:
                problems.add(f"--epsilons holds {word.strip()!r}: give numbers, such as 1,2,4,8")
                continue
            problems.extend(positive("an epsilon", value))
            found.append(value)
    return sorted(found)


def measured(
    target: str,
    options: list[tuple[str, str, Any]],
    settings: list[str],
    epsilons: Sequence[float],
    seeds: int,
    quiet: bool,
) -> tuple[list[Point], str]:
    """The points, that without privacy first, and the metric's name. All plans are checked before any is run."""
    from tacit.cli.run import given, planned

    def plan(epsilon: float | None, seed: int) -> Plan:
        more = [("--seeds", "seed", seed)] + ([] if epsilon is None else [("--epsilons", "privacy.epsilon", epsilon)])
        said: Given = given([*options, *more], settings)
        return planned(target, said)

    plans = {epsilon: [plan(epsilon, seed) for seed in range(seeds)] for epsilon in (None, *epsilons)}
    points, metric = [], ""
    for epsilon, each in plans.items():
        results = list(_results(each, epsilon, quiet))
        metric = results[0][1]
        claim = results[0][2] or {}
        values = tuple(value for value, _, _ in results)
        points.append(Point(epsilon, claim.get("noise_multiplier"), claim.get("delta"), values))
    return points, metric


def _results(
    plans: Sequence[Plan], epsilon: float | None, quiet: bool
) -> Iterator[tuple[float, str, dict[str, Any] | None]]:
    from tacit.cli.execution import federated
    from tacit.cli.twin import PLAIN
    from tacit.scenarios.scenario import scenario

    for plan in plans:
        prepared: Prepared = scenario(plan.scenario).prepare(plan)
        run = federated(plan, prepared).run(plan.rounds, progress=False)
        standing = prepared.standing(run.model, full=False, workers=1)
        value = (standing.test[PLAIN] or {})[standing.headline]
        if not quiet:
            name = "without privacy" if epsilon is None else f"epsilon {epsilon:g}"
            print(f"{name}, seed {plan.seed}: {standing.headline} {value:.3f}", file=sys.stderr, flush=True)
        yield value, standing.headline, run.facts["privacy"]


def _print(points: Sequence[Point], metric: str, out: Path) -> None:
    from tacit.cli import console

    def row(point: Point) -> list[str]:
        name = "without privacy" if point.epsilon is None else f"{point.epsilon:g}"
        z = "-" if point.noise_multiplier is None else f"{point.noise_multiplier:.3g}"
        spread = "-" if point.spread is None else f"{point.spread:.3f}"
        return [name, z, f"{point.mean:.3f}", spread, f"{point.mean - points[0].mean:+.3f}"]

    console.table(("epsilon", "z", metric, "+-", "change"), [row(point) for point in points])
    print(f"\nplot: {out / 'sweep.svg'}, numbers: {out / 'sweep.json'}")

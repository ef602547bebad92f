"""`tacit privacy sweep`: what privacy costs in accuracy, over several epsilons and seeds, as a table and a plot."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from tacit.cli.options import Json, Quiet, Settings, Workers
from tacit.cli.run import Context, Data, Item, Time, User

if TYPE_CHECKING:
    from tacit.plan import Plan
    from tacit.population.population import Population

EXAMPLES = """\b
Examples:
  tacit privacy sweep app-recommendation
  tacit privacy sweep app-recommendation --epsilons 1,4,16 --seeds 5 --set data.phones=2000
  tacit privacy sweep app-recommendation --data lsapp.tsv.gz --set privacy.clip=0.05
  tacit privacy sweep plan.toml --out sweep --json

Every run is one of the plan's, with its epsilon and seed changed, measured on the test part at its end; beside them
runs without privacy, as `tacit run` trains them beside a private one. A seed stands for all that is drawn by it:
synthetic data, who is held out, the first model. On people's data each private run is charged to the ledger, as all
runs are, and the end says what they have cost together.
"""
SWEEP, PLOT = "sweep.json", "sweep.svg"
VARIED = {
    **{path: "--epsilons" for level in ("privacy", "record_privacy") for path in ((level,), (level, "epsilon"))},
    ("seed",): "--seeds",
}
"""Fields of the plan that a sweep sets itself, and by which option."""
Target = Annotated[str, typer.Argument(metavar="SCENARIO|PLAN.toml", help="`tacit scenarios` lists the scenarios.")]
Epsilons = Annotated[str, typer.Option(metavar="A,B,...", help="What runs may spend.")]
Seeds = Annotated[int, typer.Option(min=1, help="Runs for each epsilon, with seeds 0, 1, ...")]
Rounds = Annotated[int | None, typer.Option(help="Rounds of federated learning, at most.")]
Out = Annotated[Path, typer.Option(help="Folder for sweep.json and sweep.svg.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a sweep that lies in the folder.")]
Claim: TypeAlias = Mapping[str, Any]
"""The statement of a private run."""
Cost: TypeAlias = Mapping[str, Any]
"""What the ledger holds: "epsilon" (None without bound), "delta", "unit", and "populations", by their names."""


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
    data: Data = None,
    user: User = None,
    item: Item = None,
    time: Time = None,
    context: Context = None,
    settings: Settings = None,
    workers: Workers = None,
    out: Out = Path("sweep"),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train with several epsilons and seeds, and show accuracy against privacy."""
    from tacit.record.checkpoint import save_text
    from tacit.record.plots import trade_off

    options = [
        ("--data", "data.source", data),
        ("--user", "data.user", user),
        ("--item", "data.item", item),
        ("--time", "data.time", time),
        ("--context", "data.context", context),
        ("--rounds", "rounds", rounds),
        ("--workers", "run.workers", workers),
    ]
    level, plans = planned_all(target, options, settings or [], budgets(epsilons), seeds)
    claim_output(out, overwrite=overwrite)
    try:
        points, metric, cost = measured(plans, level, quiet)
    except BaseException:
        with suppress(OSError):  # it is not empty: an earlier sweep stays
            out.rmdir()
        raise
    told: dict[str, Any] = {
        "metric": metric,
        "points": [{**asdict(p), "mean": p.mean, "spread": p.spread} for p in points],
        "ledger": cost,
    }
    save_text(out / SWEEP, json_format.dumps(told, indent=2) + "\n")
    private = [(p.epsilon, p.mean, p.spread or 0.0) for p in points if p.epsilon is not None]
    save_text(out / PLOT, trade_off(private, points[0].mean, metric))
    if json:
        print(json_format.dumps(told, indent=2))
        return
    _print(points, metric, out)
    if cost is not None:
        print(_charged(cost))


def claim_output(out: Path, *, overwrite: bool) -> None:
    """Makes the folder of a sweep, before anything is trained for it.

    Raises:
        UsageError: something is there that is not to be replaced.
        StorageError: it cannot be made or written.
    """
    from tacit.errors import StorageError, UsageError
    from tacit.record.folder import LOCK

    try:
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is a file: give a folder with --out")
        found = {path.name for path in out.iterdir()} if out.is_dir() else set()
        if found - {SWEEP, PLOT}:
            raise UsageError(f"{out} has other files in it than those of a sweep: give another folder with --out")
        if found and not overwrite:
            raise UsageError(f"{out} holds a sweep: give another folder with --out, or --overwrite")
        out.mkdir(parents=True, exist_ok=True)
        probe = out / LOCK
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"the folder {out} cannot be written: {error}. Give another with --out") from error


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


def planned_all(
    target: str, options: list[tuple[str, str, Any]], settings: list[str], epsilons: Sequence[float], seeds: int
) -> tuple[str, dict[float, list[Plan]]]:
    """The section whose epsilon varies, and the plans for every epsilon, by seed. All are checked before any is run.

    What varies is the privacy of clients, but for plans that protect nothing but their records.

    Raises:
        UsageError: a plan has problems, or the options leave nothing to vary.
    """
    from tacit.cli.plan import given_in_file
    from tacit.cli.run import given, planned
    from tacit.errors import Problems, UsageError
    from tacit.plan import Given
    from tacit.plan.overlay import overlaid
    from tacit.scenarios.scenario import REGISTRY, scenario

    said = given(options, settings)
    with Problems("the sweep cannot start", UsageError) as problems:
        for path, option in VARIED.items():
            problems.check(path not in said.places, f"--set {'.'.join(path)} is what a sweep varies: give {option}")
    level = _varied({} if target in REGISTRY else given_in_file(target).values, said.values)

    def plan(epsilon: float, seed: int) -> Plan:
        own = Given.of([(("seed",), seed, "--seeds"), ((level, "epsilon"), epsilon, "--epsilons")])
        made = planned(target, Given(overlaid(said.values, own.values), {**said.places, **own.places}))
        fixed = getattr(made, level).fields["noise_multiplier"]
        if fixed is not None:
            raise UsageError(f"the plan fixes noise_multiplier at {fixed}, so that epsilon cannot vary: leave it out")
        return scenario(made.scenario).settle(made)

    return level, {epsilon: [plan(epsilon, seed) for seed in range(seeds)] for epsilon in epsilons}


def _varied(file: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    said = {**file, **options}
    clients, records = (said.get(level) not in (None, "none") for level in ("privacy", "record_privacy"))
    return "record_privacy" if records and not clients else "privacy"


def measured(plans: Mapping[float, Sequence[Plan]], level: str, quiet: bool) -> tuple[list[Point], str, Cost | None]:
    """The points, that without privacy first; the metric's name; and what all runs cost, where there is a ledger."""
    from tacit.cli.execution import federated
    from tacit.cli.twin import PLAIN
    from tacit.scenarios.scenario import scenario

    epsilons: tuple[float | None, ...] = (None, *plans)
    values: dict[float | None, list[float]] = {epsilon: [] for epsilon in epsilons}
    claims: dict[float | None, list[Claim]] = {epsilon: [] for epsilon in epsilons}
    metric, populations = "", []
    for private in zip(*plans.values(), strict=True):
        found = scenario(private[0].scenario)
        prepared = found.prepare(private[0])
        same_seed = (found.twin(private[0], len(prepared.population)), *private)
        federations = [federated(plan, prepared) for plan in same_seed]  # all are checked before one is trained
        metric = prepared.headline
        populations.append(federations[0].given)
        for epsilon, plan, federation in zip(epsilons, same_seed, federations, strict=True):
            run = federation.run(plan.rounds, progress=False)
            value = (prepared.standing(run.model, full=False, workers=1).test[PLAIN] or {})[metric]
            values[epsilon].append(value)
            claims[epsilon] += [run.facts[level]] if plan.private else []
            if not quiet:
                print(f"{_name(epsilon)}, seed {plan.seed}: {metric} {value:.3f}", file=sys.stderr, flush=True)
    points = [_point(epsilon, values[epsilon], claims[epsilon]) for epsilon in epsilons]
    return points, metric, in_all(populations, [claim for each in claims.values() for claim in each])


def _point(epsilon: float | None, values: Sequence[float], claims: Sequence[Claim]) -> Point:
    first = claims[0] if claims else {}
    return Point(epsilon, first.get("noise_multiplier"), first.get("delta"), tuple(values))


def in_all(populations: Sequence[Population], claims: Sequence[Claim]) -> Cost | None:
    """What the ledger holds against these populations, as if everybody were in all of them; None of synthetic data.

    Another seed may hold other people out, which may make another population of nearly the same people. Records have
    an account for each client: of them it is the largest total that a run has told, which holds the runs before it.
    """
    from tacit.privacy.accountant import COARSE, spent
    from tacit.privacy.event import charges
    from tacit.privacy.ledger import Ledger

    names = {population.known_as or population.fingerprint() for population in populations if not population.synthetic}
    if not names:
        return None
    delta, adjacency = min(claim["delta"] for claim in claims), claims[0]["adjacency"]
    told: dict[str, Any] = {"delta": delta, "populations": sorted(names), "unit": claims[0]["unit"]}
    if claims[0]["unit"] == "record":
        totals = [claim["epsilon_population_total"] for claim in claims]
        return told | {"epsilon": None if None in totals else max(totals)}
    with Ledger() as ledger:
        charged = charges(charge for name in sorted(names) for charge in ledger.account(name, "user").charges())
    found = spent(charged, delta, adjacency, interval=COARSE).epsilon
    return told | {"epsilon": found if isfinite(found) else None}


def _print(points: Sequence[Point], metric: str, out: Path) -> None:
    from tacit.cli import console

    def row(point: Point) -> list[str]:
        name = "without privacy" if point.epsilon is None else f"{point.epsilon:g}"
        z = "-" if point.noise_multiplier is None else f"{point.noise_multiplier:.3g}"
        spread = "-" if point.spread is None else f"{point.spread:.3f}"
        return [name, z, f"{point.mean:.3f}", spread, f"{point.mean - points[0].mean:+.3f}"]

    console.table(("epsilon", "z", metric, "+-", "change"), [row(point) for point in points])
    print(f"\nplot: {out / PLOT}, numbers: {out / SWEEP}")


def _name(epsilon: float | None) -> str:
    return "without privacy" if epsilon is None else f"epsilon {epsilon:g}"


def _charged(cost: Cost) -> str:
    epsilon = "without bound" if cost["epsilon"] is None else f"{cost['epsilon']:.4g}"
    return (
        f"charged to the ledger: epsilon {epsilon} at delta {cost['delta']:.2g} in all for every {cost['unit']}, as if "
        "it was in all of these runs and earlier ones"
    )

"""`tacit run`: a scenario or a plan, from its data to its result."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.cli.options import Json, Quiet, Settings, Workers

if TYPE_CHECKING:
    from tacit.plan import Given, Plan

EXAMPLES = """\b
Examples:
  tacit run app-recommendation
  tacit run app-recommendation --rounds 50 --clients 60 --algorithm FedProx --set algorithm.mu=0.1
  tacit run app-recommendation --data lsapp.tsv.gz
  tacit run app-recommendation --data log.csv --user who --item app --time at --context city,network
  tacit run plan.toml --set solver.lr=0.05 --set run.workers=1
  tacit run app-recommendation --epsilon 4
  tacit run app-recommendation --set record_privacy.epsilon=4 --set record_privacy.clip=0.1
  tacit run app-recommendation --fleet phones
  tacit run app-recommendation --fleet lognormal --set closing.name=Deadline --set closing.quantile=0.9
  tacit run app-recommendation --json > result.json

How training is done by default depends on the data (apps, or films as in
MovieLens), on the loss and on the algorithm; the plan of a run says all of it.

The folder of a run holds result.json, history.csv, plan.toml (everything the run is), model.safetensors,
report.html and checkpoints. `tacit resume` goes on with a run that was stopped.
"""
Target = Annotated[str, typer.Argument(metavar="SCENARIO|PLAN.toml", help="`tacit scenarios` lists the scenarios.")]
Data = Annotated[str | None, typer.Option(help="synthetic, a dataset (`tacit data`), or the path of a table.")]
User = Annotated[str | None, typer.Option(help="Column of the table that says who.")]
Item = Annotated[str | None, typer.Option(help="Column of the table that says what.")]
Time = Annotated[str | None, typer.Option(help="Column of the table that says when.")]
Context = Annotated[str | None, typer.Option(metavar="A,B", help="Further columns that are known before the item is.")]
Rounds = Annotated[int | None, typer.Option(help="Rounds of federated learning, at most.")]
Clients = Annotated[int | None, typer.Option(help="Clients drawn for each round; the scenario's choice by default.")]
Epsilon = Annotated[float | None, typer.Option(help="Train with user-level differential privacy that costs this.")]
Clip = Annotated[float | None, typer.Option(help="With --epsilon: the largest norm of what a client sends.")]
Algorithm = Annotated[str | None, typer.Option(help="FedAvg, FedProx, Scaffold, FedAdam, ...")]
Fleet = Annotated[
    str | None, typer.Option(metavar="KIND|FILE", help="Devices: phones, lognormal, silos, or a file of profiles.")
]
Seed = Annotated[int | None, typer.Option(help="Of every draw. The same seed gives the same bits.")]
Engine = Annotated[str | None, typer.Option(help="auto, fused, traced, ghost, vmapped or eager.")]
Device = Annotated[str | None, typer.Option(help="cpu, or an accelerator such as cuda.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run.  [default: runs/SCENARIO-TIME-HASH]")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run that lies in the folder.")]
Compare = Annotated[bool | None, typer.Option(help="Train pooled and local models to hold it against; the default.")]


def run(
    target: Target,
    data: Data = None,
    user: User = None,
    item: Item = None,
    time: Time = None,
    context: Context = None,
    rounds: Rounds = None,
    clients: Clients = None,
    algorithm: Algorithm = None,
    epsilon: Epsilon = None,
    clip: Clip = None,
    fleet: Fleet = None,
    settings: Settings = None,
    seed: Seed = None,
    workers: Workers = None,
    engine: Engine = None,
    device: Device = None,
    out: Out = None,
    overwrite: Overwrite = False,
    compare: Compare = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Train a model together, and compare it with others."""
    from datetime import datetime

    from tacit.cli import console
    from tacit.cli.execution import begin
    from tacit.plan.build import settle
    from tacit.record.folder import claim, default_path
    from tacit.scenarios.scenario import scenario

    options: list[tuple[str, str, Any]] = [
        ("--data", "data.source", data),
        ("--user", "data.user", user),
        ("--item", "data.item", item),
        ("--time", "data.time", time),
        ("--context", "data.context", context),
        ("--rounds", "rounds", rounds),
        *_drawn(clients, private=epsilon is not None),
        ("--epsilon", "privacy.epsilon", epsilon),
        ("--clip", "privacy.clip", clip),
        ("--algorithm", "algorithm.name", algorithm),
        *on_fleet(fleet),
        ("--seed", "seed", seed),
        ("--workers", "run.workers", workers),
        ("--engine", "run.engine", engine),
        ("--device", "run.device", device),
        ("--compare/--no-compare", "run.compare", compare),
    ]
    plan = planned(target, given(options, settings or []))
    plan = settle(scenario(plan.scenario).settle(plan))
    folder = claim(out or default_path(plan.scenario, plan.hash, datetime.now()), overwrite=overwrite)
    console.ended(begin(plan, folder, quiet=quiet), folder, json)


def _drawn(clients: int | None, *, private: bool) -> list[tuple[str, str, Any]]:
    """What --clients says: so many in a round; on average, and each by its own coin, where the run is private."""
    if clients is None:
        return []
    name, field = ("Poisson", "expected") if private else ("Uniform", "cohort")
    return [("--clients", "selection.name", name), ("--clients", f"selection.{field}", clients)]


def on_fleet(fleet: str | None, option: str = "--fleet") -> list[tuple[str, str, Any]]:
    """What --fleet says: a kind of devices, or the file that holds them.

    Raises:
        UsageError: there is no such kind and no such file.
    """
    from tacit.errors import UsageError
    from tacit.fleet.recipe import RECIPES, Trace
    from tacit.plan.field import nearest

    if fleet is None:
        return []
    if fleet in RECIPES:
        return [(option, "fleet.name", RECIPES[fleet].__name__)]
    if not Path(fleet).expanduser().is_file():
        hint = nearest(fleet, RECIPES)
        raise UsageError(f"there is no fleet and no file {fleet!r}: {hint}; or give a .csv, .json or .npz of profiles")
    path = str(Path(fleet).expanduser())
    return [(option, "fleet.name", Trace.__name__), (option, "fleet.profiles", path)]


def given(options: list[tuple[str, str, Any]], settings: list[str]) -> Given:
    """What options say: (option, key, value), those without a value left out, and the KEY=VALUE of every --set."""
    from tacit.plan import Given, setting

    said = [(tuple(key.split(".")), value, option) for option, key, value in options if value is not None]
    for text in settings:
        path, value = setting(text)
        said.append((path, value, f"--set {'.'.join(path)}"))
    return Given.of(said)


def planned(target: str, options: Given) -> Plan:
    """The plan of a scenario or of a file, with options that win over it.

    Raises:
        UsageError: there is no such scenario or file, or the plan has problems: all of them.
    """
    from tacit.cli.plan import given_in_file
    from tacit.plan import VERSION, Given, settled
    from tacit.scenarios.scenario import REGISTRY, scenario

    if target in REGISTRY:
        base, name = Given({"version": VERSION, "scenario": target}), f"the plan of {target}"
    else:
        base, name = given_in_file(target), target
    return settled([base, options], scenario, name=name)

"""`tacit fleet`: what devices there are in a fleet, before anything is trained on them."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.cli.options import Json

if TYPE_CHECKING:
    from tacit.fleet import Fleet
    from tacit.fleet.recipe import Recipe

EXAMPLES = """\b
Examples:
  tacit fleet describe
  tacit fleet describe lognormal --clients 10000 --set fleet.sigma=1.5
  tacit fleet describe phones --plot hours.svg
  tacit fleet describe profiles.csv --set fleet.sessions=sessions.csv --json

`tacit run app-recommendation --fleet phones` trains on such devices, in virtual time.
"""
UNITS = {
    "seconds": "seconds for a unit of work",
    "memory": "memory, MB",
    "down": "down, bytes/s",
    "up": "up, bytes/s",
    "jitter": "jitter of transfers",
    "time_zone": "hours ahead of UTC",
    "dropout": "chance to fail in a round",
    "hazard": "further failures an hour",
    "share_on": "share of time available",
}
PERCENTILES = ("p1", "p10", "p50", "p90", "p99")
STEPS = 4
"""Times in an hour at which availability is looked at."""
DAYS = 14
"""Most days of a fleet's period that are looked at."""
BAR = 40
"""Characters of the bar of a fleet that is all there."""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at the devices of a fleet.")

Kind = Annotated[str, typer.Argument(metavar="KIND|FILE", help="phones, lognormal, silos, or a file of profiles.")]
Clients = Annotated[int, typer.Option(help="How many devices are made; a file says it itself.")]
Seed = Annotated[int, typer.Option(help="Of the fleet.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting, as fleet.hazard=2.")]
Plot = Annotated[Path | None, typer.Option(help="An .svg file to draw the availability to.")]


@app.callback()
def fleet() -> None:
    """Look at the devices of a fleet."""


@app.command("describe", epilog=EXAMPLES)
def describe(
    kind: Kind = "phones",
    clients: Clients = 1000,
    seed: Seed = 0,
    settings: Settings = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Percentiles of the devices' speed, links and failures, their tiers, and when they can take part."""
    from tacit.errors import Problems, UsageError

    with Problems("no fleet can be described", UsageError) as problems:
        problems.check(clients >= 1, f"clients is {clients}: give a whole number of at least 1")
        problems.check(plot is None or plot.suffix == ".svg", f"plot is {plot}: give a file that ends in .svg")
    recipe = _recipe(kind, settings or [])
    made = recipe.made([str(n) for n in range(clients)], seed)
    told = _described(made, recipe)
    if plot is not None:
        from tacit.record.checkpoint import save_text
        from tacit.record.plots import by_hour

        save_text(plot, by_hour(told["available_by_hour"]))
    if json:
        print(json_format.dumps(told, indent=2, allow_nan=False))
        return
    _show(told)


def _recipe(kind: str, settings: list[str]) -> Recipe:
    from tacit.cli.run import given, on_fleet
    from tacit.plan import settled_part
    from tacit.plan.build import made

    part = settled_part("fleet", given(on_fleet(kind, "KIND"), settings), name=f"the fleet {kind}")
    recipe: Recipe = made(part)
    return recipe


def _described(made: Fleet, recipe: Recipe) -> dict[str, Any]:
    """What there is, as JSON values."""
    import numpy as np

    told = made.describe()
    told["devices_by_tier"] = (np.bincount(made.tier, minlength=made.tiers) / len(made)).tolist()
    told["seconds_by_tier"] = [float(np.median(made.seconds[made.tier == n])) for n in range(made.tiers)]
    return {**told, "available_by_hour": shares_by_hour(made), "basis": recipe.basis}


def shares_by_hour(made: Fleet) -> list[float]:
    """The share of devices that can take part in each hour of the day, (24,), over the days of the period."""
    import numpy as np

    from tacit.fleet.availability import DAY

    when = made.availability
    days = min(max(1, round(when.period / DAY)), DAYS)
    times = (np.arange(days * 24 * STEPS) + 0.5) * DAY / (24 * STEPS)
    shares = np.array([when.available(None, float(t)).mean() for t in times])
    hours: list[float] = shares.reshape(days, 24, STEPS).mean(axis=(0, 2)).tolist()
    return hours


def _show(told: dict[str, Any]) -> None:
    from tacit.cli import console

    rows = [[text, *(f"{told[name][p]:.3g}" for p in PERCENTILES)] for name, text in UNITS.items()]
    print(f"{told['devices']:,} devices")
    console.table(["percentile", *(p[1:] for p in PERCENTILES)], rows)
    versions = ", ".join(f"{version} {share:.0%}" for version, share in told["version"].items())
    tiers = zip(told["devices_by_tier"], told["seconds_by_tier"], strict=True)
    print()
    console.facts(
        [
            ("unmetered link", f"{told['unmetered']:.0%}"),
            ("charging", f"{told['charging']:.0%}"),
            ("software", f"version {versions}"),
            ("tiers", "; ".join(f"{n}: {share:.0%}, {speed:.3g} s" for n, (share, speed) in enumerate(tiers))),
        ]
    )
    print("\navailable, by hour of the day (UTC)")
    for hour, share in enumerate(told["available_by_hour"]):
        print(f"{hour:2d}  {'#' * round(BAR * share):<{BAR}} {share:4.0%}")
    print(f"\n{told['basis']}")

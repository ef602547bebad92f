"""`tacit runs`: the runs in a folder."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.cli.options import Json

if TYPE_CHECKING:
    from tacit.record.folder import RunFolder

EXAMPLES = """\b
Examples:
  tacit runs
  tacit runs experiments --json
"""
COLUMNS = ("run", "scenario", "state", "rounds", "seconds", "metric")
Folder = Annotated[Path, typer.Argument(metavar="[DIR]", help="Where the runs lie.")]


def runs(folder: Folder = Path("runs"), json: Json = False) -> None:
    """List runs and how good they are."""
    from tacit.cli import console
    from tacit.record.folder import all_in

    lines = [_line(run) for run in all_in(folder)]
    if json:
        print(json_format.dumps(lines, indent=2, allow_nan=False))
    elif not lines:
        console.say(f"there are no runs in {folder}: `tacit run app-recommendation` makes one")
    else:
        console.table(COLUMNS, [[_cell(line[name]) for name in COLUMNS] for line in lines], left=3)
        for line in lines:
            if line["problem"]:
                console.say(f"! {line['problem']}")


def _line(run: RunFolder) -> dict[str, Any]:
    import tomllib

    from tacit.errors import StorageError
    from tacit.record.folder import PLAN

    line: dict[str, Any] = {"run": str(run.path), "scenario": None, "state": "unfinished"}
    line |= {"rounds": run.rounds, "seconds": None, "metric": None, "plan_hash": None, "problem": None}
    try:
        if run.finished:
            result = run.result
            value = result.metrics.get(result.interval_metric)
            metric = None if value is None else f"{result.interval_metric} {value:.3f}"
            line |= {"scenario": result.scenario, "state": "finished", "rounds": result.rounds}
            return line | {"seconds": round(result.seconds, 3), "metric": metric, "plan_hash": result.plan_hash}
        plan = tomllib.loads(run.text(PLAN))
        return line | {"scenario": str(plan.get("scenario")), "plan_hash": str(plan.get("hash"))}
    except (StorageError, ValueError, RecursionError) as error:
        return line | {"state": "unreadable", "problem": str(error).splitlines()[0].rstrip(":")}


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:.1f}" if isinstance(value, float) else str(value)

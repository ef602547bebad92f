"""`tacit plan`: checking a plan, and showing one with everything settled."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.cli.options import Settings

if TYPE_CHECKING:
    from tacit.plan import Conflict, Given, Plan
    from tacit.record.folder import RunFolder

CHECK_EXAMPLES = """\b
Example:
  tacit plan check plan.toml

Nothing is computed. Data that the plan names are looked for, and their columns held against it.
"""
SHOW_EXAMPLES = """\b
Examples:
  tacit plan show app-recommendation > plan.toml
  tacit plan show plan.toml --set algorithm.name=Scaffold
  tacit plan show runs/demo
"""
File = Annotated[str, typer.Argument(metavar="PLAN.toml", help="The plan.")]
Target = Annotated[str, typer.Argument(metavar="SCENARIO|PLAN.toml|RUN", help="What to show the plan of.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check a plan, or show one with every field.")


@app.command(epilog=CHECK_EXAMPLES)
def check(file: File) -> None:
    """Say everything that is wrong with a plan: each problem with its line, and what to do about it."""
    from tacit.cli import console
    from tacit.plan import settled
    from tacit.plan.build import settle
    from tacit.scenarios.scenario import scenario

    given = given_in_file(file)
    plan = settled([given], scenario, name=file, here=_here)
    plan = settle(scenario(plan.scenario).settle(plan))
    print(f"{file} can be carried out: {plan.scenario}, {plan.rounds} rounds, hash {plan.hash}")
    stated = given.values.get("hash")
    if stated not in (None, plan.hash):
        console.say(f"note: its line hash says {stated}, which is of another plan. The line may be removed")


def _here(plan: Plan) -> list[Conflict]:
    """What keeps a plan from being carried out on this machine, with the data at hand."""
    from tacit.plan import Conflict
    from tacit.preflight import has_device
    from tacit.scenarios.scenario import scenario

    found = scenario(plan.scenario).look(plan)
    if plan.run.device != "cpu" and not has_device(plan.run.device):
        text = f'device is "{plan.run.device}": torch finds no such accelerator here; give "cpu"'
        found.append(Conflict(("run.device",), text))
    return found


@app.command(epilog=SHOW_EXAMPLES)
def show(target: Target, settings: Settings = None) -> None:
    """Print a plan with every field and its hash: a file to start from."""
    from tacit.cli.run import given, planned
    from tacit.errors import DataError
    from tacit.plan import written
    from tacit.plan.build import settle
    from tacit.record.folder import PLAN
    from tacit.scenarios.scenario import scenario

    inside = Path(target) / PLAN
    plan = planned(str(inside) if inside.is_file() else target, given([], settings or []))
    with suppress(DataError):  # a plan can be shown where its data are not
        plan = settle(scenario(plan.scenario).settle(plan))
    print(written(plan), end="")


def given_in_file(name: str) -> Given:
    """What the plan in a file says.

    Raises:
        UsageError: there is no such file or scenario, or it is no plan of this version.
    """
    from tacit.errors import UsageError
    from tacit.plan import given_in
    from tacit.plan.reader import LONGEST
    from tacit.scenarios.scenario import scenario

    path = Path(name)
    if not path.exists() and path.suffix != ".toml" and len(path.parts) == 1:
        scenario(name)  # says which one was meant
    try:
        with path.open(encoding="utf-8-sig") as stream:
            text = stream.read(LONGEST + 1)
    except FileNotFoundError:
        makes = f"tacit plan show SCENARIO > {shlex.quote(name)}"
        raise UsageError(f"there is no plan {name!r}: `{makes}` makes one") from None
    except IsADirectoryError:
        raise UsageError(f"{name} is a folder: give the plan.toml in it, or `tacit resume` for a run") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{name} cannot be read as text: {error}") from error
    return given_in(text, name)


def plan_of(folder: RunFolder) -> Plan:
    """The plan of a run, as it began.

    Raises:
        StorageError: the file was changed since.
    """
    from tacit.errors import StorageError, UsageError
    from tacit.plan import given_in, settled
    from tacit.record.folder import PLAN, command
    from tacit.scenarios.scenario import scenario

    try:
        given = given_in(folder.text(PLAN), str(folder.plan))
        plan = settled([given], scenario, name=str(folder.plan))
    except UsageError as error:
        raise StorageError(f"the plan of the run cannot be read back: {error}") from error
    if given.values.get("hash") != plan.hash:
        raise StorageError(
            f"{folder.plan} was changed since the run began: its hash is {plan.hash}, not {given.values.get('hash')}. "
            f"Change it back, or begin a new run with `{command('run', folder.plan)}`"
        )
    return plan

"""`tacit privacy attack`: what can be read from a message, and from a model, without privacy, clipped, and with it."""

from __future__ import annotations

import json as json_format
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.cli.options import Json, Quiet, Settings, Workers

if TYPE_CHECKING:
    from tacit.attacks.result import Found
    from tacit.plan import Plan

EXAMPLES = """\b
Examples:
  tacit privacy attack app-recommendation
  tacit privacy attack app-recommendation --quick
  tacit privacy attack app-recommendation --rounds 60 --shadows 16 --epsilon 8 --out strong
  tacit privacy attack plan.toml --kind membership --json

Two attacks on the same federation without privacy, with reports clipped only, and private: gradient inversion gets a
client's examples back from its message; membership inference names from the final model who took part. A picture for
people, not a bound: the bound is `tacit privacy audit` and the statement. No ledger is charged; all models are thrown
away.
"""
INVERSION, MEMBERSHIP = "inversion", "membership"
KINDS = (INVERSION, MEMBERSHIP)
MOST_ROUNDS = 20
IMAGE_CLIENTS = 400
LEAST_SHADOWS = 4
Target = Annotated[str, typer.Argument(metavar="SCENARIO|PLAN.toml", help="`tacit scenarios` lists the scenarios.")]
Epsilon = Annotated[float, typer.Option(help="What the private run may spend; a plan's own [privacy] wins.")]
Rounds = Annotated[
    int | None, typer.Option(help=f"Rounds of every run.  [default: the plan's, at most {MOST_ROUNDS}; quick: 8]")
]
Kind = Annotated[str | None, typer.Option(help="inversion or membership.  [default: both]")]
Clients = Annotated[int | None, typer.Option(help="Clients whose messages are inverted.  [default: 3; quick: 2]")]
Shadows = Annotated[
    int | None, typer.Option(help="Federations on random halves, for each setting.  [default: 8; quick: 6]")
]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer rounds, clients, federations and steps.")]
Seed = Annotated[int, typer.Option(help="Of clients, halves and batches. The noise is never seeded.")]
Out = Annotated[Path, typer.Option(help="Folder for attack.html, attack.json and the pictures.")]


@dataclass(frozen=True)
class Effort:
    """How much is done.

    Attributes:
        rounds: of every run.
        clients: whose messages are inverted.
        shadows: federations for each setting.
        steps: of the optimised inversion.
        batches: examples of a single step.
    """

    rounds: int
    clients: int
    shadows: int
    steps: int
    batches: tuple[int, ...]


def attack(
    target: Target,
    epsilon: Epsilon = 4.0,
    rounds: Rounds = None,
    kind: Kind = None,
    clients: Clients = None,
    shadows: Shadows = None,
    quick: Quick = False,
    seed: Seed = 0,
    settings: Settings = None,
    workers: Workers = None,
    out: Out = Path("attack"),
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Attack a run without privacy, clipped only, and private, and draw what comes back."""
    from tacit.attacks.result import write
    from tacit.errors import StorageError

    _check(kind, clients, shadows, seed)
    plan = _planned(target, epsilon, rounds or (8 if quick else None), workers, settings or [])
    effort = Effort(plan.rounds, clients or (2 if quick else 3), shadows or (6 if quick else 8), 120, (1, 4))
    if quick:
        effort = Effort(plan.rounds, effort.clients, effort.shadows, 60, (1,))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{out} cannot be made: {error}") from error
    found = _found(plan, KINDS if kind is None else (kind,), effort, seed, quiet)
    values = json_format.dumps(found.values(), indent=2, allow_nan=False) + "\n"
    files = write(found, out, values)
    if json:
        print(values, end="")
    else:
        _print(found, out, files)


def _check(kind: str | None, clients: int | None, shadows: int | None, seed: int) -> None:
    from tacit.errors import Problems, UsageError

    with Problems("the attack cannot start", UsageError) as problems:
        problems.check(kind is None or kind in KINDS, f"--kind is {kind!r}: give {' or '.join(KINDS)}")
        problems.check(clients is None or clients >= 1, f"--clients is {clients}: give at least 1")
        few = f"--shadows is {shadows}: give at least {LEAST_SHADOWS}, or nobody is absent often enough"
        problems.check(shadows is None or shadows >= LEAST_SHADOWS, few)
        problems.check(seed >= 0, f"--seed is {seed}: give a whole number of at least 0")


def _planned(target: str, epsilon: float, rounds: int | None, workers: int | None, settings: list[str]) -> Plan:
    """The private plan, of at most `MOST_ROUNDS` rounds where nobody says how many."""
    from tacit.cli.run import given, planned

    options: list[tuple[str, str, Any]] = [("--rounds", "rounds", rounds), ("--workers", "run.workers", workers)]
    plan = planned(target, given(options, settings))
    if rounds is None and plan.rounds > MOST_ROUNDS:
        options[0] = ("--rounds", "rounds", MOST_ROUNDS)
    if plan.privacy is None:
        options.append(("--epsilon", "privacy.epsilon", epsilon))
    return planned(target, given(options, settings))


def _found(plan: Plan, kinds: tuple[str, ...], effort: Effort, seed: int, quiet: bool) -> Found:
    from tacit.attacks.material import Material, of_images, of_scenario
    from tacit.attacks.membership import attacked
    from tacit.attacks.pictures import pictures
    from tacit.attacks.result import Found
    from tacit.attacks.target import SETTINGS, Target
    from tacit.attacks.tries import Try, tried, works
    from tacit.cli.execution import federated
    from tacit.scenarios.scenario import scenario

    prepared = scenario(plan.scenario).prepare(plan)
    target = Target.of(federated(plan, prepared), plan.rounds)
    materials, tries, membership, batches = list[Material](), list[Try](), None, works(effort.batches)
    if INVERSION in kinds:
        materials = [of_scenario(plan.scenario, target, prepared.card()["inputs"])]
        materials += of_images(pictures(IMAGE_CLIENTS), target.claim["epsilon"], seed)
    total = len(materials) * len(batches) * len(SETTINGS) * effort.clients
    total += len(SETTINGS) * effort.shadows if MEMBERSHIP in kinds else 0
    with _progress(total, quiet) as told:
        for material in materials:
            tries += tried(material, batches, effort.clients, seed, effort.steps, told)
        if MEMBERSHIP in kinds:
            membership = attacked(target, effort.shadows, seed, told)
    clip = target.level.clip or 0.0
    return Found(plan.scenario, target.claim, clip, plan.rounds, materials, tries, membership, prepared.synthetic)


@contextmanager
def _progress(total: int, quiet: bool) -> Iterator[Callable[[str], None]]:
    """A function to be told what comes next: a bar on a terminal, a line for each new thing elsewhere."""
    if quiet:
        yield lambda what: None
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task, begun = bar.add_task("", total=total), 0

        def told(what: str) -> None:
            nonlocal begun
            bar.update(task, description=what, completed=begun)
            begun += 1

        yield told
        bar.update(task, description="done", completed=total)


def _lines() -> Callable[[str], None]:
    last = ""

    def told(what: str) -> None:
        nonlocal last
        if what != last:
            print(what, file=sys.stderr, flush=True)
        last = what

    return told


def _print(found: Found, out: Path, files: list[str]) -> None:
    from tacit.cli import console

    claim = found.claim
    print(f"DP: epsilon {claim['epsilon']:.3g} at delta {claim['delta']:.2g}, clip norm {found.clip:g}, ", end="")
    print(f"noise multiplier {claim['noise_multiplier']:.3g}, {found.rounds} rounds")
    if found.tries:
        print("\nwhat came back of a client's examples, and in brackets what another client's would give")
    for name, (columns, lines) in found.inversion_tables().items():
        print(f"\n{name}")
        console.table(columns, lines, left=3)
    if found.membership is not None:
        print(f"\nwho took part, from the final model: {found.membership.shadows} federations for each setting")
        console.table(*found.membership_table())
    for note in found.notes:
        print(f"- {note}")
    print(f"\nthe page: {out / files[0]}, the numbers: {out / files[1]}, pictures: {', '.join(files[2:])}")

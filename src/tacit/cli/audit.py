"""`tacit privacy audit`: tries to refute what a private run claims."""

from __future__ import annotations

import json as json_format
from typing import Annotated

import typer

from tacit.cli.options import Json, Settings, Workers

EXAMPLES = """\b
Examples:
  tacit privacy audit app-recommendation
  tacit privacy audit app-recommendation --epsilon 8 --rounds 20 --canaries 2000
  tacit privacy audit plan.toml --json

A twin of the run is trained with canaries among its clients, and thrown away; from what it releases an adversary who
sees every round guesses which of them took part. A lower bound above the claim refutes it: the exit code is then 6.
That none was found is no proof of privacy, and the most that this audit could have shown is said.
"""
Target = Annotated[str, typer.Argument(metavar="SCENARIO|PLAN.toml", help="`tacit scenarios` lists the scenarios.")]
Epsilon = Annotated[float, typer.Option(help="What the run may spend; a plan's own [privacy] wins.")]
Rounds = Annotated[int | None, typer.Option(help="Rounds of the twin; the plan's by default.")]
Canaries = Annotated[int, typer.Option(help="The more, the more an audit can show.")]
Confidence = Annotated[float, typer.Option(help="With which the lower bounds hold, together.")]
Seed = Annotated[int, typer.Option(help="Of the canaries. The noise is never seeded.")]


def audit(
    target: Target,
    epsilon: Epsilon = 4.0,
    rounds: Rounds = None,
    canaries: Canaries = 1000,
    confidence: Confidence = 0.95,
    seed: Seed = 0,
    settings: Settings = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Try to refute the claim of a private run, with canaries in a twin of it."""
    from tacit.cli.execution import federated
    from tacit.cli.run import given, planned
    from tacit.privacy.audit import audit as audited
    from tacit.scenarios.scenario import scenario

    options = [("--rounds", "rounds", rounds), ("--workers", "run.workers", workers)]
    plan = planned(target, given(options, settings or []))
    if plan.privacy is None:
        plan = planned(target, given([*options, ("--epsilon", "privacy.epsilon", epsilon)], settings or []))
    prepared = scenario(plan.scenario).prepare(plan)
    found = audited(federated(plan, prepared), plan.rounds, canaries=canaries, seed=seed, confidence=confidence)
    print(json_format.dumps(found.values(), indent=2) if json else found.text())
    found.require()

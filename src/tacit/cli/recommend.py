"""`tacit recommend`: what the model of a run puts first for one user."""

from __future__ import annotations

import json as json_format
from typing import Annotated

import typer

from tacit.cli.options import Json, RunName

EXAMPLES = """\b
Examples:
  tacit recommend runs/demo --user phone-017
  tacit recommend runs/demo --user phone-017 --top 3 --at 2026-01-25T08:30

Users that no model was trained on work as well: their own log is enough.
"""
User = Annotated[str, typer.Option("--user", help="Id of the user in the data of the run.")]
Top = Annotated[int, typer.Option(help="How many.")]
At = Annotated[str | None, typer.Option(metavar="TIME", help="Local time of the phone, as 2026-01-25T08:30.")]


def recommend(name: RunName, user: User, top: Top = 10, at: At = None, json: Json = False) -> None:
    """Print what a run's model puts first for a user."""
    from tacit.cli import console
    from tacit.cli.trained import trained
    from tacit.errors import UsageError
    from tacit.scenarios.scenario import Recommends

    moment = None if at is None else _seconds(at)
    plan, prepared, model = trained(name)
    if not isinstance(prepared, Recommends):
        raise UsageError(f"the scenario {plan.scenario} recommends nothing")
    advice = prepared.recommend(model, user, top=top, at=moment)
    if json:
        items = [{"item": item, "score": score} for item, score in advice.items]
        content = {"user": advice.user, "items": items, "notes": advice.notes}
        print(json_format.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))
        return
    rows = [[str(place), item, f"{score:.4f}"] for place, (item, score) in enumerate(advice.items, start=1)]
    console.table(["", user, "score"], rows, left=2)
    for note in advice.notes:
        print(f"- {note}")


def _seconds(text: str) -> float:
    """Seconds since 1970 of a local time, as the logs count it: without a time zone."""
    from datetime import UTC, datetime

    from tacit.errors import UsageError

    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--at {text!r} is not a time ({error}): give for example 2026-01-25T08:30") from None

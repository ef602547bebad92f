"""`tacit explain-round`: why a round of a coordinator went as it did."""

from __future__ import annotations

import json as json_format
from typing import Annotated

import typer

from tacit.cli.options import Json

EXAMPLES = """\b
Examples:
  tacit explain-round 12 --dir runs/clinics
  tacit explain-round 12 --dir runs/clinics --json
  tacit explain-round 12 --dir postgresql+psycopg://tacit@db/tacit

Reads the coordinator's journal on its own machine, while it runs or after: who was asked, who did not answer at which
step and why, and what to do about it. It names participants; the dashboard never does.
"""
Number = Annotated[int, typer.Argument(metavar="N", min=1, help="The round, from 1.")]
Where = Annotated[str, typer.Option("--dir", help="The coordinator's folder, or its journal.")]


def explain(number: Number, where: Where = ".", json: Json = False) -> None:
    """Tell why a round went as it did: participant, step, cause, remedy."""
    from tacit.network.watch.archive import Archive
    from tacit.network.watch.explanation import as_values, explained

    archive = Archive(where)
    try:
        attempts = archive.tried(number - 1)
    finally:
        archive.close()
    if json:
        print(json_format.dumps(as_values(attempts), indent=2))
        return
    print(explained(number, attempts))

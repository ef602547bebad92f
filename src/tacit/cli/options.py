"""Options and arguments that several verbs share."""

from __future__ import annotations

from typing import Annotated

import typer

RunName = Annotated[str, typer.Argument(metavar="RUN", help="Folder of the run, or its name in runs/.")]
Workers = Annotated[int | None, typer.Option(help="Clients trained at once. It changes no bit.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing while it runs.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON alone on standard output.")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any field of the plan.")]

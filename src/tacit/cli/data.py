"""`tacit data`: datasets, where they come from, under which terms, and whether they are at hand."""

from __future__ import annotations

from typing import Annotated

import typer

EXAMPLES = """\b
Examples:
  tacit data
  tacit data movielens-latest-small-2018 --download

Files are looked for in the folder named by TACIT_DATA (one folder per dataset) and in the user's cache, and taken
only if their sha256 is the recorded one. None is part of tacit: read the terms of each.
"""
Name = Annotated[str, typer.Argument(metavar="[list|NAME]", help="A dataset, or all of them.")]
Download = Annotated[bool, typer.Option("--download", help="Fetch it from its public origin.")]


def data(name: Name = "list", download: Download = False) -> None:
    """List datasets, or show one, or fetch it."""
    from tacit.errors import UsageError
    from tacit.scenarios import datasets

    if name != "list":
        _one(name, download)
    elif download:
        raise UsageError(f"name the dataset to fetch: one of {', '.join(datasets.names())}")
    else:
        _all()


def _all() -> None:
    from tacit.cli import console
    from tacit.scenarios import datasets

    rows = []
    for name in datasets.names():
        status = datasets.status(name)
        here = "yes" if not status.missing else "in part" if status.found else "no"
        rows.append([name, here, datasets.dataset(name).about])
    console.table(["dataset", "at hand", "what it is"], rows, left=3)
    print("`tacit data NAME` shows origin, terms and files")


def _one(name: str, download: bool) -> None:
    from tacit.cli import console
    from tacit.scenarios import datasets

    entry = datasets.dataset(name)
    if download:
        console.say(f"fetching {name} from {entry.origin}; terms: {entry.terms}")
        datasets.download(name)
    status = datasets.status(name)
    console.facts([("dataset", name), ("what", entry.about), ("origin", entry.origin), ("terms", entry.terms)])
    for file in entry.files:
        where = status.found.get(file.name)
        fetch = f"missing; from {file.url}" if file.url else f"missing; bring it into {datasets.folders(name)[0]}"
        print(f"- {file.name}: {where or fetch}")
        print(f"  sha256 {file.sha256 or 'not recorded'}")

"""`tacit status`: how a coordinator's run goes."""

from __future__ import annotations

import json as json_format
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.cli.options import Json

if TYPE_CHECKING:
    from tacit.network.watch.archive import Overview
    from tacit.network.watch.asking import Shown, Target

EXAMPLES = """\b
Examples:
  tacit status https://127.0.0.1:8443 --ca certs/ca.pem
  tacit status https://127.0.0.1:8443 --ca certs/ca.pem --watch
  tacit status runs/clinics
  tacit status https://hospital.example:8443 --json

An address asks the coordinator, and so does the folder of one that runs; else the folder's journal is read. From
another machine it takes the operator's token, in TACIT_DASHBOARD_TOKEN.
"""
TOKEN = "TACIT_DASHBOARD_TOKEN"
EVERY = 2.0
"""Seconds between two looks of --watch."""

Where = Annotated[str, typer.Argument(metavar="DIR|URL", help="A coordinator's folder, or its address.")]
Authority = Annotated[Path | None, typer.Option("--ca", help="Certificate of the authority that vouches for it.")]
Cert = Annotated[Path | None, typer.Option("--cert", help="Own certificate, where the coordinator asks for one.")]
Key = Annotated[Path | None, typer.Option("--key", help="Its key.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Look again every two seconds, until the run has ended.")]


def status(
    where: Where,
    ca: Authority = None,
    cert: Cert = None,
    key: Key = None,
    watch: Watch = False,
    json: Json = False,
) -> None:
    """Show how a coordinator's run goes."""
    from aiohttp import ClientConnectorError

    from tacit.errors import MalformedMessage, UsageError
    from tacit.network.consent.folder import Folder
    from tacit.network.office import Refused
    from tacit.network.watch.asking import Target, address_in, authority, shown

    if watch and json:
        raise UsageError("--watch is for people, and --json for programs: give one of them")
    own = shown(cert, key)
    if where.startswith(("http://", "https://")):
        target = Target.of(where)
        _asked(target, authority(target, ca, Folder.at().path), own, watch, json)
        return
    found = None if "://" in where else address_in(Path(where))
    if found is not None:
        try:
            _asked(*found, own, watch, json)
            return
        except (Refused, MalformedMessage) as error:
            if watch or own is not None:
                raise
            if not isinstance(error.__cause__, ClientConnectorError):  # somebody listens
                print(f"{error}\nThis is what the journal has:", file=sys.stderr)
    elif watch:
        raise UsageError(f"--watch asks a coordinator that runs: give its address in place of {where!r}")
    _read(where, json)


def _asked(target: Target, ca: bytes | None, own: Shown | None, watch: bool, json: bool) -> None:
    import asyncio
    import os
    import time

    from tacit.cli import console
    from tacit.network.watch.asking import status_of
    from tacit.network.watch.status import Status, as_json
    from tacit.network.watch.summary import summary

    def ask() -> Status:
        return asyncio.run(status_of(target, ca, os.environ.get(TOKEN) or None, own))

    found = ask()
    if json:
        print(as_json(found).decode())
        return
    if not watch:
        console.out().print(summary(found))
        return
    from rich.live import Live

    with Live(summary(found), console=console.out(), auto_refresh=False) as shown:
        while found["state"] not in ("finished", "failed"):
            time.sleep(EVERY)
            found = ask()
            shown.update(summary(found), refresh=True)


def _read(where: str, json: bool) -> None:
    from tacit.network.watch.archive import Archive
    from tacit.network.watch.explanation import as_values

    archive = Archive(where)
    try:
        seen = archive.overview
    finally:
        archive.close()
    if json:
        print(json_format.dumps({**vars(seen), "last": as_values(seen.last)}, indent=2))
    else:
        _show(seen)


def _show(seen: Overview) -> None:
    from tacit.cli import console

    people = ", ".join(f"{count} {name}" for name, count in seen.participants.items() if count) or "nobody yet"
    console.facts(
        [
            ("journal", seen.journal),
            ("rounds", f"{seen.published} published; {seen.abandoned} attempts abandoned"),
            ("participants", people),
        ]
    )
    if seen.last:
        rows = (
            [
                f"{one.round + 1}",
                f"{one.attempt + 1}",
                one.state,
                ", ".join(f"{step.kind} {step.answered}/{step.asked}" for step in one.steps),
                one.reason,
            ]
            for one in seen.last
        )
        console.table(["round", "attempt", "state", "steps: answered of asked", "why"], rows, left=5)
        print("why, with names and remedies: tacit explain-round N --dir DIR")

"""`tacit doctor`: what this machine offers, and what would stand in the way of a run, here or with a coordinator."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Any

import typer

from tacit.cli.options import Json

EXAMPLES = """\b
Examples:
  tacit doctor
  tacit doctor --json
  tacit doctor https://hospital.example:8443
  tacit doctor https://hospital.example:8443 --ca ca.pem
  tacit doctor https://hospital.example:8443 --cert client-mercy.pem --key client-mercy-key.pem

What would stand in the way of a run is said at the end, in lines that begin with "!". With an address, every line says
OK, WARN or FAIL, and what to do; it ends with code 8 if one is FAIL.
"""
UNREACHABLE = 8

Address = Annotated[str | None, typer.Argument(metavar="URL", help="A coordinator to look at from here.")]
Authority = Annotated[Path | None, typer.Option("--ca", help="Certificate of the authority that vouches for it.")]
Cert = Annotated[Path | None, typer.Option("--cert", help="Own certificate, where the coordinator asks for one.")]
Key = Annotated[Path | None, typer.Option("--key", help="Its key.")]
Kept = Annotated[Path | None, typer.Option("--dir", help="The participant's folder.")]


def doctor(
    address: Address = None,
    ca: Authority = None,
    folder: Kept = None,
    cert: Cert = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Look at versions, cores, memory, disk, clock, GPU, folders, and what one client changes in a private run.

    With an address: at the way from here to a coordinator.
    """
    if address is not None:
        _coordinator(address, ca, folder, (cert, key), json)
        return
    from tacit.cli import console
    from tacit.cli.machine import findings, looked_at

    seen = looked_at()
    problems = findings(seen)
    if json:
        print(json_format.dumps({**seen, "findings": problems}, indent=2, allow_nan=False))
        return
    console.facts((name.removesuffix("_bytes").replace("_", " "), _text(name, value)) for name, value in seen.items())
    print("\n".join(f"! {problem}" for problem in problems) or "nothing stands in the way of a run")


def _coordinator(
    address: str, ca: Path | None, folder: Path | None, own: tuple[Path | None, Path | None], json: bool
) -> None:
    import asyncio

    from tacit.network.consent.folder import Folder
    from tacit.network.watch.asking import Target, authority, shown
    from tacit.network.watch.probe import Level, examined

    target, place = Target.of(address), Folder.at(folder).path
    found = asyncio.run(examined(target, authority(target, ca, place), place, own=shown(*own)))
    if json:
        print(json_format.dumps([vars(one) for one in found], indent=2))
    else:
        for one in found:
            print(f"{one.level:<4}  {one.what:<11}  {one.said}")
            if one.todo:
                print(f"{'':19}to do: {one.todo}")
        bad = sum(one.level is Level.FAIL for one in found)
        print(f"{bad} of {len(found)} stand in the way" if bad else f"a participant here can work with {target.url}")
    if any(one.level is Level.FAIL for one in found):
        raise typer.Exit(UNREACHABLE)


def _text(name: str, value: Any) -> str:
    from tacit.cli.console import size

    if isinstance(value, dict):
        ending = "_bytes" if name.endswith("_bytes") else ""
        return ", ".join(f"{key.replace('_', ' ')} {_text(key + ending, entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else size(value) if name.endswith("_bytes") else str(value)

"""`tacit certs`: certificates by which a coordinator speaks TLS, and participants know it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """\b
Examples:
  tacit certs --out certs --host fl.hospital.example
  tacit certs --out certs --host 10.0.0.5 --host localhost --days 90
  tacit certs --out certs --host fl.example --client mercy --client st-anne
  tacit certs --out certs-2027 --host fl.example --authority certs     before they expire

Keys are readable by their owner alone, and nothing is written over. The key of the authority (ca-key.pem) is needed
only to make more certificates: keep it off the coordinator.
"""

Out = Annotated[Path, typer.Option(help="Folder for the files.")]
Host = Annotated[list[str], typer.Option(help="Name or address by which participants reach it; may be repeated.")]
Days = Annotated[int, typer.Option(help="Days for which the certificates hold.")]
Client = Annotated[
    list[str] | None, typer.Option(help="A participant that shows a certificate too (mutual TLS); may be repeated.")
]


Authority = Annotated[
    Path | None, typer.Option(help="Folder of an earlier authority that vouches for these, too: to renew them.")
]


def certs(out: Out, host: Host, days: Days = 365, client: Client = None, authority: Authority = None) -> None:
    """Make an authority, a coordinator's certificate and, where asked for, participants' certificates."""
    from tacit.cli import console
    from tacit.network.identity.certs import make_certificates

    made = make_certificates(out, host, days=days, clients=client or (), authority=authority)
    rows = [
        ("authority", f"{made.ca}: in every invitation"),
        ("its key", f"{made.ca_key}: keep it elsewhere than on the coordinator"),
        ("coordinator", f"{made.certificate}, for {', '.join(host)}"),
        ("its key", f"{made.key}"),
    ]
    rows += [(name, f"{pair[0]}, {pair[1]}: hand them to {name}") for name, pair in made.clients.items()]
    console.facts(rows)
    mutual = f" --clients {made.ca}" if made.clients else ""
    print(
        f"Next: tacit serve plan.toml --out runs/NAME --cert {made.certificate} --key {made.key} --ca {made.ca}{mutual}"
    )

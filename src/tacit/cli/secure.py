"""`tacit secure`: what secure aggregation costs, and what its graph is, before anybody takes part."""

from __future__ import annotations

import json as json_format
from typing import Annotated

import typer

from tacit.cli.options import Json

EXAMPLES = """\b
Examples:
  tacit secure estimate --clients 1000 --parameters 1000000
  tacit secure estimate --clients 1000 --parameters 1000000 --dropout 0.05 --corrupt 0.05 --semi-honest
  tacit secure estimate --clients 20 --parameters 200000 --bits 64 --json

Every pair of neighbours shares a mask that cancels in the sum; a secret is rebuilt by a threshold of its owner's
neighbours. Both numbers follow from how many clients may be corrupt or lost: nobody chooses them.
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at secure aggregation before using it.")

Clients = Annotated[int, typer.Option(help="Clients in a round.")]
Parameters = Annotated[int, typer.Option(help="Numbers in a report.")]
Dropout = Annotated[float, typer.Option(help="Share of the clients that may be lost in a round.")]
Corrupt = Annotated[float, typer.Option(help="Share of the clients that may work with the server.")]
Bits = Annotated[int, typer.Option(help="Bits of a word, 32 or 64.")]
Sigma = Annotated[int, typer.Option(help="The graph hides a client but for a chance of 2^-SIGMA.")]
SemiHonest = Annotated[
    bool, typer.Option("--semi-honest", help="Trust the server to ask everybody the same: fewer neighbours.")
]
Unsigned = Annotated[bool, typer.Option("--unsigned", help="Without identities, as in tests.")]


@app.callback()
def secure() -> None:
    """Look at secure aggregation before using it."""


@app.command("estimate", epilog=EXAMPLES)
def estimate(
    clients: Clients = 1000,
    parameters: Parameters = 1_000_000,
    dropout: Dropout = 0.1,
    corrupt: Corrupt = 0.1,
    bits: Bits = 32,
    sigma: Sigma = 40,
    semi_honest: SemiHonest = False,
    unsigned: Unsigned = False,
    json: Json = False,
) -> None:
    """Neighbours, threshold, bytes and seconds (timed here) of one round of secure aggregation."""
    from tacit.aggregation.secure.config import Config
    from tacit.aggregation.secure.estimate import estimate as estimated
    from tacit.errors import Problems, UsageError

    config = Config(
        run=bytes(16),
        round=0,
        length=parameters,
        bits=bits,
        minimum=3,
        layout=bytes(32),
        corrupt=corrupt,
        dropout=dropout,
        sigma=sigma,
        semi_malicious=not semi_honest,
        signed=not unsigned,
    )
    with Problems("there is no such session", UsageError) as problems:
        problems.extend(problem.replace("length is", "parameters is") for problem in config.problems())
    found = estimated(config, clients)
    if json:
        print(json_format.dumps(found.__dict__, indent=2))
        return
    _show(found.__dict__)


def _show(found: dict[str, float]) -> None:
    from tacit.cli import console

    complete = found["neighbours"] == found["clients"] - 1
    graph = "everybody with everybody" if complete else f"{found['neighbours']} neighbours each"
    up, down = (console.size(int(found[name])) for name in ("bytes_up", "bytes_down"))
    console.facts(
        [
            ("session", f"{found['clients']:,} clients, {found['parameters']:,} words of {found['bits']} bits"),
            ("graph", f"{graph}, of each secret {found['threshold']} shares rebuild it"),
            ("hidden", f"but for a chance of 2^-{found['sigma']}"),
            ("numbers", f"{found['budget']} bits each, sign included, where all weights are 1"),
            ("a client", f"sends {up}, receives {down}, computes {found['seconds_client']:.3g} s"),
            ("the server", f"computes {found['seconds_server']:.3g} s on {found['cores']} cores"),
        ]
    )
    print("Seconds are timed on this machine, piece by piece, and added; the network comes on top.")

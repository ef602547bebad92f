"""`tacit serve`: a coordinator, which carries a plan out with participants that come over the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tacit.cli.options import Quiet, Settings

if TYPE_CHECKING:
    from tacit.network.coordinator import Coordinator
    from tacit.plan import Plan
    from tacit.scenarios.scenario import Prepared

EXAMPLES = """\b
Examples:
  tacit certs --out certs --host fl.example
  tacit serve plan.toml --out runs/app --participants 5 --host 0.0.0.0 --url https://fl.example:8443 \\
      --token token.txt --cert certs/server.pem --key certs/server-key.pem --ca certs/ca.pem
  tacit invite runs/app --for mercy                     a line to hand over, which works once
  tacit serve plan.toml --out runs/app --participants 5 ...     again: the run is taken up where it was

With [aggregation] SecureSum only sums reach this process, and no participant's report. Ctrl-C stops it at a point from
which it can go on. The page of the run is at the address that it prints, for this machine alone; --token, a file with
what `openssl rand -hex 32` prints, lets others in, and is needed where a name or a proxy stands before it (--url).
"""

PlanFile = Annotated[str, typer.Argument(metavar="PLAN", help="A plan (TOML), or the name of a scenario.")]
Out = Annotated[Path, typer.Option(help="Folder of the run: journal, checkpoints, model.")]
Count = Annotated[int | None, typer.Option(help="How many take part; the run begins when so many have approved it.")]
Host = Annotated[str, typer.Option(help="Address to listen at.")]
Port = Annotated[int, typer.Option(help="Port to listen at; 0 takes a free one.")]
Url = Annotated[str | None, typer.Option(help="By which participants reach it, where a proxy stands before it.")]
Cert = Annotated[Path | None, typer.Option("--cert", help="Certificate for TLS, from `tacit certs`.")]
Key = Annotated[Path | None, typer.Option("--key", help="Its key.")]
Ca = Annotated[Path | None, typer.Option("--ca", help="Certificate of the authority that signed it, for invitations.")]
Clients = Annotated[Path | None, typer.Option(help="Authority of participants' certificates, which they must show.")]
Authority = Annotated[
    Path | None, typer.Option(help="Key of who certifies participants.  [default: made in the run's folder]")
]
SchemaFile = Annotated[
    Path | None, typer.Option("--schema", help="Schema of the examples (JSON).  [default: of the plan's own data]")
]
Journal = Annotated[
    str | None, typer.Option(help="postgresql+psycopg://USER@HOST/NAME  [default: SQLite in the run's folder]")
]
Token = Annotated[Path | None, typer.Option(help="File with the token that lets others look at the page.")]
Evaluate = Annotated[bool, typer.Option(help="Measure the model on the plan's own validation data after each round.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Without TLS: on loopback only, and said in the terms.")]
Linger = Annotated[float, typer.Option(help="Seconds for which it stays after the run, for the model to be fetched.")]


def serve(
    plan: PlanFile,
    out: Out,
    participants: Count = None,
    host: Host = "127.0.0.1",
    port: Port = 8443,
    url: Url = None,
    cert: Cert = None,
    key: Key = None,
    ca: Ca = None,
    clients: Clients = None,
    authority: Authority = None,
    schema: SchemaFile = None,
    journal: Journal = None,
    token: Token = None,
    evaluate: Evaluate = False,
    insecure: Insecure = False,
    linger: Linger = 30.0,
    set: Settings = None,
    quiet: Quiet = False,
) -> None:
    """Coordinate a run over the network: TLS 1.3, signed requests, secure sums, nothing lost in a crash."""
    from tacit.errors import UsageError

    if cert is None and not insecure:
        raise UsageError(
            "a coordinator speaks TLS: make certificates with `tacit certs`, and give --cert, --key and --ca. On one "
            "machine, for a try, --insecure does without"
        )
    from tacit.cli.deployment import agreed_plan, authority_of, read_schema, secret_in
    from tacit.cli.execution import recorded
    from tacit.network.coordinator import Coordinator
    from tacit.network.serving import Listening, served
    from tacit.network.watch import log as logs
    from tacit.record.folder import RunFolder

    settled = agreed_plan(plan, participants, set or [])
    made = read_schema(schema, settled)
    who, prepared = authority_of(authority, out), _prepared(settled) if evaluate else None
    test = None if prepared is None else prepared.validation()
    listening = Listening(host, port, cert, key, ca, clients, url, secret_in(token), None, linger)
    logs.opened(out / "log.jsonl")
    run = served(
        lambda: Coordinator(settled, made, out, who, test=test, journal=journal, loopback=cert is None),
        listening,
        log=logs.Log(),
        started=_started,
        told=(lambda coordinator: None) if quiet else _Telling(),
    )
    if run is None:
        print(f"stopped: the same command goes on with it ({out})")
        return
    if prepared is not None:
        recorded(settled, RunFolder(out), prepared, run)
    print(f"{run.facts['ended']}: {out / 'model.safetensors'}")


def _prepared(plan: Plan) -> Prepared:
    """The plan's own data, on which the model is measured here."""
    from tacit.scenarios.scenario import scenario

    return scenario(plan.scenario).prepare(plan)


def _started(url: str, coordinator: Coordinator) -> None:
    from tacit.cli import console

    console.say(f"listening at {url}; the page of the run is there too")
    missing = coordinator.terms.participants - coordinator.roll.counts(coordinator.terms.hash)["enrolled"]
    if missing > 0:
        console.say(f"{missing} participants are not enrolled yet: tacit invite {coordinator.folder.path}")


class _Telling:
    """Says how the run goes, a line for what is new."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, coordinator: Coordinator) -> None:
        """Looks, and says what changed."""
        from tacit.cli import console

        progress = coordinator.progress
        counts = coordinator.roll.counts(coordinator.terms.hash)
        if progress.state == "gathering":
            now = f"{counts['approved']} of {coordinator.terms.participants} participants have approved the run"
        elif progress.state == "training" and progress.rows:
            row = progress.rows[-1]
            measured = ", ".join(f"{n} {v:.4g}" for n, v in row.items() if _shown(n, v))
            now = f"round {row['round']} of {coordinator.plan.rounds}: {measured}"
        else:
            now = f"{progress.state}{': ' if progress.reason else ''}{progress.reason}"
        if now != self._said:
            self._said = now
            console.say(now)


def _shown(name: str, value: object) -> bool:
    return isinstance(value, int | float) and (name in ("loss", "epsilon", "seconds") or name.startswith("test_"))

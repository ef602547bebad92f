"""`tacit enroll`, `tacit join` and `tacit invite`: how participants come to a run over the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.cli.options import Quiet

if TYPE_CHECKING:
    from tacit.network.terms import Terms

INVITE = """\b
Examples:
  tacit invite runs/app --for mercy
  tacit invite runs/app --count 5 > invitations.txt
  tacit revoke runs/app mercy --reason "left the consortium"

An invitation is a secret until it was used: hand it over by another way than the network. It can be used once.
"""
ENROLL = """\b
Examples:
  tacit enroll invitation.txt --name mercy --dir /var/lib/tacit
  tacit enroll 'tacit+https://fl.example:8443/#token=...' --name mercy     a command line can be seen by others

A key is made here and never leaves this folder. The invitation pins the coordinator's certificate authority and who
certifies participants.
"""
JOIN = """\b
Examples:
  tacit join --data phone-log.csv
  tacit join --dir /var/lib/tacit --data interactions.parquet --yes
  tacit join --data synthetic:phone-3 --yes         one client of the plan's made-up data

Data never leave this machine: what goes is a masked report of each round. What this participant admits is in its
policy (`tacit participant policy`); without --yes a person approves each run (`tacit participant approve`).
"""

MADE_UP = "synthetic:"
Dir = Annotated[Path | None, typer.Option("--dir", help="The participant's folder.  [default: TACIT_PARTICIPANT]")]
Name = Annotated[str, typer.Option(help="Under which this participant is known.")]
Data = Annotated[str, typer.Option(help="Its data: a file, or synthetic:NAME.")]
Cert = Annotated[Path | None, typer.Option("--cert", help="Own certificate, where the coordinator asks for one.")]
Key = Annotated[Path | None, typer.Option("--key", help="Its key.")]
Yes = Annotated[bool, typer.Option("--yes", help="Approve what the policy admits without asking a person.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of the coordinator's run.")]
Count = Annotated[int, typer.Option(help="How many invitations.")]
For = Annotated[str, typer.Option("--for", help="For whom: a note in the journal.")]
Days = Annotated[float, typer.Option(help="Days for which it can be used.")]
Url = Annotated[str | None, typer.Option(help="By which participants reach the coordinator.")]
Who = Annotated[str, typer.Argument(metavar="NAME", help="Of the participant.")]
Reason = Annotated[str, typer.Option(help="Told to the participant.")]


def invite(run: Run, count: Count = 1, to: For = "", days: Days = 7.0, url: Url = None) -> None:
    """Print invitations to a run, one a line: each lets one participant enroll, once."""
    from tacit.network.operator_box import invite as invited

    for _ in range(count):
        print(invited(run, days, to, url).text)


def revoke(run: Run, name: Who, reason: Reason = "") -> None:
    """Send a participant away for good, from a coordinator that runs or will run."""
    from tacit.network.operator_box import revoke as revoked

    revoked(run, name, reason)
    print(f"{name} is revoked when the coordinator has looked into its box, within a second or two")


def enroll(
    invitation: Annotated[str, typer.Argument(metavar="INVITATION", help="The line, or a file that holds it.")],
    name: Name,
    dir: Dir = None,
    cert: Cert = None,
    key: Key = None,
) -> None:
    """Make a key here, and have it certified by an invitation that works once."""
    from tacit.cli.deployment import secret_in
    from tacit.network.enrolling import enrolled

    file = Path(invitation)
    text = secret_in(file) if not invitation.startswith("tacit+") and file.is_file() else invitation
    found = enrolled(text or "", name, dir, cert, key)
    given = {"--dir": dir, "--cert": cert, "--key": key}
    place = "".join(f" {option} {path}" for option, path in given.items() if path is not None)
    print(f"enrolled as {found.name} with {found.url}. Next: tacit join{place} --data FILE")


def join(
    data: Data, dir: Dir = None, yes: Yes = False, cert: Cert = None, key: Key = None, quiet: Quiet = False
) -> None:
    """Take part in a run with this machine's data, for as long as it lasts."""
    from tacit.cli import console
    from tacit.errors import DataError, RoundFailed
    from tacit.network.consent.limits import keep_to
    from tacit.network.participant import Participant

    if not data.startswith(MADE_UP) and not Path(data).exists():
        raise DataError(f"there is no file {data}: give this participant's data, or {MADE_UP}NAME")
    say = (lambda text: None) if quiet else console.say
    participant = Participant(
        data=lambda terms: _own(terms, data), folder=dir, approve=yes, certificate=cert, key=key, told=say
    )
    keep_to(participant.policy)
    ended = participant.run()
    print(f"{participant.name}: the run is {ended.state} ({ended.why}); counted in {ended.rounds} rounds")
    if ended.state == "failed":
        raise RoundFailed(ended.why)


def _own(terms: Terms, source: str) -> tuple[Any, Any]:
    from tacit.errors import UsageError
    from tacit.scenarios.scenario import Deployable, scenario

    found = scenario(terms.plan.scenario)
    if not isinstance(found, Deployable):
        raise UsageError(
            f"the task {terms.plan.scenario!r} is one's own: take part from Python, tacit.Participant(..., task=...)"
        )
    return found.own(terms.plan, terms.schema, source)

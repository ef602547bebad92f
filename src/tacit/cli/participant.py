"""`tacit participant`: a participant looks at what it is asked for, approves or refuses it, and reads its own log."""

from __future__ import annotations

import json as json_format
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.cli.options import Json

if TYPE_CHECKING:
    from tacit.network.consent import Approvals, Decision, Folder
    from tacit.network.consent.cost import Cost
    from tacit.network.terms import Terms

EXAMPLES = """\b
Examples:
  tacit participant show
  tacit participant show --lang zh
  tacit participant approve --days 30
  tacit participant refuse --why "the review board has not decided"
  tacit participant log --verify
  tacit participant policy --new
"""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at what a coordinator asks for, approve or refuse it, and read the own log.",
)

Place = Annotated[str | None, typer.Option("--dir", help="The participant's folder.  [default: TACIT_PARTICIPANT]")]
Language = Annotated[str, typer.Option("--lang", help="en or zh.")]
Hash = Annotated[str | None, typer.Option("--terms", help="Hash of the terms that are meant, or its beginning.")]
SHORT = 8
"""Fewest digits of a hash that name terms."""


@app.callback(epilog=EXAMPLES)
def participant() -> None:
    """Look at what a coordinator asks for, approve or refuse it, and read the own log."""


@app.command(epilog=EXAMPLES)
def show(dir: Place = None, lang: Language = "en", json: Json = False) -> None:
    """Say in words what the terms that wait ask for, and what this participant's policy says of them."""
    from tacit.network.consent import Folder
    from tacit.network.consent.wording import explained
    from tacit.privacy.saying import chooser

    say = chooser(lang)
    folder = Folder.at(dir)
    terms = folder.waiting_terms()
    if terms is None:
        print(json_format.dumps({"waiting": None}) if json else say("nothing waits", "没有待批准的条款"))
        return
    against, asks, costs = _judged(folder, terms, lang)
    told = explained(terms, costs, lang)
    if json:
        found = {"waiting": terms.hash, "said": dict(told), "refused": against, "asks": asks}
        print(json_format.dumps(found, indent=2, ensure_ascii=False))
        return
    for heading, text in told:
        print(f"{heading}: {text}")
    print()
    if against:
        print(say("This participant's policy REFUSES these terms:", "本参与方的策略拒绝这些条款："))
        print("\n".join(f"- {reason}" for reason in against))
        return
    print(say("This participant's policy admits these terms.", "本参与方的策略准许这些条款。"))
    print("\n".join(f"- {reason}" for reason in asks))
    print(say("tacit participant approve, or refuse", "用 tacit participant approve 批准，或用 refuse 拒绝"))


@app.command(epilog=EXAMPLES)
def approve(
    dir: Place = None,
    terms: Hash = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="For which the approval holds.")] = 90,
) -> None:
    """Sign the terms that wait. The participant's process takes part from then on."""
    from tacit.errors import Problems, UsageError
    from tacit.network.consent import Approvals, Folder, Log
    from tacit.network.identity import Enrolment

    folder = Folder.at(dir)
    waiting = _waiting(folder, terms)
    with Problems("this participant's policy does not admit these terms", UsageError) as problems:
        problems.extend(_judged(folder, waiting)[0])
    identity = Enrolment.read(folder.path).identity(folder.path)
    until = datetime.now(UTC) + timedelta(days=days)
    decision = Approvals(folder.approvals, identity.key).approve(waiting, identity, until=until)
    Log(folder.log).write("approved", terms=waiting.hash, run=waiting.run, until=decision.until, by="person")
    folder.nothing_waits(waiting.hash)
    print(f"approved until {decision.until}: {waiting.hash}")


@app.command(epilog=EXAMPLES)
def refuse(
    dir: Place = None,
    terms: Hash = None,
    why: Annotated[str, typer.Option(help="Told to the coordinator's operator; no data in it.")] = "",
) -> None:
    """Refuse the terms that wait, or (with --terms) that were approved. The participant's process stops taking part."""
    from tacit.network.consent import Approvals, Folder, Log
    from tacit.network.identity import Enrolment

    folder = Folder.at(dir)
    identity = Enrolment.read(folder.path).identity(folder.path)
    approvals, waiting = Approvals(folder.approvals, identity.key), folder.waiting_terms()
    if terms is None or (waiting is not None and waiting.hash.startswith(terms)):
        refused = approvals.refuse(_waiting(folder, terms), identity, why=why)
    else:
        refused = approvals.refuse(_decided(approvals, terms), identity, why=why)
    Log(folder.log).write("refused", terms=refused.terms, run=refused.run, why=why, by="person")
    folder.nothing_waits(refused.terms)
    print(f"refused: {refused.terms}")


@app.command(epilog=EXAMPLES)
def withdraw(
    dir: Place = None,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking: it cannot be taken back.")] = False,
) -> None:
    """Leave for good: no run of this coordinator asks for anything any more; what remains is said."""
    from tacit.network.enrolling import withdrawn

    if not yes:
        typer.confirm("Leave for good? This cannot be taken back.", abort=True)
    counted, remains = withdrawn(dir)
    print(f"withdrawn; counted in {counted} rounds")
    for sentence in remains:
        print(f"- {sentence}")


@app.command(epilog=EXAMPLES)
def log(
    dir: Place = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check that every line is as it was written.")] = False,
    head: Annotated[str, typer.Option(help="With --verify: a digest that --verify told before.")] = "",
    last: Annotated[int, typer.Option(min=1, help="So many of the last entries.")] = 50,
    json: Json = False,
) -> None:
    """Show what happened to this participant, or check that nobody changed the log."""
    from tacit.network.consent import Folder, Log
    from tacit.network.consent.wording import printable

    kept = Log(Folder.at(dir).log)
    if verify or head:
        print(kept.verify(head))
        return
    entries = kept.entries()[-last:]
    if json:
        print(json_format.dumps([{**entry.__dict__} for entry in entries], indent=2))
        return
    for entry in entries:
        facts = "  ".join(f"{printable(name)}={_shown(value)}" for name, value in entry.facts.items())
        print(f"{entry.n:>6}  {entry.time}  {entry.event:<10}  {facts}".rstrip())
    if not entries:
        print("nothing has happened yet")


@app.command(epilog=EXAMPLES)
def policy(
    dir: Place = None,
    new: Annotated[bool, typer.Option("--new", help="Write one with all defaults, to be edited.")] = False,
    json: Json = False,
) -> None:
    """Check this participant's policy and say what it is, or begin one."""
    from tacit.cli import console
    from tacit.errors import UsageError
    from tacit.network.consent import Folder, read_file
    from tacit.network.consent.folder import replace_file
    from tacit.network.consent.reading import FIRST

    folder = Folder.at(dir)
    if new:
        if folder.policy.exists():
            raise UsageError(f"{folder.policy} is there already: edit it, or move it away first")
        replace_file(folder.make().policy, FIRST.encode())
        print(folder.policy)
        return
    found = read_file(folder.policy)
    values: dict[str, Any] = {name: getattr(found, name) for name in found.__dataclass_fields__}
    if json:
        print(json_format.dumps(values, indent=2, default=str))
        return
    console.facts([("file", str(folder.policy) if folder.policy.exists() else "none: all defaults")])
    console.facts((name, _said(value)) for name, value in values.items())


def _judged(folder: Folder, terms: Terms, language: str = "en") -> tuple[list[str], list[str], tuple[Cost, ...]]:
    """What the policy has against terms, why a person must decide, and what they cost, as far as they tell alone."""
    from tacit.network.consent import costs, read_file
    from tacit.network.identity import Enrolment

    found = read_file(folder.policy)
    cost, authority = costs(terms, records=folder.waiting_records), Enrolment.read(folder.path).authority
    with found.spending(folder.ledger) as spending:
        against = found.admit(terms, costs=cost, spending=spending, authority=authority, language=language)
    return against, found.asks(terms, cost, language), cost


def _waiting(folder: Folder, named: str | None) -> Terms:
    from tacit.errors import UsageError

    terms = folder.waiting_terms()
    if terms is None:
        raise UsageError(f"no terms wait in {folder.path}: they do once `tacit join` has asked a coordinator for them")
    if named is not None and (len(named) < SHORT or not terms.hash.startswith(named)):
        raise UsageError(f"the terms that wait are {terms.hash}, and {named} was named: look at them with `show`")
    return terms


def _decided(approvals: Approvals, named: str) -> Decision:
    """The last decision about the terms whose hash begins so."""
    from tacit.errors import UsageError

    found = {d.terms: d for d in approvals.all() if len(named) >= SHORT and d.terms.startswith(named)}
    if len(found) != 1:
        raise UsageError(f"{named} names none of the terms that wait, or of which one was approved or refused")
    (decision,) = found.values()
    return decision


def _shown(value: Any) -> str:
    from tacit.network.consent.wording import printable

    text = printable(f"{value:g}" if isinstance(value, float) else str(value), 500)
    return f"{text[:16]}..." if len(text) == 64 else text


def _said(value: Any) -> str:
    if value is None or value == ():
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)

"""`tacit privacy`: what an epsilon costs and means before a run, what a run promised, and what was spent in all."""

from __future__ import annotations

import json as json_format
from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tacit.cli.attack import EXAMPLES as ATTACK_EXAMPLES
from tacit.cli.attack import attack
from tacit.cli.audit import EXAMPLES as AUDIT_EXAMPLES
from tacit.cli.audit import audit
from tacit.cli.options import Json, RunName
from tacit.cli.sweep import EXAMPLES as SWEEP_EXAMPLES
from tacit.cli.sweep import sweep

if TYPE_CHECKING:
    from tacit.privacy.account import Account
    from tacit.privacy.event import Charges
    from tacit.privacy.ledger import Ledger

DELTA = 1e-5
"""At which the ledger's epsilon is told where nothing says another."""

EPSILON_EXAMPLES = """\b
Examples:
  tacit privacy epsilon --sampling poisson --rate 0.01 --noise 1.0 --rounds 1000 --delta 1e-5
  tacit privacy epsilon --sampling poisson --cohort 100 --population 3400 --cap 150 --noise 1 --rounds 1000 --delta 1e-4
  tacit privacy epsilon --sampling fixed --cohort 100 --population 3400 --noise 4 --rounds 1000 --delta 1e-4
  tacit privacy epsilon --sampling everyone --noise 40 --rounds 1000 --delta 1e-5 --json
  tacit privacy epsilon --sampling separated --participations 10 --noise 5 --rounds 1000 --delta 1e-5

poisson: each client by its own coin. fixed: so many, without replacement. everyone: all, in every round.
separated: a schedule in which nobody takes part more often than --participations times.
"""
CALIBRATE_EXAMPLES = """\b
Examples:
  tacit privacy calibrate --epsilon 3 --population 3400 --cohort 100 --rounds 1000
  tacit privacy calibrate --epsilon 8 --population 100000 --cohort 500 --rounds 2000 --parameters 26010 --json
"""
STATEMENT_EXAMPLES = """\b
Examples:
  tacit privacy statement runs/demo
  tacit privacy statement runs/demo --language zh
  tacit privacy statement runs/demo --json
"""
LEDGER_EXAMPLES = """\b
Examples:
  tacit privacy ledger
  tacit privacy ledger --verify
  tacit privacy ledger --delta 1e-5 --json

The ledger lies where TACIT_LEDGER says, else in your data folder.
"""
Sampling = Annotated[str, typer.Option(help="poisson, fixed, everyone or separated.")]
Noise = Annotated[float | None, typer.Option(help="Noise multiplier: standard deviation on the sum, in clip norms.")]
Rounds = Annotated[int | None, typer.Option(help="How many.")]
Delta = Annotated[float | None, typer.Option(help="Probability with which epsilon may fail to hold.")]
Accountant = Annotated[str | None, typer.Option(help="pld or rdp.  [default: the smaller bound]")]
Adjacency = Annotated[str, typer.Option(help="zero-out, add-remove or replace-one.")]
Level = Annotated[str, typer.Option("--adjacency", help="zero-out or replace-one.")]
Rate = Annotated[float | None, typer.Option(help="Probability of a client to be in a round.")]
Cohort = Annotated[int | None, typer.Option(help="Clients in a round; on average, for poisson.")]
Population = Annotated[int | None, typer.Option(help="Clients in all.")]
Cap = Annotated[int | None, typer.Option(help="Most clients in a round; of more, so many are kept at random.")]
Participations = Annotated[int | None, typer.Option(help="Most rounds that a client takes part in.")]
Epsilon = Annotated[float, typer.Option(help="What all rounds together may cost.")]
Parameters = Annotated[int | None, typer.Option(help="Trained parameters of the model.")]
Language = Annotated[str, typer.Option(help="en or zh.")]
Verify = Annotated[bool, typer.Option("--verify", help="Check every entry of the chain.")]

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Ask what privacy costs, what a run promised, and what is spent."
)


app.command(epilog=SWEEP_EXAMPLES)(sweep)
app.command(epilog=AUDIT_EXAMPLES)(audit)
app.command(epilog=ATTACK_EXAMPLES)(attack)


@app.command(epilog=EPSILON_EXAMPLES)
def epsilon(
    sampling: Sampling,
    noise: Noise = None,
    rounds: Rounds = None,
    delta: Delta = None,
    accountant: Accountant = None,
    adjacency: Adjacency = "zero-out",
    rate: Rate = None,
    cohort: Cohort = None,
    population: Population = None,
    cap: Cap = None,
    participations: Participations = None,
    json: Json = False,
) -> None:
    """Say what rounds with some noise cost, without a run."""
    from tacit.cli import console
    from tacit.privacy.answer import Question

    asked = Question(
        sampling, noise, rounds, delta, accountant, adjacency, rate, cohort, population, cap, participations
    )
    answer = asked.answer()
    if json:
        _as_json(answer)
        return
    names = ("epsilon", "delta", "accountant", "epsilon_pld", "epsilon_rdp", "adjacency", "event")
    console.facts((name.replace("_", " "), _number(answer[name], _nothing(answer, name))) for name in names)
    for note in answer["notes"]:
        print(f"- {note}")


@app.command(epilog=CALIBRATE_EXAMPLES)
def calibrate(
    epsilon: Epsilon,
    population: Annotated[int, typer.Option(help="Clients in all.")],
    cohort: Annotated[int, typer.Option(help="Clients in a round, on average.")],
    rounds: Annotated[int, typer.Option(help="How many.")],
    delta: Delta = None,
    adjacency: Level = "zero-out",
    parameters: Parameters = None,
    json: Json = False,
) -> None:
    """Say how much noise an epsilon needs, and what that means for accuracy."""
    from tacit.privacy.comparison import Setting, calibrated

    found = calibrated(Setting(epsilon, population, cohort, rounds, delta, adjacency, parameters))
    if json:
        _as_json(found)
    else:
        _print_calibration(found)


def _print_calibration(found: Mapping[str, Any]) -> None:
    from tacit.cli import console

    n, m, rounds = found["population"], found["cohort"], found["rounds"]
    loss, metrics = found["loss"], found["metrics"]
    facts = [
        ("noise multiplier", f"z = {found['noise_multiplier']:.4g}, for epsilon {found['epsilon']:g}"),
        ("delta", f"{found['delta']:.3g}, {found['adjacency']}"),
        ("sampling", f"each of {n:,} clients with probability {found['rate']:.4g}, at most {found['cap']} in a round"),
        ("on the mean", f"z / m = {found['noise_on_mean']:.4g} of the clip norm; {_verdict(found)}"),
        ("training loss", f"known to {loss['deviation']:.2g} of its bound for {loss['factor'] - 1:.1%} more noise"),
        (
            "private metrics",
            f"one in [0, 1] on a cohort of its own in every {metrics['every']} rounds, to {metrics['deviation']:.2g}: "
            f"epsilon {_number(metrics['epsilon'], 'without bound')} in all. On public data: nothing",
        ),
        (
            "the server",
            f"sees who takes part: epsilon {_number(found['epsilon_against_server'], 'without bound')} against it, "
            f"with at most {found['participations']} rounds for a client",
        ),
    ]
    if found["noise_norm"] is not None:
        norm = f"its norm is {found['noise_norm']:.3g} clip norms over {found['parameters']:,} parameters"
        facts.insert(4, ("noise of a round", f"{norm}; an update is at most 1"))
    console.facts(facts)
    print(f"\nthe noise for epsilon {found['epsilon']:g} over {rounds:,} rounds, {m:,} of {n:,} clients in each")
    columns = ("sampling", "noise", "clients", "z", "z / m", "on the way", "epsilon", "by pld", "by rdp")
    numbers = ("noise_multiplier", "noise_on_mean", "noise_on_way", "epsilon", "epsilon_pld", "epsilon_rdp")
    console.table(
        columns,
        [
            [row["sampling"], row["mechanism"], f"{row['cohort']:,.0f}", *(_number(row[name], "-") for name in numbers)]
            for row in found["comparison"]
        ],
        left=2,
    )
    print("on the way: the noise in the sum of all rounds so far, root mean square over rounds, in clip norms")


def _verdict(found: Mapping[str, Any]) -> str:
    limit = found["harmless_below"]
    if found["harmless"]:
        return f"up to {limit:g} it hardly costs accuracy"
    if found["smallest_cohort"] is not None:
        return f"{limit:g} hardly costs accuracy: take cohorts of about {found['smallest_cohort']:,}"
    return (
        f"{limit:g} hardly costs accuracy, and no cohort reaches it: about {found['smallest_population']:,} clients in "
        "all would, or fewer rounds"
    )


@app.command(epilog=STATEMENT_EXAMPLES)
def statement(name: RunName, language: Language = "en", json: Json = False) -> None:
    """Print what a run protects, from whom and how much; and what it does not."""
    from tacit.errors import StorageError, UsageError
    from tacit.privacy.record_wording import text as record_text
    from tacit.privacy.saying import LANGUAGES
    from tacit.privacy.wording import no_privacy, text
    from tacit.record.folder import opened

    if language not in LANGUAGES:
        raise UsageError(f"--language is {language!r}: give {' or '.join(LANGUAGES)}")
    folder = opened(name)
    if not folder.finished:
        raise StorageError(f"{folder.path} is not finished and has no statement yet: {folder.resuming}")
    found, records = folder.result.privacy, folder.result.record_privacy
    if json:
        _as_json(found if records is None else {"privacy": found, "record_privacy": records})
        return
    pages = [text(found, language)] if found is not None else []
    pages += [record_text(records, language)] if records is not None else []
    print("\n\n".join(pages) or no_privacy(language))


@app.command(epilog=LEDGER_EXAMPLES)
def ledger(verify: Verify = False, delta: Delta = None, adjacency: Adjacency = "zero-out", json: Json = False) -> None:
    """List what was spent of each population, over all runs."""
    from tacit.cli import console
    from tacit.errors import Problems, UsageError
    from tacit.privacy.accountant import ADJACENCIES
    from tacit.privacy.ledger import Ledger
    from tacit.privacy.place import place_of

    with Problems("the ledger cannot be read so", UsageError) as problems:
        problems.check(delta is None or 0 < delta < 1, f"--delta is {delta}: give a number above 0 and below 1")
        problems.check(adjacency in ADJACENCIES, f"--adjacency is {adjacency!r}: give {', '.join(ADJACENCIES)}")
    place = place_of(None)
    accounts: list[dict[str, Any]] = []
    if place.exists():
        with Ledger(place) as opened:
            if verify:
                opened.verify()
            accounts = [_account(account, delta, adjacency) for account in opened.accounts()]
            _name_populations(accounts, opened)
    if json:
        held = {"place": str(place), "exists": place.exists(), "verified": verify and place.exists()}
        _as_json({**held, "adjacency": adjacency, "accounts": accounts})
        return
    print(f"ledger {place}")
    if not place.exists():
        print("there is none yet: the first private run on data that are not synthetic makes it")
        return
    columns = ("population", "unit", "runs", "rounds", "open", "epsilon", "delta", "limit")
    console.table(columns, [[_cell(line, name) for name in columns] for line in _lines(accounts)], left=2)
    if any(account["unit"] == "record" for account in accounts):
        console.say("unit record: every client has an account of its own; shown is the one with the largest epsilon")
    if any(account["delta_by"] == "default" for account in accounts):
        console.say(f"delta is {DELTA:g} where neither a limit nor the number of clients is on record: --delta says it")
    for problem in dict.fromkeys(account["problem"] for account in accounts if account["problem"]):
        console.say(f"no bound: {problem}")
    if verify:
        print("every entry is as it was written")


def _account(account: Account, delta: float | None, adjacency: str) -> dict[str, Any]:
    """An account as JSON values, with its epsilon at the delta that is given, or best known."""
    from math import isinf

    from tacit.errors import UsageError
    from tacit.privacy.accountant import COARSE, spent

    reserves = [entry for entry in account.entries() if entry.kind == "reserve"]
    runs, limit, charged = {entry.run for entry in reserves}, account.limit(), account.charges()
    at, by = _delta(delta, limit, [entry.delta for entry in reserves if entry.delta is not None], charged)
    found, problem = None, None
    try:
        found = spent(charged, at, adjacency, interval=COARSE).epsilon if charged else 0.0
    except UsageError as error:
        problem = str(error)
    return {
        "population": account.population,
        "unit": account.unit,
        "client_of": None,
        "runs": len(runs),
        "run_names": sorted(runs),
        "rounds": len({(entry.run, entry.round) for entry in reserves}),
        "reserves": len(reserves),
        "open": sum(len(account.open_rounds(run)) for run in runs),
        "epsilon": None if found is None or isinf(found) else found,
        "delta": at,
        "delta_by": by,
        "problem": problem,
        "limit": None if limit is None else {"epsilon": limit[0], "delta": limit[1]},
        "head": account.head(),
    }


def _name_populations(accounts: list[dict[str, Any]], ledger: Ledger) -> None:
    """Says of accounts of single clients which population these are of, where their runs noted it."""
    begun = (entry for account in ledger.accounts() for entry in account.entries() if entry.kind == "begin")
    names = {entry.run: entry.note for entry in begun if entry.note}
    for account in accounts:
        if account["unit"] == "record":
            account["client_of"] = next((names[run] for run in account["run_names"] if run in names), None)


def _lines(accounts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accounts as a table shows them: those of the clients of one population together."""
    together: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for account in accounts:
        together.setdefault((account["unit"], account["client_of"] or account["population"]), []).append(account)
    return [_line(name, same) if same[0]["client_of"] else same[0] for (_, name), same in together.items()]


def _line(name: str, accounts: list[dict[str, Any]]) -> dict[str, Any]:
    """The account of the client with the largest epsilon, and what is known of all."""
    worst = max(accounts, key=lambda account: inf if account["epsilon"] is None else account["epsilon"])
    many = f"{len(accounts):,} {'client' if len(accounts) == 1 else 'clients'}"
    runs = {run for account in accounts for run in account["run_names"]}
    opened = sum(account["open"] for account in accounts)
    return worst | {"population": f"{name}, {many}", "runs": len(runs), "open": opened}


def _delta(
    given: float | None, limit: tuple[float, float] | None, claimed: list[float], charged: Charges
) -> tuple[float, str]:
    """At which epsilon is told, and who says so. Runs on n clients take n^-1.1, and not all events tell n."""
    from tacit.privacy.event import FixedSize, Truncated
    from tacit.privacy.user_level import UserLevel

    clients = [event.units for event, _ in charged if isinstance(event, Truncated | FixedSize)]
    if given is not None:
        return given, "option"
    if limit is not None and limit[1] > 0:
        return limit[1], "limit"
    if claimed:
        return min(claimed), "claim"
    return (UserLevel().delta_for(min(clients)), "clients") if clients else (DELTA, "default")


def _cell(account: Mapping[str, Any], name: str) -> str:
    value = account[name]
    if name == "limit":
        return "none" if value is None else f"{value['epsilon']:g} at {value['delta']:.3g}"
    return _number(value, "no bound")


def _nothing(answer: Mapping[str, Any], name: str) -> str:
    """What is said where there is no number: the second accountant may know no bound where there is one."""
    return "not known" if name == "epsilon_rdp" and answer["epsilon_pld"] is not None else "no bound"


def _number(value: object, nothing: str) -> str:
    return nothing if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _as_json(content: object) -> None:
    print(json_format.dumps(content, indent=2, ensure_ascii=False, allow_nan=False))

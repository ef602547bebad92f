"""What the verbs print: tables and facts on standard output, everything about how it goes on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console

    from tacit.record.folder import RunFolder
    from tacit.record.result import Result

HOUR = 3600.0
PLAIN_WIDTH = 160  # columns where nobody looks at a terminal


PARTICIPANTS = "each participant protects its own records, by noise in its local steps: its own log and ledger say more"
"""What a coordinator's run says of a protection that it does not see."""


def out() -> Console:
    """Standard output: with colours on a terminal, plain text elsewhere."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else PLAIN_WIDTH, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """A line on standard error, as it is."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, bold: int | None = None) -> None:
    """A table on standard output. The first `left` columns are text, the others numbers; row `bold` stands out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for number, name in enumerate(columns):
        side: Literal["left", "right"] = "left" if number < left else "right"
        drawn.add_column(Text(name), justify=side, no_wrap=number >= left, overflow="fold")
    for number, row in enumerate(rows):
        drawn.add_row(*(Text(cell) for cell in row), style="bold" if number == bold else None)
    out().print(drawn, soft_wrap=False)


def facts(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, aligned."""
    listed = list(pairs)
    width = max((len(name) for name, _ in listed), default=0)
    for name, value in listed:
        print(f"{name:<{width}}  {value}")


def size(count: float) -> str:
    """Bytes in a readable unit."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def ended(result: Result, folder: RunFolder, json: bool) -> None:
    """What a run ends with: its tables and facts, or result.json alone."""
    if json:
        print(result.json_text, end="")
        return
    result_tables(result)
    result_facts(result, str(folder.path))


def result_tables(result: Result) -> None:
    """The comparison, and the same on clients that no model was trained on."""
    _comparison(f"{result.clients:,} clients, their last interactions", result, result.comparison, result.intervals)
    if any(scores is not None for scores in result.cold_start.values()):
        title = "cold start: clients that no shared model was trained on"
        _comparison(title, result, result.cold_start, result.cold_start_intervals)


def _comparison(
    title: str, result: Result, rows: Mapping[str, Any], intervals: Mapping[str, tuple[float, float]]
) -> None:
    metrics = list(result.metrics)
    known = [name for name in rows if rows[name] is not None]
    lines = []
    for name in rows:
        scores = rows[name] or {}
        low_high = intervals.get(name)
        interval = f"{low_high[0]:.3f} - {low_high[1]:.3f}" if low_high else "-"
        if scores or len(known) > 1:
            cells = ("-" if scores.get(metric) is None else f"{scores[metric]:.3f}" for metric in metrics)
            lines.append([name.replace("_", " "), *cells, interval])
    print(f"\n{title}")
    own = "federated private" if result.privacy or result.record_privacy else "federated"
    mine = next((place for place, line in enumerate(lines) if line[0] == own), 0)
    table(["", *metrics, f"{result.interval_metric} 95 %"], lines, bold=mine)


def _summed(result: Result) -> str:
    how = result.secure_aggregation
    if how is None:
        return "the server sees every one (aggregation = none)"
    if "who_can_decrypt" in how:
        return f"summed by {how['protocol']}, at least {how['minimum']} together; {how['who_can_decrypt']}"
    ways = {"full": "simulated: the whole protocol", "network": "between machines"}
    run = ways.get(how["protocol"], "simulated: what the protocol computes, without its messages")
    return (
        f"summed by secure aggregation, at least {how['minimum']} together ({how['neighbours']} neighbours each, "
        f"threshold {how['threshold']}); {run}"
    )


def _privacy(result: Result) -> str:
    told, records = result.privacy, result.record_privacy
    if records is not None:
        each = "can be foreseen" if records["epsilon"] is None else f"epsilon {records['epsilon']:.3g} at most"
        alone = f"{each}, delta {records['delta']:.2g} at most, for every record of a client ({records['strength']}), "
        alone += "against everybody else"
        if records.get("record") is not None:
            alone += f". A record is {records['record']['en']}"
        return alone if told is None else f"{_of_clients(told)}; {alone}"
    if told is None and PARTICIPANTS in result.notes:
        return PARTICIPANTS
    return _of_clients(told)


def _of_clients(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return "none: this run gives no formal privacy (--epsilon 4 does)"
    if told.get("epsilon") is None:
        return "none: the noise of this run can be predicted"
    server = told.get("epsilon_against_server")
    return (
        f"epsilon {told['epsilon']:.3g}, delta {told['delta']:.2g}, for all that a client sends ({told['strength']}); "
        f"{server:.3g} against a server that sees who takes part"
    )


def _on_fleet(told: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """How long the run took on its devices, and who of them took part; what is hidden is left out."""
    if told is None:
        return []
    from tacit.record.wording import in_words, span

    said = [f"{told['devices']:,} devices", f"rounds closed by {in_words('closing', told['closing'])}"]
    said = [span(told["virtual_hours"])] * (told.get("virtual_hours") is not None) + said
    if told.get("limit_seconds") is not None:
        said.append(f"limit {span(told['limit_seconds'] / HOUR)}")
    said += ["figures of a rehearsal: who took part is hidden"] * bool(told.get("rehearsed"))
    abandoned = sum((told.get("rounds_abandoned") or {}).values())
    said += [f"{abandoned} rounds given up"] * bool(abandoned)
    lines = [("virtual time", "; ".join(said))]
    if told.get("device_hours") is not None and told.get("participation_by_tier"):
        slowest, share = told["participation_by_tier"][-1], told["devices_by_tier"][-1]
        part = f"the slowest {share:.0%} of devices made {slowest:.0%} of the reports"
        spent = f"busy for {span(told['device_hours'])}, {told['wasted_fraction']:.0%} of it wasted"
        lines.append(("devices", f"{spent}; {part} (Gini {told['participation_gini']:.2f})"))
    return lines


def result_facts(result: Result, where: str) -> None:
    """Time, traffic and place of a run."""
    each = result.seconds / max(result.rounds, 1)
    whole_down, whole_up = result.bytes_down / max(result.clients, 1), result.bytes_up / max(result.clients, 1)
    down, up = size(result.bytes_down_per_client), size(result.bytes_up_per_client)
    print()
    label = "SYNTHETIC, from a generator: " if result.data.synthetic else ""
    facts(
        [
            ("data", f"{label}{result.data.source}"),
            ("rounds", f"{result.rounds} of {result.rounds_planned}: {result.ended}"),
            ("time", f"{result.seconds:.1f} s in rounds, {each:.2f} s each, {result.engine} engine"),
            ("model", f"{result.parameters:,} parameters"),
            ("a round", f"each client in it received {down} and sent {up}"),
            ("the run", f"each client received {size(whole_down)} and sent {size(whole_up)} on average"),
            ("reports", _summed(result)),
            ("privacy", _privacy(result)),
            *_on_fleet(result.fleet),
            *([("set aside", f"{result.set_aside:,} reports; history.csv says why")] if result.set_aside else []),
            ("plan", result.plan_hash),
            ("folder", where),
        ]
    )
    for note in (*result.data.notes, *result.notes):
        print(f"- {note}")

"""A status in a terminal: how the run goes, what failed, and what is unsafe, on one screen."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import RenderableType

    from tacit.network.watch.status import Status

COLOURS = {"gathering": "yellow", "training": "cyan", "finished": "green", "failed": "red", "stopping": "yellow"}
WIDTH = 60
"""Columns of the bar."""
TRIED = 6
"""How many of the last attempts are shown."""
RECENT = 20
"""Rounds from which the time left is reckoned."""


def summary(status: Status) -> RenderableType:
    """What `tacit status` shows."""
    parts: list[RenderableType] = []
    unsafe = [*status["security"]["insecure"], *([] if status["security"]["tls"] else ["no TLS"])]
    if unsafe:
        parts.append(Panel(Text(f"NOT SECURE, not for real data: {', '.join(unsafe)}"), border_style="bold red"))
    state = Text(f"{status['state']}", style=f"bold {COLOURS[status['state']]}")
    head = Text.assemble(state, f"  {status['scenario']}, round {status['round']:,} of {status['rounds']:,}")
    parts.append(head)
    if status["reason"]:
        parts.append(Text(_clean(status["reason"]), style=COLOURS[status["state"]]))
    parts.append(_bar(status["round"], status["rounds"]))
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(status):
        facts.add_row(Text(name, style="dim"), Text(value))
    parts.append(facts)
    if status["attempts"]:
        parts.append(_attempts(status))
    return Group(*parts)


def _bar(done: int, of: int) -> Text:
    filled = round(WIDTH * min(done / max(of, 1), 1.0))
    return Text.assemble(("━" * filled, "cyan"), ("─" * (WIDTH - filled), "dim"))


def _facts(status: Status) -> Iterator[tuple[str, str]]:
    people = status["participants"]
    expected, enrolled = people["expected"], f"{people['enrolled']:,} enrolled"
    if expected is not None:
        beyond = people["enrolled"] > expected
        enrolled = (
            f"{enrolled}, {expected:,} take part" if beyond else f"{people['enrolled']:,} of {expected:,} enrolled"
        )
    left = ", ".join(f"{people[name]:,} {name}" for name in ("withdrawn", "revoked") if people[name])
    said = f"{people['online']:,} online, {people['approved']:,} approved, {enrolled}"
    yield "participants", f"{said}{f'; {left}' if left else ''}"
    seconds = [row["seconds"] for row in status["history"][-RECENT:] if row.get("seconds") is not None]
    if seconds and status["state"] == "training":
        each = statistics.median(second for second in seconds if second is not None)
        yield "time", f"{span(each)} a round, about {span(each * (status['rounds'] - status['round']))} left"
    if status["history"]:
        last = status["history"][-1]
        names = [name for name in last if name == "loss" or name.startswith(("test_", "validation_"))]
        yield "model", ", ".join(f"{_clean(name).replace('_', ' ')} {_number(last[name])}" for name in names) or "-"
    spent = status["privacy"]
    if spent is None:
        yield "privacy", "none: no noise is added to what is released"
    else:
        limit = "" if spent["limit"] is None else f" of {_number(spent['limit'])}"
        yield "privacy", f"epsilon {_number(spent['epsilon'])}{limit}, delta {_number(spent['delta'])}"
    yield "security", _security(status)
    load = status["load"]
    lag = "" if load["lag"] is None else f", event loop {1000 * load['lag']:.0f} ms late"
    memory = "" if load["rss"] is None else f", {size(load['rss'])} of memory"
    traffic = f"{load['requests']:,} requests, {size(load['bytes_in'])} in, {size(load['bytes_out'])} out"
    yield "load", f"{traffic}{memory}{lag}, up {span(load['uptime'])}"
    refused = sorted(status["failures"].items(), key=lambda entry: -entry[1])
    yield "refused", ", ".join(f"{count:,} {_clean(code)}" for code, count in refused) or "nothing"


def _security(status: Status) -> str:
    told, added = status["security"], status["security"]["secure_sum"]
    wire = f"TLS {_clean(told['tls'])}" if told["tls"] else "in clear"
    both = ", client certificates" if told["mutual"] else ""
    summed = "the coordinator sees every report" if added is None else f"secure sum of at least {added['minimum']:,}"
    return f"{wire}{both}; {summed}"


def _attempts(status: Status) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("round", "attempt", "state", "steps: answered of asked", "why"):
        table.add_column(name, overflow="fold")
    for one in status["attempts"][-TRIED:]:
        style = {"published": "green", "abandoned": "red"}.get(one["state"], "cyan")
        steps = ", ".join(f"{_clean(step['kind'])} {step['answered']}/{step['asked']}" for step in one["steps"])
        causes: dict[str, int] = {}
        for step in one["steps"]:
            for cause, count in step["failed"].items():
                causes[cause] = causes.get(cause, 0) + count
        why = "; ".join([_clean(one["reason"] or "")] * bool(one["reason"]) + [_counted(causes)] * bool(causes))
        cells = (f"{one['round'] + 1:,}", f"{one['attempt'] + 1}", steps, why)
        table.add_row(Text(cells[0]), Text(cells[1]), Text(one["state"], style=style), Text(cells[2]), Text(cells[3]))
    return table


def _counted(causes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {_clean(cause)}" for cause, count in sorted(causes.items()))


def span(seconds: float) -> str:
    """A duration in words."""
    if seconds < 90:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    """Bytes in a readable unit."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _number(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}"


def _clean(text: Any) -> str:
    """Text of a peer, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))

"""What a run cost on its devices, in virtual time, for the report: how long, who took part, where their time went."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from tacit.record import plots
from tacit.record.wording import in_words, span

if TYPE_CHECKING:
    from tacit.record.run import Run

HOUR = 3600.0
REHEARSED = (
    "Who took part in a private run is hidden. These figures are of a rehearsal: the same rounds on the same devices, "
    "with cohorts drawn by coins that everybody may know, and nobody trained by them."
)


def page(run: Run, part: str, headline: str | None) -> str:
    """The section's text as HTML; empty without a fleet.

    Args:
        run: whose report it is.
        part: the part of the data that was measured after rounds, in a word.
        headline: the metric to draw; all where it is None or was not measured.
    """
    told = run.facts.get("fleet")
    if told is None:
        return ""
    history = run.history
    drawn = [(f"Against virtual time, on the {part} part", plots.metric_by_time(history, part, headline))]
    if told.get("participation_by_tier") and told.get("devices_by_tier"):
        drawn.append(("Who took part", plots.tier_shares(told["participation_by_tier"], told["devices_by_tier"])))
    if told.get("device_hours_by_phase"):
        wasted = told.get("wasted_hours_by_phase") or {}
        drawn.append(("Where the devices' time went", plots.device_hours(told["device_hours_by_phase"], wasted)))
    drawn.append(("Whose report did not come, and why", plots.failures(history)))
    hidden = f"<p>{REHEARSED}</p>" * bool(told.get("rehearsed"))
    boxes = "".join(f"<div><h3>{escape(title)}</h3>{svg}</div>" for title, svg in drawn if svg)
    return f'{_told(told)}{hidden}<div class="plots">{boxes}</div>'


def _told(told: Mapping[str, Any]) -> str:
    """The figures of the books, those that are hidden left out."""
    limit, known = told.get("limit_seconds"), told.get
    rows = {
        "devices": f"{told['devices']:,}",
        "rounds closed by": in_words("closing", told["closing"]),
        "limit of a round": None if limit is None else span(limit / HOUR),
        "virtual time": _span(known("virtual_hours")),
        "devices were busy for": _span(known("device_hours")),
        "wasted": None if known("wasted_fraction") is None else f"{told['wasted_fraction']:.1%} of that time",
        "Gini coefficient of the reports": _rounded(known("participation_gini")),
        "clients that do not count": _counted(known("failures")),
        "rounds given up": _counted(known("rounds_abandoned")),
    }
    cells = "".join(f"<tr><td>{name}</td><td>{escape(text)}</td></tr>" for name, text in rows.items() if text)
    return f'<div class="table"><table class="facts">{cells}</table></div>'


def _span(hours: float | None) -> str | None:
    return None if hours is None else span(hours)


def _rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _counted(reasons: Mapping[str, int] | None) -> str | None:
    """How many there are of each reason, without those of which there are none."""
    return None if reasons is None else ", ".join(f"{many:,} {reason}" for reason, many in reasons.items() if many)

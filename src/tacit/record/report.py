"""A run's report: one self-contained HTML file with plots and tables, readable offline and without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit.record import devices, leaving, plots
from tacit.record.checkpoint import save_text
from tacit.record.wording import in_words, label

if TYPE_CHECKING:
    from tacit.record.run import Run

STYLE = """
:root{color-scheme:light}
body{font:15px/1.55 system-ui,sans-serif;color:#1c2733;background:#f5f7f9;margin:0}
main{max-width:1080px;margin:0 auto;padding:24px}
h1{font-size:26px;margin:8px 0 2px}
h2{font-size:18px;margin:0 0 10px}
h3{font-size:15px;margin:14px 0 6px}
p.lead{color:#55626f;margin:0 0 20px}
section{background:#fff;border:1px solid #e1e6eb;border-radius:10px;padding:18px 20px;margin:0 0 18px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px}
.card{background:#f5f7f9;border-radius:8px;padding:10px 12px}
.card b{display:block;font-size:20px}
.card span{color:#55626f;font-size:13px}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(440px,1fr));gap:18px}
svg{max-width:100%;height:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:right;padding:5px 10px;border-bottom:1px solid #e8ecf0}
th:first-child,td:first-child{text-align:left}
table.facts td,table.said th,table.said td{text-align:left;overflow-wrap:anywhere}
table.said th,table.said td:nth-child(-n+2){overflow-wrap:normal}
tr.mine{font-weight:600;background:#eef4fb}
ul{margin:4px 0;padding-left:22px}
li{overflow-wrap:anywhere}
details{margin-top:8px}
summary{cursor:pointer}
p.alarm{font-weight:600;color:#a32020}
.table{overflow-x:auto}
"""
Table = plots.Table
STATED = ("privacy", "record_privacy")
"""Facts that are statements: what is protected of a client as a whole, and of each of its records."""
ELSEWHERE = (*STATED, "aggregation", "fleet")
"""Facts that have a section of their own."""


@dataclass(frozen=True)
class Comparison:
    """The trained model beside others.

    Attributes:
        title: on whom it was measured.
        table: name -> metric -> value or None.
        intervals: name -> (low, high), 95 % of the headline metric.
    """

    title: str
    table: Table
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)


def write(
    run: Run,
    path: Path,
    *,
    title: str = "Federated run",
    part: str = "test",
    comparisons: Sequence[Comparison] = (),
    headline: str | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Writes the report.

    Args:
        run: what to report.
        path: file to write.
        title: heading of the page.
        part: the part of the data that was measured after rounds, in a word.
        comparisons: tables of the trained model beside others; the first with a bar chart.
        headline: metric of the bar chart and of intervals; the table's first when None.
        notes: paragraphs under the comparisons.

    Raises:
        StorageError: the file cannot be written.
    """
    sections = [_summary(run), _privacy(run), _left(run), _comparisons(run, comparisons, headline, notes)]
    sections += [
        _curves(run, part),
        _section("On the devices", devices.page(run, part, headline)),
        _set_aside(run),
        _facts(run),
        _rounds(run, part),
    ]
    lead = f"{len(run.rows)} rounds; {run.facts.get('ended', '')}"
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body><main>'
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{"".join(sections)}</main></body></html>'
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    save_text(path, page)
    return path


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _summary(run: Run) -> str:
    last = run.rows[-1] if run.rows else {}
    seconds = float(run.facts.get("elapsed", {}).get("seconds", 0.0))
    cards = [
        ("rounds", f"{len(run.rows)}"),
        ("clients", f"{run.facts.get('clients', 0):,}"),
        ("parameters", f"{run.facts.get('parameters', 0):,}"),
        ("seconds", f"{seconds:,.1f}"),
        ("training loss", "hidden" if _claims(run) and last.get("loss") is None else number(last.get("loss"))),
        *_epsilons(run),
        ("up per report", size(run.facts.get("bytes_up_per_client", 0))),
        ("down per client", size(run.facts.get("bytes_down_per_client", 0))),
        ("up in all, every round", size(sum(row["bytes_up"] for row in run.rows))),
        ("down in all, every round", size(sum(row["bytes_down"] for row in run.rows))),
        ("engine", str(run.facts.get("engine", ""))),
    ]
    boxes = "".join(f'<div class="card"><b>{escape(v)}</b><span>{escape(n)}</span></div>' for n, v in cards)
    return _section("Summary", f'<div class="cards">{boxes}</div>')


def _curves(run: Run, part: str) -> str:
    history = run.history
    if history.empty:
        return ""
    drawn = [
        plots.loss_curves(history, part),
        plots.privacy_spent(history, run.facts.get("privacy") or run.facts.get("record_privacy")),
        plots.metric_curves(history, part),
        plots.participation(history),
        plots.phases(history),
    ]
    return _section("Over the rounds", f'<div class="plots">{"".join(f"<div>{d}</div>" for d in drawn if d)}</div>')


def _comparisons(run: Run, comparisons: Sequence[Comparison], headline: str | None, notes: Sequence[str]) -> str:
    body, own = "", "federated_private" if _claims(run) else "federated"
    for number, comparison in enumerate(comparisons):
        metrics = list(dict.fromkeys(metric for row in comparison.table.values() for metric in row))
        shown = headline or metrics[0]
        body += f"<h3>{escape(comparison.title)}</h3>{_comparison(comparison, metrics, shown, own)}"
        body += plots.comparison_bars(comparison.table, shown, comparison.intervals, own) if number == 0 else ""
    text = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return _section("Against other ways to learn", body + text)


def _comparison(comparison: Comparison, metrics: Sequence[str], headline: str, own: str) -> str:
    head = "".join(f"<th>{escape(m)}</th>" for m in metrics)
    head += f"<th>{escape(headline)}, 95 %</th>" if comparison.intervals else ""
    rows = ""
    for name, row in comparison.table.items():
        mine = ' class="mine"' if name == own else ""
        cells = "".join(f"<td>{number(row.get(m))}</td>" for m in metrics)
        if comparison.intervals:
            ends = comparison.intervals.get(name)
            cells += f"<td>{f'{number(ends[0])} to {number(ends[1])}' if ends else number(None)}</td>"
        rows += f"<tr{mine}><td>{escape(name.replace('_', ' '))}</td>{cells}</tr>"
    return f'<div class="table"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def _claims(run: Run) -> list[Mapping[str, Any]]:
    return [claim for name in STATED if (claim := run.facts.get(name)) is not None]


def _epsilons(run: Run) -> list[tuple[str, str]]:
    """A card for every claim."""
    units = {"record": "epsilon, for each record"}
    told = [(units.get(str(claim.get("unit")), "epsilon"), number(claim.get("epsilon"))) for claim in _claims(run)]
    return told or [("epsilon", "no privacy")]


def _privacy(run: Run) -> str:
    """Every statement, as the run carries it; or that there is none."""
    claims = _claims(run)
    if not claims:
        return _section("Privacy", "<p>This run gives no formal privacy: nothing was clipped, and no noise added.</p>")
    texts = [claim.get("text", {}) for claim in claims]
    english, chinese = ("".join(_page(text.get(language, "")) for text in texts) for language in ("en", "zh"))
    folded = f'<details lang="zh"><summary>中文</summary>{chinese}</details>' if chinese else ""
    return _section("Privacy", english + folded)


def _left(run: Run) -> str:
    """What left a client, where reports are summed unseen."""
    summed = run.facts.get("aggregation")
    if summed is None:
        return _section(
            "What left a client", "<p>Its whole report, which the server can read: no secure aggregation.</p>"
        )
    told = leaving.LOSSES if "client losses" in run.facts.get("selection_uses", ()) else ""
    return _section("What left a client", leaving.page(summed) + told)


def _page(text: str) -> str:
    """A statement's text as headed lists: its paragraphs have a title each, and lines that begin with a dash."""
    found = ""
    for paragraph in filter(None, text.split("\n\n")):
        title, *lines = paragraph.splitlines()
        points = "".join(f"<li>{escape(line.removeprefix('- '))}</li>" for line in lines)
        found += f"<h3>{escape(title)}</h3>" + (f"<ul>{points}</ul>" if points else "")
    return found


def _set_aside(run: Run) -> str:
    rows = [r for r in run.rows if r.get("set_aside")]
    lines = "".join(f"<li>round {r['round']}: {escape(str(r['set_aside_reasons']))}</li>" for r in rows[:50])
    return _section("Reports set aside", f"<ul>{lines}</ul>" if lines else "")


def _facts(run: Run) -> str:
    told = ((name, in_words(name, value)) for name, value in run.facts.items() if name not in ELSEWHERE)
    rows = "".join(f"<tr><td>{escape(label(name))}</td><td>{escape(text)}</td></tr>" for name, text in told if text)
    return _section("How it was made", f'<div class="table"><table class="facts">{rows}</table></div>')


def _rounds(run: Run, part: str) -> str:
    if not run.rows:
        return ""
    names = [n for n in run.rows[-1] if n != "set_aside_reasons"]
    shown = [f"{part} {n.removeprefix('test_')}" if n.startswith("test_") else n for n in names]
    head = "".join(f"<th>{escape(n.replace('_', ' '))}</th>" for n in shown)
    rows = "".join("<tr>" + "".join(f"<td>{number(r.get(n))}</td>" for n in names) + "</tr>" for r in run.rows)
    table = f'<div class="table"><table><tr>{head}</tr>{rows}</table></div>'
    return _section("Every round", f"<details><summary>{len(run.rows)} rows</summary>{table}</details>")


def number(value: Any) -> str:
    """A number as it stands in a table; an en dash where there is none."""
    if value is None or value != value:
        return "–"
    return (
        f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else escape(str(value))
    )


def size(count: float) -> str:
    """Bytes in a readable unit."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"

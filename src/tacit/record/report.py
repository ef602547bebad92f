"""A run's report: one self-contained HTML file with plots and tables, readable offline and without scripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tacit.record import plots
from tacit.record.checkpoint import save_text

if TYPE_CHECKING:
    from tacit.record.run import Run

STYLE = """
:root{color-scheme:light}
body{font:15px/1.55 system-ui,sans-serif;color:#1c2733;background:#f5f7f9;margin:0}
main{max-width:1080px;margin:0 auto;padding:24px}
h1{font-size:26px;margin:8px 0 2px}
h2{font-size:18px;margin:0 0 10px}
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
tr.mine{font-weight:600;background:#eef4fb}
code{font-size:13px;word-break:break-all}
details{margin-top:8px}
.table{overflow-x:auto}
"""
Table = plots.Table


def write(
    run: Run,
    path: Path,
    *,
    title: str = "Federated run",
    comparison: Table | None = None,
    intervals: Mapping[str, Sequence[float]] | None = None,
    headline: str | None = None,
    notes: Sequence[str] = (),
) -> Path:
    """Writes the report.

    Args:
        run: what to report.
        path: file to write.
        title: heading of the page.
        comparison: name -> metric -> value or None, for a table and a bar chart.
        intervals: name -> (low, high) of the headline metric.
        headline: metric of the bar chart; the table's first when None.
        notes: paragraphs under the comparison.

    Raises:
        StorageError: the file cannot be written.
    """
    sections = [_summary(run), _curves(run)]
    if comparison:
        sections.insert(1, _comparison(comparison, intervals, headline, notes))
    sections += [_set_aside(run), _facts(run), _rounds(run)]
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
    seconds = sum(float(row["seconds"]) for row in run.rows)
    cards = [
        ("rounds", f"{len(run.rows)}"),
        ("clients", f"{run.facts.get('clients', 0):,}"),
        ("parameters", f"{run.facts.get('parameters', 0):,}"),
        ("seconds", f"{seconds:,.1f}"),
        ("training loss", number(last.get("loss"))),
        ("up per report", size(run.facts.get("bytes_up_per_client", 0))),
        ("down per client", size(run.facts.get("bytes_down_per_client", 0))),
        ("engine", str(run.facts.get("engine", ""))),
    ]
    boxes = "".join(f'<div class="card"><b>{escape(v)}</b><span>{escape(n)}</span></div>' for n, v in cards)
    return _section("Summary", f'<div class="cards">{boxes}</div>')


def _curves(run: Run) -> str:
    history = run.history
    if history.empty:
        return ""
    drawn = [
        plots.loss_curves(history),
        plots.metric_curves(history),
        plots.participation(history),
        plots.phases(history),
    ]
    return _section("Over the rounds", f'<div class="plots">{"".join(f"<div>{d}</div>" for d in drawn if d)}</div>')


def _comparison(
    table: Table, intervals: Mapping[str, Sequence[float]] | None, headline: str | None, notes: Sequence[str]
) -> str:
    metrics = list(dict.fromkeys(metric for row in table.values() for metric in row))
    head = "".join(f"<th>{escape(m)}</th>" for m in metrics)
    rows = ""
    for name, row in table.items():
        mine = ' class="mine"' if name == "federated" else ""
        cells = "".join(f"<td>{number(row.get(m))}</td>" for m in metrics)
        rows += f"<tr{mine}><td>{escape(name.replace('_', ' '))}</td>{cells}</tr>"
    bars = plots.comparison_bars(table, headline or metrics[0], intervals)
    text = "".join(f"<p>{escape(note)}</p>" for note in notes)
    body = f'<div class="table"><table><tr><th></th>{head}</tr>{rows}</table></div>{bars}{text}'
    return _section("Against other ways to learn", body)


def _set_aside(run: Run) -> str:
    rows = [r for r in run.rows if r.get("set_aside")]
    lines = "".join(f"<li>round {r['round']}: {escape(str(r['set_aside_reasons']))}</li>" for r in rows[:50])
    return _section("Reports set aside", f"<ul>{lines}</ul>" if lines else "")


def _facts(run: Run) -> str:
    rows = "".join(
        f"<tr><td>{escape(str(n))}</td><td><code>{escape(str(v))}</code></td></tr>" for n, v in run.facts.items()
    )
    return _section("How it was made", f'<div class="table"><table>{rows}</table></div>')


def _rounds(run: Run) -> str:
    if not run.rows:
        return ""
    names = [n for n in run.rows[-1] if n != "set_aside_reasons"]
    head = "".join(f"<th>{escape(n)}</th>" for n in names)
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

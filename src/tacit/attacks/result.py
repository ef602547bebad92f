"""What the attacks found, as values, as text and as one page."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any

from tacit.attacks import drawings
from tacit.attacks.drawings import Drawing
from tacit.attacks.material import Material
from tacit.attacks.membership import Membership
from tacit.attacks.roc import bound
from tacit.attacks.tries import MEASURES, Row, Try, rows
from tacit.errors import StorageError
from tacit.record.checkpoint import save_text
from tacit.record.report import STYLE

WORDS = (
    "A picture for people, not a bound: an attack that finds nothing proves nothing, and a better one may come. The "
    "bound is the statement of the run, and `tacit privacy audit` tries to refute it."
)
COST = (
    "The data are of people. No ledger was charged, for all models were thrown away; but these numbers and pictures "
    "follow from them, those without DP directly. Show them to nobody who may not see the data."
)


@dataclass(frozen=True)
class Found:
    """What the attacks found.

    Attributes:
        name: of the scenario.
        claim: what the run with DP promises: "epsilon", "delta", "noise_multiplier".
        clip: C.
        rounds: T of the run.
        materials: what inversion was tried on.
        tries: each attacked client.
        membership: None where it was left out.
        synthetic: the scenario's data are made up.
    """

    name: str
    claim: dict[str, float]
    clip: float
    rounds: int
    materials: Sequence[Material]
    tries: Sequence[Try]
    membership: Membership | None
    synthetic: bool

    @property
    def rows(self) -> list[Row]:
        """The tries as numbers."""
        return rows(self.tries)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be read with the numbers."""
        return (WORDS,) if self.synthetic else (WORDS, COST)

    def values(self) -> dict[str, Any]:
        """All of it but the examples themselves, as JSON values."""
        told: dict[str, Any] = {"scenario": self.name, "rounds": self.rounds, "clip": self.clip, "claim": self.claim}
        told |= {"synthetic": self.synthetic, "notes": list(self.notes)}
        told["inversion"] = [asdict(row) for row in self.rows]
        told["membership"] = None if self.membership is None else _membership(self.membership)
        return told

    def inversion_tables(self) -> dict[str, tuple[list[str], list[list[str]]]]:
        """What was attacked -> names of columns, and cells: a measure, and in brackets what another client's reach."""
        made = {}
        for name in dict.fromkeys(row.material for row in self.rows):
            mine = [row for row in self.rows if row.material == name]
            measures = [m for m in MEASURES if any(row.mean[m] is not None for row in mine)]
            lines = [[row.work, row.method, row.setting, *(_cell(row, m) for m in measures)] for row in mine]
            made[name] = (["the client does", "attack", "setting", *measures], lines)
        return made

    def membership_table(self) -> tuple[list[str], list[list[str]]]:
        """The same of membership; the last line is what the claim leaves to any attack."""
        if self.membership is None:
            return [], []
        rates = list(next(iter(self.membership.rocs.values())).at)
        lines = []
        for setting, roc in self.membership.rocs.items():
            interval = f"{roc.interval[0]:.3f} - {roc.interval[1]:.3f}"
            lines.append([setting, f"{roc.auc:.3f}", interval, *(f"{roc.at[rate]:.3f}" for rate in rates)])
        limits = bound(rates, self.membership.claim["epsilon"], self.membership.claim["delta"])
        lines.append(["DP allows at most", "", "", *(f"{limit:.3f}" for limit in limits)])
        return ["membership", "AUC", "95 %", *(f"TPR at FPR {rate:g}" for rate in rates)], lines

    def drawings(self) -> list[Drawing]:
        """Every picture."""
        made = []
        for material in self.materials:
            mine = [one for one in self.tries if one.material == material.name]
            if mine:
                made.append((drawings.images if material.images else drawings.history)(material, mine))
        if self.tries:
            made.append(drawings.similarities(self.rows))
        return made if self.membership is None else [*made, drawings.curves(self.membership)]

    def page(self, pictures: Sequence[Drawing]) -> str:
        """One HTML file that needs nothing else."""
        title = f"Attacks on {self.name}"
        lead = f"epsilon {self.claim['epsilon']:.3g} at delta {self.claim['delta']:.2g}, clip norm {self.clip:g}"
        sections = [_section("What this is", "".join(f"<p>{escape(note)}</p>" for note in self.notes))]
        sections += [_section(one.title, f"{_picture(one)}<p>{escape(one.caption)}</p>") for one in pictures]
        tables = "".join(f"<h3>{escape(name)}</h3>{_table(*one)}" for name, one in self.inversion_tables().items())
        remark = "<p>In brackets: the same measure for the nearest examples of another client.</p>"
        sections += [_section("Inversion in numbers", tables + remark if tables else "")]
        sections += [_section("Membership in numbers", _table(*self.membership_table()) if self.membership else "")]
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{STYLE}img{{max-width:100%}}</style></head>'
            f'<body><main><h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{"".join(sections)}</main></body>'
            "</html>"
        )


def _picture(one: Drawing) -> str:
    data = b64encode(one.png).decode("ascii")
    return f'<img alt="{escape(one.title)}" src="data:image/png;base64,{data}">'


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def _cell(row: Row, measure: str) -> str:
    mean, spread, control = row.mean[measure], row.spread[measure], row.control[measure]
    if mean is None:
        return "-"
    scatter = "" if spread is None else f" +- {spread:.2f}"
    return f"{mean:.2f}{scatter}" + ("" if control is None else f" ({control:.2f})")


def _membership(found: Membership) -> dict[str, Any]:
    told: dict[str, Any] = {"shadows": found.shadows, "clients": found.clients, "claim": dict(found.claim)}
    for setting, roc in found.rocs.items():
        rates = list(roc.at)
        told[setting] = {
            "auc": roc.auc if isfinite(roc.auc) else None,
            "auc_95": list(roc.interval),
            "tpr_at_fpr": {f"{rate:g}": roc.at[rate] for rate in rates},
            "judged": {"members": roc.members, "others": roc.others},
        }
    limits = bound(rates, found.claim["epsilon"], found.claim["delta"])
    told["dp_allows"] = {f"{rate:g}": float(limit) for rate, limit in zip(rates, limits, strict=True)}
    return told


def write(found: Found, folder: Path, values_text: str) -> list[str]:
    """Writes pictures, page and values into `folder`; returns the names of the files.

    Raises:
        StorageError: the folder cannot be written.
    """
    pictures = found.drawings()
    try:
        for one in pictures:
            (folder / f"{one.name}.png").write_bytes(one.png)
    except OSError as error:
        raise StorageError(f"the pictures cannot be written into {folder}: {error}") from error
    save_text(folder / "attack.html", found.page(pictures))
    save_text(folder / "attack.json", values_text)
    return ["attack.html", "attack.json", *(f"{one.name}.png" for one in pictures)]

"""More clients than reports are needed, so that failures cost no time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from tacit import checks
from tacit.selection.cohort import Cohort, Informed, Sampling, Selection, Uniform
from tacit.selection.table import PARTICIPATION, ClientTable

PRIOR, PRIOR_RATE = 100.0, 0.08
"""Requests, and the share of them that failed, that stand for what is not measured yet: 6 to 10 % in [Bonawitz19]."""
MOST = 2.0
"""Clients asked for each report wanted, at most: beyond that nobody is there, and asking more does not help."""


@dataclass(frozen=True)
class OverSelected(Informed):
    """Asks for more reports than are wanted: `cohort` times a factor, uniformly from those who may be asked.

    With a share `p` of requests that come to nothing, the factor is `1 / (1 - p) + margin`, and at most 2. `p` is
    measured over all rounds so far, with 100 requests of which 8 % failed as a prior ([Bonawitz19] arXiv:1902.01046
    asks 130 % and loses 6 to 10 %).

    Sampling: "arbitrary". A round that closes with the first reports takes the fast, which is no chance.

    Reveals to the server: nothing that it does not know. Slow clients hardly ever count, and what is special about
    their examples is not learned: a deadline with partial work costs as little time and leaves nobody out.

    Args:
        cohort: reports that are wanted.
        factor: clients asked for each of them; from the measured failures when None.
        margin: added to what the failures ask for; for late reports, and for chance.
    """

    cohort: int
    factor: float | None = None
    margin: float = 0.05

    def __post_init__(self) -> None:
        checks.make_plain(self)

    @property
    def uses(self) -> tuple[str, ...]:
        """Participation, where the factor is measured."""
        return (PARTICIPATION,) if self.factor is None else ()

    @property
    def wanted(self) -> int:
        """Reports with which a round may close."""
        return self.cohort

    def problems(self, clients: int) -> list[str]:
        """A cohort out of range, a factor below 1, a margin below 0."""
        found = Uniform(self.cohort).problems(clients)
        if self.factor is not None and not (checks.is_number(self.factor) and self.factor >= 1):
            found.append(f"factor is {self.factor!r}: give 1 or more, 1.3 say, or leave it out to have it measured")
        return found + checks.not_negative("margin", self.margin)

    def sampling(self, clients: int) -> Sampling:
        """No claim; `cap` is the most that are asked."""
        most = self.factor or MOST
        return Sampling("arbitrary", self.cohort, clients, cap=min(ceil(self.cohort * most), clients))

    def asked(self, table: ClientTable) -> int:
        """How many clients are asked, if there are so many."""
        factor = self.factor
        if factor is None:
            requests = int(table.asked.sum())
            failed = (table.dropout * requests + PRIOR * PRIOR_RATE) / (requests + PRIOR)
            factor = min(1 / max(1 - failed, 1 / MOST) + self.margin, MOST)
        return ceil(self.cohort * factor)

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """A uniform draw of as many as are to be asked; all, where fewer may be."""
        cohort = Uniform(self.asked(table)).choose(table, seed, round)
        return Cohort(cohort.clients, self.sampling(len(table)), inclusion=cohort.inclusion)


def wanted(selection: Selection) -> int | None:
    """With how many reports a round of `selection` may close, looking into those inside others; None for all."""
    while hasattr(selection, "inner"):
        selection = selection.inner
    return selection.wanted if isinstance(selection, OverSelected) else None

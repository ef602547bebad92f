"""Cohorts of those with the highest losses among a few candidates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tacit import checks, keys
from tacit.selection.cohort import Cohort, Informed, Sampling, Selection, Uniform
from tacit.selection.pps import Int, probabilities, sizes_of, systematic
from tacit.selection.table import CLIENT_LOSSES, ClientTable


@dataclass(frozen=True)
class PowerOfChoice(Informed):
    """Power of choice ([Cho20] arXiv:2010.01243): of d candidates, drawn by examples, the `cohort` with highest losses.

    The candidates say how well the current model fits their examples (pow-d), which costs each a download and an
    evaluation; one that gives no answer is not chosen while others did. With `stale` the last training losses are used
    and nothing is evaluated (rpow-d): clients without a loss then come first.

    Sampling: "arbitrary". The model ends at another point than it would with all clients, by a bias that d sets.

    Reveals to the server: the loss of every single candidate in every round, which tells how well the model fits that
    client's examples and can tell whether given examples are among them; and its number of examples. Masks and noise
    on the sum do not protect this. A client that reports a high loss is chosen whenever it is a candidate.

    Args:
        cohort: clients in a round.
        candidates: d, of whom they are chosen.
        stale: use the last training losses.
    """

    cohort: int
    candidates: int
    stale: bool = False

    def __post_init__(self) -> None:
        checks.make_plain(self)

    @property
    def uses(self) -> tuple[str, ...]:
        """Losses of single clients."""
        return (CLIENT_LOSSES,)

    def problems(self, clients: int) -> list[str]:
        """A cohort out of range; fewer candidates than that, or more than there are clients."""
        found = [*Uniform(self.cohort).problems(clients), *checks.truth("stale", self.stale)]
        least = self.cohort if checks.is_count(self.cohort) else 1
        if not (checks.is_whole(self.candidates, least) and self.candidates <= clients):
            found.append(f"candidates is {self.candidates!r}: give a whole number from {least} to {clients}")
        return found

    def sampling(self, clients: int) -> Sampling:
        """No claim."""
        return Sampling("arbitrary", self.cohort, clients)

    def candidates_of(self, table: ClientTable, seed: int, round: int) -> Int:
        """Positions of the d candidates, ascending, drawn in proportion to examples; all, where fewer may be asked."""
        who = table.eligible
        chances = probabilities(sizes_of(table)[who], min(self.candidates, len(who)))
        return who[systematic(keys.generator(seed, "candidates", round), chances)]

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """The candidates with the highest losses in the table; at random among equals."""
        who = keys.generator(seed, "cohort", round).permutation(self.candidates_of(table, seed, round))
        loss = table.loss[who]
        loss = np.where(np.isnan(loss), np.inf if self.stale else -np.inf, loss)
        best = who[np.argsort(-loss, kind="stable")[: self.cohort]]
        return Cohort(np.sort(best), self.sampling(len(table)))


def to_evaluate(selection: Selection, table: ClientTable, seed: int, round: int) -> Int:
    """Who is to evaluate the current model before `selection`, or one inside it, can choose; nobody for most."""
    while hasattr(selection, "inner"):
        table = selection.narrowed(table, round) if hasattr(selection, "narrowed") else table
        selection = selection.inner
    if isinstance(selection, PowerOfChoice) and not selection.stale:
        return selection.candidates_of(table, seed, round)
    return np.empty(0, np.int64)

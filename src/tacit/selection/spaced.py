"""Rounds between two turns of a client, and a number of turns that it never exceeds."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tacit import checks
from tacit.selection.cohort import Cohort, Informed, Sampling, Selection
from tacit.selection.inner import drawn_inside, inner_problems, inner_uses, unclaimed
from tacit.selection.table import CLIENT_LOSSES, PARTICIPATION, TIER_LOSSES, ClientTable


@dataclass(frozen=True)
class Spaced(Informed):
    """Draws with `inner` from those whose last turn is at least `gap` rounds ago and who had fewer than `most` turns.

    A turn counts from the moment a client is asked, whether its report comes or not; one in a round that was given up
    counts among the `most`, and not as the last. Minimum separation is what
    correlated noise needs instead of chance ([Kairouz21] arXiv:2103.00039, [Choquette23] arXiv:2211.06530), and how
    it is kept in production ([Xu23] arXiv:2305.18465).

    Sampling: "separated" where `gap` is above 1 and no losses are used; then it is true of every sequence of rounds
    that was noted in one table, whatever the pools were. Else "arbitrary": who had a turn lately is no matter of
    chance, so no amplification may be claimed, and a schedule that follows from losses is none that was fixed without
    the data. `most` is kept, and not claimed.

    Reveals to the server: nothing that it does not know, for it asked them. Who sees cohorts sees that those of the
    last rounds cannot be in this one.

    Args:
        inner: what draws.
        gap: rounds from one turn of a client to the next, at least.
        most: turns of a client in the whole run.
    """

    inner: Selection
    gap: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        checks.make_plain(self)

    @property
    def uses(self) -> tuple[str, ...]:
        """Participation, and what `inner` uses."""
        return inner_uses(self.inner, PARTICIPATION)

    def problems(self, clients: int) -> list[str]:
        """Numbers below 1, a gap for which there are too few clients, and the problems of `inner`."""
        found = inner_problems(self.inner, clients)
        own = [*checks.count("gap", self.gap), *([] if self.most is None else checks.count("most", self.most))]
        if found or own:
            return found + own
        size = self.inner.sampling(clients).size
        if self.gap * size <= clients:
            return []
        return [
            f"gap is {self.gap} with cohorts of {size:g}: {clients} clients are enough for a gap of "
            f"{max(int(clients / size), 1)}, or for cohorts of {clients // self.gap}"
        ]

    def sampling(self, clients: int) -> Sampling:
        """The separation where it holds without a look at the data, else no claim."""
        plain = unclaimed(self.inner.sampling(clients))
        if self.gap == 1 or {CLIENT_LOSSES, TIER_LOSSES} & set(self.uses):
            return plain
        return replace(plain, kind="separated", gap=self.gap)

    def narrowed(self, table: ClientTable, round: int) -> ClientTable:
        """The table with those in the pool whose turn it may be."""
        rested = (table.last < 0) | (round - table.last >= self.gap)
        return table.narrowed(rested if self.most is None else rested & (table.asked < self.most))

    def choose(self, table: ClientTable, seed: int, round: int) -> Cohort:
        """What `inner` draws from those whose turn it may be; nobody, where there are none."""
        return drawn_inside(self, table, seed, round)

    def draw(self, clients: int, seed: int, round: int) -> Cohort:
        """The cohort of `round` where everybody is always there. All earlier rounds are drawn for it."""
        table = ClientTable.of(clients)
        for earlier in range(round):
            asked = self.choose(table, seed, earlier).clients
            table.observe(earlier, asked, asked)
        return self.choose(table, seed, round)

"""The interaction log: who used what, when, and in which context. Columns, never one Python object per event.

A log is ordered by user, and within a user by time. Everything else of the scenario (splits, features, baselines)
works on positions within that order, so the order is settled once, here:

- events with the same time keep the order of the file if the file is a log: the times of each user never go back, and
  at most one event in a hundred (`FEW`) has the time of the event before it; so do those of the generator. Otherwise
  their order is drawn from the seed, because the order of the file may come from the items and would then give the
  next item away. MovieLens is such a table, sorted by item, and sorted by time it still is one: films that were rated
  in the same second stay sorted by item;
- a table without time is put into an order drawn from the seed. `ordered` is then False, and nothing that needs an
  order (last apps, recency, first-order Markov) is computed from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tacit.errors import DataError, Problems
from tacit.keys import generator

SECONDS_PER_DAY = 86_400.0
FEW = 0.01
"""Largest share of events with the time of the event before them for which the order of a file is believed."""


@dataclass(frozen=True, eq=False)
class Category:
    """A categorical column: `codes` (n,) int64 into `names`, or -1 where the value is missing."""

    codes: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, values: Any, *, at_most: int = 32) -> Category:
        """Codes of `values` (n,). Beyond `at_most` categories the rarest are merged into one, named "other"."""
        import pandas as pd

        codes, names = pd.factorize(pd.Series(values), sort=True)
        codes, labels = codes.astype(np.int64), [str(name) for name in names]
        if len(labels) <= at_most:
            return cls(codes, tuple(labels))
        kept = np.sort(np.argsort(-np.bincount(codes[codes >= 0], minlength=len(labels)), kind="stable")[: at_most - 1])
        merged = np.full(len(labels) + 1, at_most - 1, dtype=np.int64)
        merged[kept], merged[-1] = np.arange(at_most - 1), -1
        return cls(merged[codes], (*(labels[k] for k in kept), "other"))

    def take(self, rows: np.ndarray) -> Category:
        """The same category at `rows`."""
        return replace(self, codes=self.codes[rows])


@dataclass(frozen=True, eq=False)
class InteractionLog:
    """Interactions of all users, ordered by user and then by time.

    Attributes:
        source: what the log is, for reports.
        users: names of the users; `user` (n,) int64 points into them.
        items: names of the items; `item` (n,) int64 points into them.
        time: (n,) float64, seconds since 1970 in local time of the phone, or None for a table without time.
        context: categorical columns known when the item is to be predicted, one code per event.
        profile: categorical facts about a user, one code per user.
        synthetic: True if no person made this log.
        notes: what was done to the data on the way in, in sentences for the report.
    """

    source: str
    users: tuple[str, ...]
    items: tuple[str, ...]
    user: np.ndarray
    item: np.ndarray
    time: np.ndarray | None = None
    context: Mapping[str, Category] = field(default_factory=dict)
    profile: Mapping[str, Category] = field(default_factory=dict)
    synthetic: bool = False
    notes: tuple[str, ...] = ()

    @classmethod
    def from_columns(
        cls,
        source: str,
        user: Any,
        item: Any,
        time: Any = None,
        *,
        context: Mapping[str, Category] | None = None,
        profile: Mapping[str, Category] | None = None,
        synthetic: bool = False,
        notes: Sequence[str] = (),
        seed: int = 0,
    ) -> InteractionLog:
        """A log from columns in any order.

        Args:
            source: what the log is.
            user: (n,) user of each event, any type that can be sorted.
            item: (n,) item of each event.
            time: (n,) seconds since 1970, or None.
            context: one category per column, codes (n,).
            profile: one category per fact, codes (users,) in the sorted order of the users.
            synthetic: True if no person made this log.
            notes: sentences for the report.
            seed: for the order of events whose order the data do not give.

        Raises:
            DataError: the columns are empty, of unequal length, or have missing users, items or times.
        """
        import pandas as pd

        users, user_names = pd.factorize(pd.Series(user), sort=True)
        items, item_names = pd.factorize(pd.Series(item), sort=True)
        times = None if time is None else np.asarray(time, dtype=np.float64)
        _check_columns(source, users, items, times, context or {})
        order, note = _chronology(users, times, seed, trusted=synthetic)
        return cls(
            source=source,
            users=tuple(str(name) for name in user_names),
            items=tuple(str(name) for name in item_names),
            user=users[order].astype(np.int64),
            item=items[order].astype(np.int64),
            time=None if times is None else times[order],
            context={name: column.take(order) for name, column in (context or {}).items()},
            profile=dict(profile or {}),
            synthetic=synthetic,
            notes=(*notes, *note),
        )

    def __len__(self) -> int:
        return len(self.item)

    @property
    def ordered(self) -> bool:
        """True if the order of a user's events is a fact of the data and not a draw."""
        return self.time is not None

    @property
    def repeat_share(self) -> float:
        """Share of events whose item the same user had before: high for apps, near zero for films."""
        pairs = self.user * len(self.items) + self.item
        return 1.0 - len(np.unique(pairs)) / max(len(self), 1)

    @property
    def bounds(self) -> np.ndarray:
        """(users + 1,) int64: events of user u are `bounds[u]:bounds[u + 1]`."""
        return np.searchsorted(self.user, np.arange(len(self.users) + 1)).astype(np.int64)

    def spans(self) -> Iterator[tuple[int, slice]]:
        """Each user that has events, with the slice of them."""
        bounds = self.bounds
        for u in range(len(self.users)):
            if bounds[u] < bounds[u + 1]:
                yield u, slice(int(bounds[u]), int(bounds[u + 1]))

    def where(self, kept: np.ndarray, *notes: str) -> InteractionLog:
        """The events at which `kept` (n,) bool holds. Users and items keep their codes."""
        rows = np.flatnonzero(kept)
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            time=None if self.time is None else self.time[rows],
            context={name: column.take(rows) for name, column in self.context.items()},
            notes=(*self.notes, *notes),
        )

    def without_immediate_repeats(self) -> InteractionLog:
        """Drops an event whose item is the one its user used just before. Without time there is nothing to drop."""
        if not self.ordered or len(self) == 0:
            return self
        kept = np.ones(len(self), dtype=bool)
        kept[1:] = (self.item[1:] != self.item[:-1]) | (self.user[1:] != self.user[:-1])
        dropped = int((~kept).sum())
        return self.where(kept, f"{dropped:,} immediate repeats of an item were dropped") if dropped else self

    def with_item_names(self, names: Mapping[str, str]) -> InteractionLog:
        """The same log with items renamed by `names`; a name that two items share gets the item's own id beside it."""
        wanted = [names.get(item, item) for item in self.items]
        seen: dict[str, int] = {}
        for name in wanted:
            seen[name] = seen.get(name, 0) + 1
        named = (w if seen[w] == 1 else f"{w} [{item}]" for w, item in zip(wanted, self.items, strict=True))
        return replace(self, items=tuple(named))


def hour_of_day(time: np.ndarray) -> np.ndarray:
    """Hour of the day in [0, 24) of `time` (seconds since 1970, local)."""
    return np.asarray(np.mod(time, SECONDS_PER_DAY) / 3600.0)


def day_of_week(time: np.ndarray) -> np.ndarray:
    """Day of the week, 0 = Monday, of `time` (seconds since 1970, local; that day was a Thursday)."""
    return np.asarray((np.floor_divide(time, SECONDS_PER_DAY) + 3) % 7, dtype=np.int64)


def _check_columns(
    source: str, users: np.ndarray, items: np.ndarray, time: np.ndarray | None, context: Mapping[str, Category]
) -> None:
    with Problems(f"{source} is not a log of interactions", DataError) as problems:
        problems.check(len(users) > 0, "it has no events: give a table with at least one interaction")
        lengths = {"user": len(users), "item": len(items), **{name: len(c.codes) for name, c in context.items()}}
        if time is not None:
            lengths["time"] = len(time)
        problems.check(len(set(lengths.values())) == 1, f"its columns differ in length: {lengths}")
        for name, codes in (("user", users), ("item", items)):
            missing = np.flatnonzero(codes < 0)
            if len(missing):
                problems.add(f"{len(missing)} events have no {name}, the first at row {missing[0]}: drop or fill them")
        if time is not None:
            bad = np.flatnonzero(~np.isfinite(time))
            if len(bad):
                problems.add(f"{len(bad)} events have no readable time, the first at row {bad[0]}: drop or repair them")


def _chronology(
    users: np.ndarray, time: np.ndarray | None, seed: int, *, trusted: bool
) -> tuple[np.ndarray, list[str]]:
    """The order of the log, and a sentence about what was drawn or believed to reach it.

    `trusted`: events of equal time are known to come in their order.
    """
    draw = generator(seed, "app-recommendation", "order of events").permutation(len(users))
    if time is None:
        note = "the table has no time: the order of each user's interactions was drawn from the seed"
        return draw[np.argsort(users[draw], kind="stable")], [note]
    by_user = np.argsort(users, kind="stable")
    ties = _ties(users[by_user], time[by_user])
    forward = not np.any((np.diff(users[by_user]) == 0) & (np.diff(time[by_user]) < 0))
    if forward and (trusted or not ties):
        return by_user, []
    equal = f"{ties:,} of {len(users):,} events have the time of the event before them"
    if forward and ties <= FEW * len(users):
        return by_user, [f"{equal}, which is few: they keep the order of the file"]
    order = draw[np.lexsort((time[draw], users[draw]))]
    if forward:
        return order, [f"{equal}, too many to trust the order of the file: they were ordered by the seed"]
    ties = _ties(users[order], time[order])
    note = f"the file is not in the order of time: {ties:,} events of equal time were ordered by the seed"
    return order, [note] if ties else []


def _ties(users: np.ndarray, time: np.ndarray) -> int:
    """How many events have the user and the time of the event before them."""
    return int(((np.diff(users) == 0) & (np.diff(time) == 0)).sum())

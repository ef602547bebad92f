"""A selection inside another one: the outer narrows the pool, the inner draws from what is left."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from tacit.checks import offers
from tacit.selection.cohort import Cohort, Sampling, Selection, drawn
from tacit.selection.table import ClientTable


class Narrowing(Protocol):
    """What the outer selection has."""

    @property
    def inner(self) -> Selection:
        """What draws."""
        ...

    def sampling(self, clients: int) -> Sampling:
        """What may be claimed of both together."""
        ...

    def narrowed(self, table: ClientTable, round: int) -> ClientTable:
        """The table with the pool that is left in `round`."""
        ...


def drawn_inside(outer: Narrowing, table: ClientTable, seed: int, round: int) -> Cohort:
    """The cohort that the inner selection draws from the pool that the outer leaves, under the outer's sampling."""
    cohort = drawn(outer.inner, outer.narrowed(table, round), seed, round)
    return replace(cohort, sampling=outer.sampling(len(table)))


def inner_problems(inner: object, clients: int) -> list[str]:
    """What is wrong with an argument that is to be a selection of `clients`."""
    if not offers(inner, "problems", "sampling", "draw"):
        return [f"inner is {inner!r}: give a selection, tacit.Uniform(cohort=10), say"]
    found: list[str] = inner.problems(clients)  # type: ignore[attr-defined]
    return found


def inner_uses(inner: Selection, *own: str) -> tuple[str, ...]:
    """The kinds of data that the choice follows from: `own` ones, and those of `inner`."""
    return tuple(dict.fromkeys((*own, *getattr(inner, "uses", ()))))


def unclaimed(sampling: Sampling) -> Sampling:
    """The same sizes, without a claim about chance."""
    return Sampling("arbitrary", sampling.size, sampling.of, cap=sampling.cap)


def narrowed(selection: Selection, table: ClientTable, round: int) -> ClientTable:
    """The table with the pool from which `selection`, or the innermost one in it, draws in `round`."""
    while offers(selection, "narrowed"):
        outer: Narrowing = selection  # type: ignore[assignment]
        table, selection = outer.narrowed(table, round), outer.inner
    return table

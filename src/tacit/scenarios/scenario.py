"""What a scenario is: a plan's own tables, the federation that a plan makes, and what its result is held against.

Scenarios are registered here by name and imported when they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from tacit.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from tacit.learning.task import Task
    from tacit.plan import Conflict, Plan, Section
    from tacit.population.population import Population
    from tacit.population.schema import Schema

Scores = dict[str, float]


@dataclass(frozen=True)
class Entry:
    """A line of the registry: what it is about, and where its class lies (module, name)."""

    about: str
    home: tuple[str, str]


REGISTRY: dict[str, Entry] = {
    "app-recommendation": Entry(
        "phones learn together which app their user wants next",
        ("tacit.scenarios.app_recommendation.scenario", "AppRecommendation"),
    ),
    "own": Entry("a task of your own, given in Python on every machine", ("tacit.scenarios.own", "OwnTask")),
}


@dataclass(frozen=True)
class Standing:
    """The result beside everything it should be held against. None: a method not asked for, or not to be had.

    Attributes:
        metrics: the metrics, in the order of a table.
        headline: the metric that has an interval.
        test: method -> metric -> value, on the clients that took part.
        unseen: the same on clients that no shared model was trained on.
        intervals: method -> (low, high) of the headline on `test`.
        unseen_intervals: the same on `unseen`.
        notes: sentences to be read with it.
    """

    metrics: tuple[str, ...]
    headline: str
    test: Mapping[str, Scores | None]
    unseen: Mapping[str, Scores | None]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    unseen_intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Prepared(Protocol):
    """A scenario with its data at hand."""

    @property
    def task(self) -> Task:
        """What is learned."""
        ...

    @property
    def population(self) -> Population:
        """From whom."""
        ...

    @property
    def source(self) -> str:
        """What the data are."""
        ...

    @property
    def synthetic(self) -> bool:
        """Whether they come from a generator and no person made them."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to the data, in sentences."""
        ...

    @property
    def headline(self) -> str:
        """The metric to watch."""
        ...

    def validation(self) -> Callable[[nn.Module], Mapping[str, float]]:
        """What is measured after a round: never on the part that `standing` is about."""
        ...

    def standing(self, model: nn.Module, *, full: bool, workers: int) -> Standing:
        """The trained model on the test part, beside others; if `full`, beside those too that must be trained."""
        ...

    def card(self) -> Mapping[str, Sequence[str]]:
        """What the columns of the model's input and output mean: "inputs" and "outputs"."""
        ...


@dataclass(frozen=True)
class Advice:
    """What one user is recommended: (item, score) from the best down, and in words how it was reached."""

    user: str
    items: tuple[tuple[str, float], ...]
    notes: tuple[str, ...] = ()


@runtime_checkable
class Recommends(Protocol):
    """A prepared scenario whose model ranks items for a user."""

    def recommend(self, model: nn.Module, user: str, *, top: int, at: float | None) -> Advice:
        """The `top` items for `user` after all of their log, at the time `at` (seconds since 1970) or just then.

        Raises:
            DataError: there is no such user; the nearest names are given.
        """
        ...


@runtime_checkable
class Deployable(Protocol):
    """A scenario that can be carried out between machines: its task can be made without anybody's data."""

    def schema(self, plan: Plan) -> Schema:
        """What examples look like, from the data that the plan names.

        Raises:
            DataError: they are not at hand.
        """
        ...

    def task(self, plan: Plan, schema: Schema) -> Task:
        """The model and the loss, for examples of this schema.

        Raises:
            UsageError: no such schema is of this scenario.
        """
        ...

    def own(self, plan: Plan, schema: Schema, source: str) -> tuple[Any, Any]:
        """A participant's examples (n, ...) from its own data.

        Args:
            plan: of the run.
            schema: that was agreed.
            source: the path of its data, or "synthetic:NAME" for one client of the plan's made-up ones.

        Raises:
            DataError: they cannot be read, or nothing is left of them.
        """
        ...


class Scenario(Protocol):
    """A ready-made federation."""

    def sections(self, given: Mapping[str, Any]) -> Mapping[str, Section]:
        """See `tacit.plan.Own`."""
        ...

    def defaults(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """See `tacit.plan.Own`."""
        ...

    def problems(self, plan: Any) -> list[Conflict]:
        """See `tacit.plan.Own`."""
        ...

    def look(self, plan: Plan) -> list[Conflict]:
        """What keeps a sound plan from being carried out with the data at hand, as far as a look at them shows."""
        ...

    def settle(self, plan: Plan) -> Plan:
        """The plan with the content of its data written into it.

        Raises:
            DataError: data are not at hand, or are not what the plan says they are.
        """
        ...

    def twin(self, plan: Plan, clients: int) -> Plan:
        """The same learning by `clients` clients: private where `plan` is not, and plain where it is."""
        ...

    def prepare(self, plan: Plan) -> Prepared:
        """Reads the data and makes the model.

        Raises:
            DataError: with every problem of the data.
        """
        ...


def scenario(name: str) -> Scenario:
    """The scenario called `name`.

    Raises:
        UsageError: there is none; the nearest is given.
    """
    from difflib import get_close_matches

    if name not in REGISTRY:
        near = get_close_matches(name, REGISTRY, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(REGISTRY)}"
        raise UsageError(f"there is no scenario {name!r}: {hint}")
    module, kind = REGISTRY[name].home
    found: Scenario = getattr(import_module(module), kind)()
    return found

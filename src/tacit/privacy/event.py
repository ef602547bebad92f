"""Events: what the accountant is told of one release. They are made by the objects that sample and add noise.

`noise` is always the noise multiplier z: the standard deviation of the Gaussian noise on the sum, divided by the clip
norm C, which is the sum's sensitivity to one unit's data being replaced by nothing (zero-out).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any, ClassVar, TypeAlias

from tacit.checks import is_number, is_whole
from tacit.errors import DamagedFile


@dataclass(frozen=True)
class Gaussian:
    """Every unit is in the sum, or may be: no credit for sampling."""

    kind: ClassVar[str] = "gaussian"
    noise: float


@dataclass(frozen=True)
class PoissonSampled:
    """Every unit is in the sum with probability `rate`, independently of the others."""

    kind: ClassVar[str] = "poisson"
    noise: float
    rate: float


@dataclass(frozen=True)
class Truncated:
    """As `PoissonSampled`; of more than `cap` units that come up, `cap` are kept at random [Ganesh25] arXiv:2508.15089.

    Attributes:
        units: how many there are, a public number.
    """

    kind: ClassVar[str] = "truncated"
    noise: float
    rate: float
    units: int
    cap: int


@dataclass(frozen=True)
class FixedSize:
    """`size` of `units` units, uniformly without replacement."""

    kind: ClassVar[str] = "fixed"
    noise: float
    size: int
    units: int


@dataclass(frozen=True)
class LocalSteps:
    """The local steps of one client in one round, whose units are its records: each has its own Poisson sample.

    Attributes:
        steps: how many.
    """

    kind: ClassVar[str] = "steps"
    noise: float
    rate: float
    steps: int

    @property
    def each(self) -> Gaussian | PoissonSampled:
        """One of them."""
        return Gaussian(self.noise) if self.rate >= 1 else PoissonSampled(self.noise, self.rate)


@dataclass(frozen=True)
class Laplace:
    """A sum with Laplace noise: `noise` is its scale, divided by the bound on the 1-norm of what one unit adds."""

    kind: ClassVar[str] = "laplace"
    noise: float


@dataclass(frozen=True)
class Skellam:
    """A sum of integer vectors with Skellam noise, to which the clients contributed. No credit for sampling.

    The clients that surely took part make its variance in every coordinate at least `(noise l2)^2`, in grid steps.

    Attributes:
        noise: z, its standard deviation over `l2`.
        l2: Delta_2, the largest Euclidean norm of what one unit adds, in grid steps.
        l1: Delta_1, its largest 1-norm, in grid steps.
        times: how many such sums.
    """

    kind: ClassVar[str] = "skellam"
    noise: float
    l2: float
    l1: float
    times: int = 1


@dataclass(frozen=True)
class Reports:
    """All reports that one client sends in a run, each with noise of its own.

    Attributes:
        mechanism: "gaussian" or "laplace".
        times: in how many rounds it takes part, at most.
    """

    kind: ClassVar[str] = "reports"
    noise: float
    mechanism: str
    times: int

    @property
    def each(self) -> Gaussian | Laplace:
        """One of them."""
        return Laplace(self.noise) if self.mechanism == "laplace" else Gaussian(self.noise)


@dataclass(frozen=True)
class Unbounded:
    """A release whose noise can be foreseen, or that has none: nothing bounds what it tells."""

    kind: ClassVar[str] = "unbounded"
    noise: ClassVar[float] = 0.0


Event: TypeAlias = (
    Gaussian | PoissonSampled | Truncated | FixedSize | Laplace | Skellam | LocalSteps | Reports | Unbounded
)
KINDS = (Gaussian, PoissonSampled, Truncated, FixedSize, Laplace, Skellam, LocalSteps, Reports, Unbounded)
EVENTS: dict[str, type[Any]] = {event.kind: event for event in KINDS}


def named(event: Event) -> dict[str, Any]:
    """The event as JSON values; `event_of` reads them back."""
    return {"kind": event.kind, **asdict(event)}


def event_of(values: Mapping[str, Any]) -> Event:
    """The event that `named` wrote.

    Raises:
        DamagedFile: the values describe no event.
    """
    kind = EVENTS.get(str(values.get("kind")))
    given = {name: value for name, value in values.items() if name != "kind"}
    if kind is None or set(given) != {field.name for field in fields(kind)}:
        raise DamagedFile(f"{dict(values)!r} is no privacy event that this tacit knows: use the tacit that wrote it")
    event: Event = kind(**given)
    if not _makes_sense(event):
        raise DamagedFile(f"{event!r} is no privacy event: its numbers are out of range")
    return event


def _makes_sense(event: Event) -> bool:
    if isinstance(event, Unbounded):
        return True
    good = is_number(event.noise) and event.noise > 0
    if isinstance(event, Skellam):
        good &= all(is_number(norm) and isfinite(norm) for norm in (event.l1, event.l2))
        good &= is_whole(event.times, 1)
        good = good and 1 <= event.l2 <= event.l1  # a step is the least that a unit adds, if it adds anything
    if isinstance(event, LocalSteps):
        good &= is_whole(event.steps, 1)
    if isinstance(event, Reports):
        good &= is_whole(event.times, 1) and event.mechanism in ("gaussian", "laplace")
    if isinstance(event, PoissonSampled | Truncated | LocalSteps):
        good &= is_number(event.rate) and isfinite(event.rate) and 0 < event.rate <= 1
    if isinstance(event, Truncated):
        good &= is_whole(event.units, 1) and is_whole(event.cap, 1)
    if isinstance(event, FixedSize):
        good &= is_whole(event.size, 1) and is_whole(event.units, 1) and event.size <= event.units
    return bool(good)


Charges: TypeAlias = tuple[tuple[Event, int], ...]
"""Events, each with how often it happened, in a canonical order: their composition does not depend on it."""


def charges(events: Iterable[Event | tuple[Event, int]]) -> Charges:
    """Equal events together; local steps, and reports, one by one."""
    counts: Counter[Event] = Counter()
    for entry in events:
        event, count = entry if isinstance(entry, tuple) else (entry, 1)
        if isinstance(event, LocalSteps):
            count *= event.steps
            event = event.each
        elif isinstance(event, Reports):
            count *= event.times
            event = event.each
        elif isinstance(event, Skellam):
            count *= event.times
            event = replace(event, times=1)
        counts[event] += count
    return tuple(sorted(((e, n) for e, n in counts.items() if n), key=lambda pair: repr(pair[0])))

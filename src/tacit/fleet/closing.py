"""When a round is closed, and whose reports are in by then."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit import checks
from tacit.checks import make_plain
from tacit.fleet.journey import ROUNDING

Float: TypeAlias = NDArray[np.float64]
Bool: TypeAlias = NDArray[np.bool_]


class Closing(Protocol):
    """A rule by which the server closes a round."""

    @property
    def seconds(self) -> float:
        """The longest that a round may take; infinite without a limit."""
        ...

    @property
    def margin(self) -> float | None:
        """Standard deviations of jitter that clients leave before the limit when they do what fits; None: do all."""
        ...

    def problems(self) -> list[str]:
        """What is wrong with this rule."""
        ...

    def close(self, arrival: Float, settled: Float, start: float) -> tuple[float, Bool]:
        """Closes a round.

        Args:
            arrival: (K,) when each report would be in; infinite for never.
            settled: (K,) when the server knows of each that no more will come.
            start: when the round started.

        Returns:
            When it is closed, and (K,) who is in.
        """
        ...


@dataclass(frozen=True)
class WaitForAll:
    """Waits until every client has reported or is lost, which the server notices when it happens."""

    seconds: float = field(default=inf, init=False)
    margin: float | None = field(default=None, init=False)

    def problems(self) -> list[str]:
        """Nothing can be wrong."""
        return []

    def close(self, arrival: Float, settled: Float, start: float) -> tuple[float, Bool]:
        """At the last event, or after `seconds`."""
        limit = start + self.seconds
        end = min(max(float(settled.max(initial=start)), start), limit)
        return end, arrival <= end + ROUNDING * abs(end)


@dataclass(frozen=True)
class Deadline(WaitForAll):
    """Closes after `seconds`, or sooner if nobody is left to wait for. Who is not done is late.

    Args:
        seconds: from the start of the round.
    """

    seconds: float = field()

    def problems(self) -> list[str]:
        """A time that is none."""
        return _limit(self.seconds)


@dataclass(frozen=True)
class FirstArrivals:
    """Closes at the `count`-th report: over-selection. Those after it are late, also at the very same time.

    The clients that count are chosen by their speed: no amplification of privacy by sampling can be claimed for them.

    Args:
        count: reports to wait for.
        seconds: the longest that a round may take.
    """

    count: int
    seconds: float = inf
    margin: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        make_plain(self)

    def problems(self) -> list[str]:
        """A count that is none, a time that is none."""
        return [*checks.count("count", self.count), *_limit(self.seconds)]

    def close(self, arrival: Float, settled: Float, start: float) -> tuple[float, Bool]:
        """At the `count`-th report; as `Deadline` if there are fewer."""
        end, arrived = Deadline(self.seconds).close(arrival, settled, start)
        if arrived.sum() < self.count:
            return end, arrived
        first = np.argsort(arrival, kind="stable")[: self.count]
        counted = np.zeros(len(arrival), np.bool_)
        counted[first] = True
        return min(float(arrival[first[-1]]), end), counted


@dataclass(frozen=True)
class PartialWork(Deadline):
    """As `Deadline`, and every client does the local steps that fit before it, as FedProx and FedNova allow.

    A client knows when its download ended and how long an upload usually takes; how long this one takes, it does not.

    Args:
        seconds: from the start of the round.
        margin: standard deviations of the upload's jitter that a client leaves for it: with 2, of those whose work is
            cut short 2.3 % are late.
    """

    margin: float | None = 2.0

    def problems(self) -> list[str]:
        """A time or a margin that is none."""
        return [*_limit(self.seconds), *checks.not_negative("margin", self.margin)]


def _limit(seconds: float) -> list[str]:
    return [] if seconds == inf else checks.positive("seconds", seconds, " number of seconds")

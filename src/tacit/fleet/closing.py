"""When a round is closed, and whose reports are in by then.

A limit is stated in seconds, or as a quantile of the times that devices take: the clock needs seconds, and a run finds
them (`within`) from what it expects of its devices, or, paced, from who was in time in its rounds so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import inf
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit import checks
from tacit.checks import make_plain
from tacit.fleet.journey import ROUNDING

Float: TypeAlias = NDArray[np.float64]
Bool: TypeAlias = NDArray[np.bool_]

QUANTILE = 0.8
"""The share of devices that is to do all of its work before a deadline, where nothing else is said."""


class Closing(Protocol):
    """A rule by which the server closes a round."""

    @property
    def seconds(self) -> float | None:
        """The longest that a round may take; infinite without a limit, None where a run has to find it."""
        ...

    @property
    def margin(self) -> float | None:
        """Standard deviations of jitter that clients leave before the limit when they do what fits; None: do all."""
        ...

    @property
    def patience(self) -> float:
        """Seconds for which a client that is not there is waited for; with 0 only those who are there are asked."""
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
    """Waits until every client has reported or is lost, which the server notices when it happens.

    Args:
        patience: seconds for which a client that is not there is waited for; with 0 only those who are there are asked.
    """

    seconds: float | None = field(default=inf, init=False)
    margin: float | None = field(default=None, init=False)
    patience: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        make_plain(self)

    def problems(self) -> list[str]:
        """A patience that is none."""
        return checks.not_negative("patience", self.patience)

    def close(self, arrival: Float, settled: Float, start: float) -> tuple[float, Bool]:
        """At the last event, or after `seconds`."""
        assert self.seconds is not None, "the limit has not been found yet"
        end = min(max(float(settled.max(initial=start)), start), start + self.seconds)
        return end, arrival <= end + ROUNDING * abs(end)


@dataclass(frozen=True)
class Deadline(WaitForAll):
    """Closes after a limit, or sooner if nobody is left to wait for. Who is not done is late.

    Args:
        seconds: the limit, from the start of the round.
        quantile: instead of seconds: the share of devices that can do all of their work within the limit; 0.8 where
            neither is given.
        pace: with a quantile: after every round the limit is multiplied by `exp(pace (quantile - b))`, with b the
            share of the cohort that did all of its work in time, as [Andrew21] arXiv:1905.03871 tracks a quantile; 0
            leaves it as it is found from what is known of the devices.
        patience: as of `WaitForAll`; it is added to a limit that is stated as a quantile.
    """

    seconds: float | None = None
    quantile: float | None = None
    pace: float = 0.0

    @property
    def share(self) -> float | None:
        """The quantile that the limit is to lie at; None where it is stated in seconds."""
        return None if self.seconds is not None else QUANTILE if self.quantile is None else self.quantile

    def within(self, seconds: float) -> Deadline:
        """The same rule with its limit in seconds."""
        return replace(self, seconds=seconds, quantile=None, pace=0.0)

    def problems(self) -> list[str]:
        """A time or a quantile that is none, or both; a pace below 0, or that goes with no quantile."""
        found = [*super().problems(), *([] if self.seconds is None else _limit(self.seconds))]
        if self.quantile is not None:
            if not checks.is_number(self.quantile) or not 0 < self.quantile < 1:
                found.append(f"quantile is {self.quantile!r}: give a share above 0 and below 1")
            if self.seconds is not None:
                found.append(
                    f"seconds={self.seconds!r} and quantile={self.quantile!r} are both given: give one of them"
                )
        found += checks.not_negative("pace", self.pace)
        if self.seconds is not None and self.pace:
            found.append(f"pace is {self.pace!r} and the limit is stated in seconds: give a quantile that it follows")
        return found


@dataclass(frozen=True)
class FirstArrivals:
    """Closes at the `count`-th report: over-selection. Those after it are late, also at the very same time.

    The clients that count are chosen by their speed: no amplification of privacy by sampling can be claimed for them.

    Args:
        count: reports to wait for; in a run as many as the selection wants, when None.
        seconds: the longest that a round may take.
        patience: as of `WaitForAll`.
    """

    count: int | None = None
    seconds: float | None = inf
    margin: float | None = field(default=None, init=False)
    patience: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        make_plain(self)

    def problems(self) -> list[str]:
        """A count that is none, a time that is none."""
        wanted = [] if self.count is None else checks.count("count", self.count)
        limit = _limit(inf if self.seconds is None else self.seconds)
        return [*wanted, *limit, *checks.not_negative("patience", self.patience)]

    def close(self, arrival: Float, settled: Float, start: float) -> tuple[float, Bool]:
        """At the `count`-th report; as `Deadline` if there are fewer."""
        assert self.count is not None, "the count has not been found yet"
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
        seconds, quantile, pace, patience: as of `Deadline`.
        margin: standard deviations of the upload's jitter that a client leaves for it: with 2, of those whose work is
            cut short 2.3 % are late.
    """

    margin: float | None = 2.0

    def problems(self) -> list[str]:
        """As of `Deadline`; a margin that is none."""
        return [*super().problems(), *checks.not_negative("margin", self.margin)]


def _limit(seconds: float) -> list[str]:
    return [] if seconds == inf else checks.positive("seconds", seconds, " number of seconds")

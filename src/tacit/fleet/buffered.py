"""Asynchronous training, as a rule by which rounds are closed: clients start when others end, from the newest model.

A buffer of reports takes the place of a cohort: the server takes a step as soon as it is full, and nobody is waited
for. Reports that started from an older model are stale; they count for less.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from tacit import checks
from tacit.checks import make_plain
from tacit.errors import Problems, UsageError


@dataclass(frozen=True)
class FedBuff:
    """Buffered asynchronous aggregation ([Nguyen22] arXiv:2106.06639): a step for every `buffer` reports.

    The update of a client whose model is `tau` versions old is multiplied by `(1 + tau)^-exponent`, by the client
    itself, so that it stays hidden in a secure sum. No client is in a buffer twice. Who fills a buffer is decided by
    speed, so no amplification of privacy by sampling can be claimed; noise is put on every buffer.

    Args:
        concurrency: clients that train at the same time.
        buffer: reports in a step (K).
        exponent: of the weight of stale updates; 0 counts all alike.
        most_stale: a report of a model older than so many versions is thrown away.
    """

    concurrency: int = 100
    buffer: int = 10
    exponent: float = 0.5
    most_stale: int = 50

    def __post_init__(self) -> None:
        make_plain(self)
        with Problems(f"{type(self).__name__} cannot be", UsageError) as problems:
            problems.extend(self.problems())

    def problems(self) -> list[str]:
        """Counts that are none, an exponent below 0."""
        found = [*checks.count("concurrency", self.concurrency), *checks.count("buffer", self.buffer)]
        good = checks.is_whole(self.most_stale, 0)
        found += [] if good else [f"most_stale is {self.most_stale!r}: give a whole number of versions, from 0"]
        return [*found, *checks.not_negative("exponent", self.exponent)]

    @property
    def seconds(self) -> float:
        """No limit: nobody is waited for."""
        return inf

    def scale(self, stale: int) -> float:
        """By what an update is multiplied that is so many versions old."""
        return float((1.0 + stale) ** -self.exponent)


@dataclass(frozen=True)
class FedAsync(FedBuff):
    """A step for every report ([Xie19] arXiv:1903.03934): `x <- (1 - a) x + a y`, `a = mixing (1 + tau)^-exponent`.

    A baseline for comparison. The server sees every client's model by itself: it goes with no secure sum, and with no
    privacy.

    Args:
        concurrency, exponent, most_stale: as of `FedBuff`.
        mixing: weight of a report that is not stale, above 0 and at most 1.
    """

    buffer: int = 1
    mixing: float = 0.6

    def problems(self) -> list[str]:
        """As of `FedBuff`; a buffer of more than one; a mixing that is none."""
        found = super().problems()
        if self.buffer != 1:
            found.append(f"buffer is {self.buffer!r}: FedAsync takes one report at a time, FedBuff takes several")
        if not checks.is_number(self.mixing) or not 0 < self.mixing <= 1:
            found.append(f"mixing is {self.mixing!r}: give a weight above 0, of at most 1")
        return found

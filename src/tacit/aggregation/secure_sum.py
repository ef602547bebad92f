"""Secure aggregation, as a user asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, log2
from typing import TYPE_CHECKING, Any

from tacit.aggregation.fixed_point import FixedPoint
from tacit.aggregation.secure.graph import degree
from tacit.checks import is_count, is_number, is_whole, make_plain, positive, truth
from tacit.errors import BitBudgetError, UsageError

if TYPE_CHECKING:
    from tacit.selection.cohort import Sampling

IDEAL, FULL = "ideal", "full"
STEPS = ("advertise", "share", "mask", "confirm", "unmask")
"""Steps of the protocol at which a client may be lost."""
FEWEST = 5
"""Clients in a sum, at least, where nothing else is said."""
RANGE = 4.0
"""No parameter moves further in a client's local training, where nothing else is said."""
LARGE = 100
"""A cohort that is as easily hidden as any, for settings that go with no cohort yet."""
SMALLEST, WIDEST = 1e-30, 1e30
"""Ranges that leave room for a grid."""
RARE = 1e-4
"""A cohort that is too small fails the run: it may come up in no larger share of the rounds."""
CLIPPED = (14, 24)
"""Bits of a coordinate as large as the clip norm: at least, and at most."""


@dataclass(frozen=True)
class SecureSum:
    """The server learns the sum of a cohort's reports, and of no fewer clients; no report, weight, count or metric.

    SecAgg+ ([Bell20] ePrint 2020/704): clients mask their reports with secrets that cancel in the sum, and share those
    secrets among neighbours, so that the sum survives clients that are lost. Sums are of whole numbers, hence exact.

    Args:
        minimum: fewest clients in a sum; half the expected cohort and at least 5 when None (less than half where
            cohorts of chance are so small that one of a million would not reach it).
        range: largest absolute value of a number in a report (an update's coordinate, say), 4.0 when None. A client
            with a larger one is left out, with a reason. Not used with privacy, which clips.
        protocol: "ideal" computes what the protocol computes, at nearly the speed of a plain sum; "full" runs it
            between all clients and the server, message by message.
        bits: of a word, 32 or 64; the smaller one that is fine enough when None.
        most_examples: a client counts by at most so many of its examples; by the population's largest when None.
        corrupt: share of the clients that may work with the server against the others (gamma).
        dropout: share of the clients that may be lost in a round (delta).
        sigma: the graph does not hide a client with probability below `2^-sigma`.
        attempts: how often a round is begun anew, with new keys, where too many clients are lost.
        lost: in simulation, the probability that a client is lost at each step: advertise, share, mask, confirm and
            unmask; one number for all of them, or five.
        insecure_unsigned: no identities: the server could invent clients, and so unmask a real one.
        insecure_honest_server: fewer neighbours, enough where the server asks everybody the same.
    """

    minimum: int | None = None
    range: float | None = None
    protocol: str = IDEAL
    bits: int | None = None
    most_examples: int | None = None
    corrupt: float = 0.1
    dropout: float = 0.1
    sigma: int = 40
    attempts: int = 3
    lost: tuple[float, ...] = ()
    insecure_unsigned: bool = False
    insecure_honest_server: bool = False

    def __post_init__(self) -> None:
        make_plain(self)
        given: Any = self.lost
        if is_number(given):
            given = (float(given),)
        if isinstance(given, list | tuple):
            object.__setattr__(self, "lost", tuple(given) * (len(STEPS) if len(given) == 1 else 1))

    def problems(self, sampling: Sampling | None = None) -> Iterator[str]:
        """Everything that is wrong with these settings, with cohorts drawn in this way where that is known."""
        if self.minimum is not None and not is_whole(self.minimum, 3):
            yield f"minimum is {self.minimum!r}: give at least 3 clients, for of two each can subtract its own report"
        elif sampling is not None and self.fewest(sampling) > (sampling.cap or sampling.size):
            most = f"{sampling.cap or sampling.size:g}"
            yield (
                f"sums are of {self.fewest(sampling)} clients or more, and a cohort has {most}: draw larger cohorts, "
                "or let the server see every report, aggregation=None"
            )
        elif sampling is not None and sampling.rate is not None:
            yield from self._rarely_enough(sampling, sampling.rate)
        if self.range is not None:
            yield from positive("range", self.range) or _extreme(self.range)
        if self.protocol not in (IDEAL, FULL):
            yield f"protocol is {self.protocol!r}: give {IDEAL!r} or {FULL!r}"
        if self.bits not in (None, 32, 64):
            yield f"bits is {self.bits!r}: give 32 or 64, or leave it out"
        for name in ("most_examples", "attempts"):
            value = getattr(self, name)
            if value is not None and not is_count(value):
                yield f"{name} is {value!r}: give a whole number of at least 1"
        for name in ("corrupt", "dropout"):
            if not is_number(getattr(self, name)) or not 0 <= getattr(self, name) < 1:
                yield f"{name} is {getattr(self, name)!r}: give a share from 0 to below 1"
        if not is_count(self.sigma) or self.sigma > 128:
            yield f"sigma is {self.sigma!r}: give 1 to 128 bits"
        lost: Any = self.lost
        good = isinstance(lost, tuple) and len(lost) in (0, len(STEPS))
        if not good or not all(is_number(p) and 0 <= p < 1 for p in lost):
            yield f"lost is {lost!r}: give a probability from 0 to below 1, or one for each of {', '.join(STEPS)}"
        for name in ("insecure_unsigned", "insecure_honest_server"):
            yield from truth(name, getattr(self, name))
        yield from self._no_graph(sampling)

    def _no_graph(self, sampling: Sampling | None) -> Iterator[str]:
        """Cohorts that no graph hides; of any size, where none is known."""
        if not all(is_number(share) and 0 <= share < 1 for share in (self.corrupt, self.dropout)):
            return
        if not is_count(self.sigma) or self.sigma > 128 or not (self.minimum is None or is_whole(self.minimum, 3)):
            return
        sizes = [LARGE] if sampling is None else [self.fewest(sampling), most_clients(sampling)]
        for size in dict.fromkeys(max(size, 3) for size in sizes):
            try:
                degree(
                    size, self.corrupt, self.dropout, sigma=self.sigma, semi_malicious=not self.insecure_honest_server
                )
            except UsageError as error:
                yield " ".join(str(error).split())
                return

    def _rarely_enough(self, sampling: Sampling, rate: float) -> Iterator[str]:
        """Cohorts that come up with too few clients now and then: each would fail its round."""
        from scipy.stats import binom

        fewest = self.fewest(sampling)
        often = float(binom.cdf(fewest - 1, sampling.of, rate))
        if often > RARE:
            yield (
                f"sums are of {fewest} clients or more, and with {sampling.size:g} expected a cohort has fewer in "
                f"{often:.2g} of the rounds, which would fail: draw larger cohorts, or state a smaller minimum (3 at "
                "least)"
            )

    def ungroupable(self, sampling: Sampling, groups: int) -> Iterator[str]:
        """Why cohorts cannot be split into so many groups, each with a sum of its own."""
        fewest, least = self.fewest(sampling, groups), least_drawn(sampling)
        if groups * fewest > least:
            size = f"{least}" if sampling.rate is None else f"{sampling.size:g} on average, and {least} now and then"
            yield (
                f"{groups} groups, with at least {fewest} clients in each sum, need {groups * fewest} clients, and a "
                f"cohort has {size}: take {least // fewest} groups at most, a larger cohort, or a smaller minimum (3 "
                "at least)"
            )

    def fewest(self, sampling: Sampling, groups: int = 1) -> int:
        """The fewest clients in a sum, of a cohort or of one of its groups."""
        if self.minimum is not None:
            return self.minimum
        half = ceil(sampling.size / groups / 2)
        if sampling.rate is not None:
            from scipy.stats import binom

            half = min(half, int(binom.ppf(RARE / 100, sampling.of, sampling.rate)) // groups)
        return max(FEWEST, half)

    def grid(self, weight: float, sampling: Sampling, groups: int = 1) -> FixedPoint:
        """The grid of sums of reports that are not clipped.

        Args:
            weight: largest weight of a client.
            sampling: how cohorts are drawn.
            groups: into which a cohort is split.

        Raises:
            BitBudgetError: sums could overflow.
        """
        return FixedPoint.fitting(self.range or RANGE, weight, most_clients(sampling, groups), self.bits)

    def clip_bits(self, sampling: Sampling, noisy: bool) -> tuple[int, int]:
        """The bits of a word, and those of a coordinate as large as the clip norm, in private runs.

        Args:
            sampling: how cohorts are drawn.
            noisy: clients add their own noise, for which words of 64 bits have room.

        Raises:
            BitBudgetError: words of 32 bits were asked for, and sums could overflow.
        """
        least, most = CLIPPED
        room = 30 - ceil(log2(most_clients(sampling)))  # two of C / g's values share a power of two
        if self.bits == 64 or (self.bits is None and (noisy or room < least)):
            return 64, most
        if noisy or room < least:
            missing = 64 if noisy else least - room
            count = most_clients(sampling)
            raise BitBudgetError(f"sums of {count} clipped reports need {missing} more bits: take bits=64")
        return 32, min(room, most)


def least_drawn(sampling: Sampling) -> int:
    """Clients in a cohort, but for cohorts so small that they are rare."""
    if sampling.rate is None:
        return int(sampling.size)
    from scipy.stats import binom

    return int(binom.ppf(RARE, sampling.of, sampling.rate))


def _extreme(range: float) -> list[str]:
    good = SMALLEST <= range <= WIDEST
    return [] if good else [f"range is {range!r}: give a number from {SMALLEST:g} to {WIDEST:g}"]


def most_clients(sampling: Sampling, groups: int = 1) -> int:
    """Most clients in a cohort, or in one of its groups."""
    return -(-int(sampling.cap or sampling.size) // groups)


def problems_of(given: Any, sampling: Sampling | None) -> list[str]:
    """What is wrong with an argument that is to be a `SecureSum`."""
    if not isinstance(given, SecureSum):
        return [f"aggregation is {given!r}: give tacit.SecureSum(), or leave it out"]
    return list(given.problems(sampling))

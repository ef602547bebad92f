"""Homomorphic encryption of the sum, as a user asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tacit.aggregation.fixed_point import FixedPoint
from tacit.aggregation.secure_sum import FULL, IDEAL, SecureSum, most_clients
from tacit.aggregation.secure_sum import problems_of as problems_of_sum
from tacit.aggregation.shared_key.parameters import Parameters, library
from tacit.checks import is_number, make_plain
from tacit.errors import UsageError

if TYPE_CHECKING:
    from tacit.selection.cohort import Sampling

STEPS = ("report", "decrypt")
"""Steps of a round at which a silo may be lost."""
NAME = "shared-key BFV"
"""Of the protocol, in what a run says of itself."""
DECRYPT = "any one silo together with the server can decrypt every report"
"""The trust that it takes."""


@dataclass(frozen=True)
class SharedKeySum:
    """The server adds encrypted reports and learns their sum. Any one silo together with it can decrypt everything.

    For a few silos that trust each other not to work with the server: they share one secret key of BFV ([Brakerski12]
    ePrint 2012/078, [FV12] ePrint 2012/144; 128-bit parameters of the HomomorphicEncryption.org standard), which the
    first of them makes and seals for each other one. The server adds ciphertexts, and one silo decrypts the sum. That
    what it decrypts is a sum, it takes the server's word for. `SecureSum` needs no such trust and sends less; here each
    silo sends one message in a round, and one of them a second.

    Sums are those of `SecureSum` with the same settings, bit for bit. It needs `pip install 'tacit[he]'`.

    Args:
        minimum: fewest silos in a sum, as for `SecureSum`.
        range: largest absolute value of a number in a report, as for `SecureSum`.
        protocol: "ideal" computes what the encryption computes, at nearly the speed of a plain sum; "full" encrypts
            every report.
        bits: of a word, 32 or 64; the smaller one that is fine enough when None. Words of 64 bits take two plaintext
            moduli, and so twice the ciphertexts.
        most_examples: a client counts by at most so many of its examples; by the population's largest when None.
        lost: in simulation, the probability that a silo is lost before it reports, and that it is not there to decrypt;
            one number for both, or two.
    """

    minimum: int | None = None
    range: float | None = None
    protocol: str = IDEAL
    bits: int | None = None
    most_examples: int | None = None
    lost: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        make_plain(self)
        given: Any = self.lost
        if is_number(given):
            given = (float(given),)
        if isinstance(given, list | tuple):
            object.__setattr__(self, "lost", tuple(given) * (len(STEPS) if len(given) == 1 else 1))

    @property
    def _like(self) -> SecureSum:
        """The secure sum with the same integers."""
        return SecureSum(self.minimum, self.range, self.protocol, self.bits, self.most_examples)

    @property
    def whole(self) -> bool:
        """Whether every report is encrypted."""
        return self.protocol == FULL

    def problems(self, sampling: Sampling | None = None) -> Iterator[str]:
        """Everything that is wrong with these settings, with cohorts drawn in this way where that is known."""
        yield from self._like.problems(sampling)
        lost: Any = self.lost
        good = isinstance(lost, tuple) and len(lost) in (0, len(STEPS))
        if not good or not all(is_number(p) and 0 <= p < 1 for p in lost):
            yield f"lost is {lost!r}: give a probability from 0 to below 1, or one for each of {', '.join(STEPS)}"
        try:
            library()
        except UsageError as error:
            yield str(error)

    def fewest(self, sampling: Sampling, groups: int = 1) -> int:
        """The fewest silos in a sum; see `SecureSum.fewest`."""
        return self._like.fewest(sampling, groups)

    def grid(self, weight: float, sampling: Sampling, groups: int = 1) -> FixedPoint:
        """The grid of sums of reports that are not clipped; see `SecureSum.grid`.

        Raises:
            BitBudgetError: sums could overflow, or there are too many silos for the encryption.
        """
        found = self._like.grid(weight, sampling, groups)
        Parameters.fitting(found.bits, found.clients)
        return found

    def clip_bits(self, sampling: Sampling, noisy: bool) -> tuple[int, int]:
        """Bits of a word, and of a coordinate as large as the clip norm, in private runs; see `SecureSum.clip_bits`.

        Raises:
            BitBudgetError: see `grid`.
        """
        bits, clip = self._like.clip_bits(sampling, noisy)
        Parameters.fitting(bits, most_clients(sampling))
        return bits, clip


def problems_of(given: Any, sampling: Sampling | None) -> list[str]:
    """What is wrong with an argument that is to be a `SecureSum` or a `SharedKeySum`."""
    return list(given.problems(sampling)) if isinstance(given, SharedKeySum) else problems_of_sum(given, sampling)

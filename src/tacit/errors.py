"""Every error a user can meet: what was wrong, the value, and what to do about it.

All of them derive from `TacitError`. Checks that can be made before anything is computed collect every problem first
(`Problems`) and raise once. Each class carries the exit code with which the command line ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType


class TacitError(Exception):
    """A mistake or a failure that a user can act on. `exit_code` is how the command line ends."""

    exit_code = 1


class TacitWarning(UserWarning):
    """Something that a user should know of, and that the run survived."""


class UsageError(TacitError):
    """An argument, an option or a plan that cannot be carried out as it stands."""

    exit_code = 2


class DataError(TacitError):
    """Data that cannot be learned from: missing, unreadable, truncated, of the wrong shape, or not finite."""

    exit_code = 3


class IncompatibleOptions(UsageError):
    """Two choices, each valid alone, that do not go together. The message says why."""


class MissingExtra(UsageError, ImportError):
    """A part of tacit whose libraries are not installed here: the message names the extra that brings them."""


class RoundFailed(TacitError):
    """A round in which too few reports remained, or whose step is not finite. What was checkpointed can be resumed."""

    exit_code = 4


class StorageError(TacitError):
    """A run, a checkpoint or a report that could not be written or read back."""

    exit_code = 5


class DamagedFile(StorageError):
    """A file of a run that can be read, and is not what was written."""


class SecureAggregationError(TacitError):
    """A message or a request of the secure aggregation that breaks its rules: the session ends, nothing is revealed."""

    exit_code = 7


class UnmaskPolicyError(SecureAggregationError):
    """A request to unmask that would reveal more than one sum over enough clients."""


class ConsistencyError(SecureAggregationError):
    """Clients were told of different survivors, or too few of them confirm that they were not."""


class IdentityError(SecureAggregationError):
    """A key that is unsigned, forged, of low order, used twice, or of somebody whom no accepted authority knows."""


class PolicyError(SecureAggregationError):
    """A session that asks for less protection than a client demands."""


class ShareDecryptError(SecureAggregationError):
    """A sealed share that does not open: it was changed, or is meant for somebody else."""


class ShareVerifyError(SecureAggregationError):
    """A share of a secret that is not what its owner committed to, or cannot be used to rebuild it."""


class MalformedMessage(SecureAggregationError):
    """Bytes that are no message of this protocol."""


class StaleMessage(SecureAggregationError):
    """A message of another session, or of a step that has ended."""


class DuplicateConflict(SecureAggregationError):
    """A second message for one step from the same sender, with other bytes."""


class BitBudgetError(UsageError):
    """Sums that could overflow the integers in which they are computed. The message names the missing bits."""


class OutOfRange(DataError):
    """A report that does not fit the integers in which it is to be summed: not finite, or beyond the stated range."""


class InsufficientSurvivors(RoundFailed):
    """Too few clients were left at a step of the secure aggregation: the sum was abandoned, and nothing of it revealed.

    Attributes:
        phase: the step.
        have: how many were left.
        need: how many it takes.
    """

    def __init__(self, phase: str, have: int, need: int, whom: str = "clients") -> None:
        super().__init__(
            f"secure aggregation, {phase}: {have} {whom} were left, {need} are needed. Nothing was revealed. Ask more "
            "clients, or state a larger dropout"
        )
        self.phase, self.have, self.need, self._whom = phase, have, need, whom

    def __reduce__(self) -> tuple[type[InsufficientSurvivors], tuple[str, int, int, str]]:
        return type(self), (self.phase, self.have, self.need, self._whom)


class PrivacyError(UsageError):
    """A promise of privacy that could not be kept as asked. Nothing was released that would break an earlier one."""

    exit_code = 6


class ClippingRequired(PrivacyError):
    """Noise without a finite clip norm protects nothing."""


class NoiseRequired(PrivacyError):
    """A budget with no noise."""


class UnboundedWeights(PrivacyError):
    """Weights that grow with a client's data: one client could outweigh the noise."""


class SamplerMismatch(PrivacyError):
    """A choice of clients for which the accounting asked for does not hold."""


class DeltaTooLarge(PrivacyError):
    """A delta at which publishing one client's data in clear would be allowed."""


class CapTooTight(PrivacyError):
    """A cap on the cohort so near its mean that it costs privacy."""


class UnregisteredRelease(PrivacyError):
    """Something that depends on the clients' data would leave without clip, noise and accounting."""


class UnboundedState(PrivacyError):
    """State of a model or a loss through which one client changes what others report."""


class Exhausted(PrivacyError):
    """A run was charged for all that it may spend, rounds that were cut off among them."""


class BatchNormBuffers(UnregisteredRelease):
    """Running statistics of a model, which are computed from the clients' data."""


class AdaptiveClipTooNoisy(PrivacyError):
    """An adaptive clip norm whose own noise takes the whole budget."""


class MinSeparationViolated(PrivacyError):
    """A client would take part again sooner, or more often, than the accounting assumes."""


class InsecureRandomness(PrivacyError):
    """Privacy noise from a generator that others can predict."""


class BudgetExceeded(PrivacyError):
    """A release that would spend more than the population's budget over all runs."""


class LedgerMissing(PrivacyError):
    """The ledger does not hold what the run has spent."""


class LedgerForked(PrivacyError):
    """Two continuations of one run."""


class LedgerTampered(PrivacyError):
    """A ledger that is not as it was written."""


class AuditContradiction(PrivacyError):
    """An audit that measured more leakage than is claimed: the claim is wrong."""


class Interrupted(TacitError):
    """The user stopped the run. What was checkpointed can be resumed."""

    exit_code = 130


@dataclass
class Problems:
    """Collects problems and raises them together.

    Used as a context manager, it raises on leaving the block when something was added:

        with Problems("the plan cannot run", UsageError) as problems:
            problems.check(lr > 0, f"lr is {lr!r}: give a positive learning rate")
    """

    title: str
    error: type[TacitError] = UsageError
    found: list[str] = field(default_factory=list)
    shown: int = 20

    def add(self, problem: str) -> None:
        """Records one problem."""
        self.found.append(problem)

    def extend(self, problems: Iterable[str]) -> None:
        """Records several problems."""
        self.found.extend(problems)

    def check(self, holds: bool, problem: str) -> bool:
        """Records `problem` unless `holds`. Returns `holds`."""
        if not holds:
            self.found.append(problem)
        return holds

    def raise_if_any(self) -> None:
        """Raises `error` with every problem found, if there is one."""
        if not self.found:
            return
        lines = [f"  - {problem}" for problem in self.found[: self.shown]]
        if len(self.found) > self.shown:
            lines.append(f"  - and {len(self.found) - self.shown} more")
        count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        raise self.error(f"{self.title} ({count}):\n" + "\n".join(lines))

    def __enter__(self) -> Problems:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if kind is None:
            self.raise_if_any()

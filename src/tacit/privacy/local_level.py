"""Local differential privacy, as a user asks for it: every client adds the noise itself, and trusts nobody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from tacit.errors import PrivacyError
from tacit.privacy.accountant import REPLACE_ONE
from tacit.privacy.user_level import GAUSSIAN, UserLevel

LAPLACE = "laplace"
LOCAL = (GAUSSIAN, LAPLACE)
LONGEST = 10_000
"""Numbers in a report to which Laplace noise may be added: it grows with the 1-norm of a report."""


@dataclass(frozen=True)
class LocalLevel(UserLevel):
    """Every report is clipped and noised by the client that sends it, so that the server may see single reports.

    Neighbours differ in all that one client holds (replace-one), so a report moves by up to 2 C. The noise is that of
    the analytic Gaussian mechanism ([Balle18] arXiv:1805.06530), or Laplace's for short reports clipped in the 1-norm.
    No chance of taking part is credited: `epsilon` is over all rounds in which a client takes part. The noise of n
    clients adds up: it is `sqrt(n)` times that of `UserLevel`, so this is for many clients, few rounds, small models.

    In a simulation the Gaussian noise of a cohort is drawn as one: the sum of independent ones is Gaussian.

    Args:
        epsilon, clip, delta, noise_multiplier, most_examples, population_budget, public_evaluation, insecure_seed: as
            for `UserLevel`; `clip` is a 1-norm with mechanism "laplace".
        mechanism: "gaussian" or "laplace".
        adjacency: "replace-one".
    """

    adjacency: str = REPLACE_ONE
    mechanism: str = GAUSSIAN
    mechanisms: ClassVar[tuple[str, ...]] = LOCAL

    def problems(self, clients: int | None = None) -> Iterator[PrivacyError]:
        """See `UserLevel.problems`."""
        yield from super().problems(clients)
        if self.adjacency != REPLACE_ONE:
            yield PrivacyError(
                f"adjacency is {self.adjacency!r}: the server sees each report, and whose it is, so leave it at "
                f"{REPLACE_ONE!r}"
            )
        for name in ("clip_quantile", "loss_bound", "metrics"):
            if getattr(self, name) not in (None, ()):
                yield PrivacyError(
                    f"{name} is {getattr(self, name)!r}: LocalLevel releases the update alone, leave it out"
                )

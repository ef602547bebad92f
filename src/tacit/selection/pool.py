"""Requirements and turns around any selection, as one table of a plan."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tacit import checks
from tacit.selection.cohort import Selection, Uniform
from tacit.selection.eligible import Eligible
from tacit.selection.spaced import Spaced

TURNS = ("gap", "most")
"""Fields that are about turns; the others are requirements on devices."""


@dataclass(frozen=True)
class Pool:
    """From whom cohorts are drawn: `Spaced(Eligible(selection, ...), ...)`, each only where something of it is asked.

    Args:
        memory, unmetered, charging, version, slowest, unreliable: as of `Eligible`.
        gap, most: as of `Spaced`.
    """

    memory: float | None = None
    unmetered: bool = False
    charging: bool = False
    version: int | None = None
    slowest: float | None = None
    unreliable: float | None = None
    gap: int = 1
    most: int | None = None

    def __post_init__(self) -> None:
        checks.make_plain(self)

    def problems(self) -> list[str]:
        """What is wrong with any of these, for a population that is large enough."""
        return self.around(Uniform(1)).problems(2**62)

    def around(self, selection: Selection) -> Selection:
        """`selection`, drawing from this pool."""
        required = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in TURNS}
        if any(value not in (None, False) for value in required.values()):
            selection = Eligible(selection, **required)
        if self.gap != 1 or self.most is not None:
            selection = Spaced(selection, self.gap, self.most)
        return selection

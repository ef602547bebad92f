"""Where a run takes place: on this machine, unless something else is said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tacit.learning.ladder import Choice
from tacit.privacy.guard import Guard
from tacit.privacy.record_guard import RecordGuard, record_guard_of
from tacit.rounds.enciphering import Enciphering
from tacit.rounds.opening import chosen, opened
from tacit.rounds.securing import Securing, Simulated, Sums, securing_of
from tacit.rounds.server import Server
from tacit.venue.venue import Venue

if TYPE_CHECKING:
    from tacit.federation import Federation


class Place(Protocol):
    """Where reports are made and summed.

    Attributes:
        remembers: whether what clients remember between rounds is kept here; elsewhere each keeps its own.
    """

    remembers: bool

    def sums(self, federation: Federation) -> Sums | None:
        """The secure sums of a run, or None."""
        ...

    def choice(self, federation: Federation, engine: str) -> Choice:
        """The engine of local steps."""
        ...

    def records(
        self, federation: Federation, rounds: int, folder: Path | None, saved: dict[str, Any] | None
    ) -> RecordGuard | None:
        """The guard of the clients' records, where it stands here; None where there is none."""
        ...

    def venue(
        self,
        federation: Federation,
        server: Server,
        choice: Choice,
        *,
        guards: tuple[Guard | None, RecordGuard | None],
        sums: Sums | None,
        losses: bool,
    ) -> Venue:
        """Where a round's reports are made."""
        ...

    def pool(self, round: int, down: Tensor) -> NDArray[np.bool_] | None:
        """(N,) who can be asked in a round with this broadcast; waits until enough can. None: everybody."""
        ...


class Here:
    """This machine: threads or processes, in which all clients are trained."""

    remembers = True

    def sums(self, federation: Federation) -> Simulated | None:
        """See `Place.sums`."""
        return securing_of(federation)

    def choice(self, federation: Federation, engine: str) -> Choice:
        """See `Place.choice`."""
        return chosen(federation, engine)

    def records(
        self, federation: Federation, rounds: int, folder: Path | None, saved: dict[str, Any] | None
    ) -> RecordGuard | None:
        """See `Place.records`."""
        return record_guard_of(federation, rounds, folder, saved)

    def venue(
        self,
        federation: Federation,
        server: Server,
        choice: Choice,
        *,
        guards: tuple[Guard | None, RecordGuard | None],
        sums: Sums | None,
        losses: bool,
    ) -> Venue:
        """See `Place.venue`."""
        assert sums is None or isinstance(sums, Securing | Enciphering), "sums of another place"
        return opened(federation, server, choice, guards=guards, sums=sums, losses=losses)

    def pool(self, round: int, down: Tensor) -> None:
        """See `Place.pool`."""

"""What can go wrong with a coordinator's journal, beyond a disk or a database that fails."""

from __future__ import annotations

from tacit.errors import StorageError, TacitError


class LeaseHeld(StorageError):
    """Another coordinator leads with this journal.

    Attributes:
        holder: how it calls itself.
        until: when its lease ends if it does not renew it, in seconds since 1970.
    """

    def __init__(self, where: str, holder: str, until: float, now: float) -> None:
        super().__init__(
            f"the journal {where} is held by {holder!r}, whose lease ends in {max(0.0, until - now):.1f} seconds "
            "unless it renews it: stop that coordinator first, or give this one a journal of its own"
        )
        self.holder, self.until = holder, until


class Fenced(StorageError):
    """A coordinator that is no longer the holder of its journal: nothing that it writes is taken."""


class Away(StorageError):
    """Something cannot be written or read for now: what failed may go right when it is tried again."""


class IllegalMove(TacitError):
    """A step of a round that its state does not allow. Nothing was written."""

"""The server between silos that share a key: it carries boxes that it cannot open, and adds ciphertexts.

It has no key. What it adds it cannot read; and what one of the silos would decrypt for it out of turn, it could.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tacit.aggregation.shared_key.cipher import Adder
from tacit.aggregation.shared_key.messages import Answer, Joined, Question, Report, roster_of
from tacit.aggregation.shared_key.roster import MAKER, Roster, require
from tacit.aggregation.shared_key.settings import Settings
from tacit.errors import DuplicateConflict, IdentityError, InsufficientSurvivors, StaleMessage


class Server:
    """The server in one run.

    Args:
        settings: of the run.
        authorities: whose word for a silo's identity it takes; public keys, 32 bytes.
    """

    def __init__(self, settings: Settings, authorities: tuple[bytes, ...]) -> None:
        self.settings, self._authorities = settings, authorities
        self._entries: dict[str, bytes] = {}
        self._roster: Roster | None = None
        self._round, self._members, self._adder = -1, set[int](), Adder(settings.parameters, settings.length)

    def take_joined(self, name: str, data: bytes) -> None:
        """A silo's key.

        Raises:
            MalformedMessage, IdentityError, StaleMessage, DuplicateConflict: it is refused.
        """
        if self._roster is not None:
            raise StaleMessage(f"{name!r} comes after the roster was closed")
        found = Joined.decode(data)
        if found.name != name:
            raise IdentityError(f"{name!r} sent the key of {found.name!r}")
        require(found, self.settings, self._authorities)
        if self._entries.setdefault(name, data) != data:
            raise DuplicateConflict(f"{name!r} sent a second key")

    def close_joined(self) -> bytes:
        """The roster, for everybody.

        Raises:
            InsufficientSurvivors: too few joined.
        """
        if len(self._entries) < self.settings.minimum:
            raise InsufficientSurvivors("joining", len(self._entries), self.settings.minimum, "silos")
        data = roster_of([self._entries[name] for name in sorted(self._entries)])
        self._roster = Roster(self.settings, data, self._authorities, len(self._entries))
        return data

    @property
    def roster(self) -> Roster:
        """Who shares the key."""
        if self._roster is None:
            raise StaleMessage("the roster is not closed yet")
        return self._roster

    def boxes(self, name: str, boxes: Mapping[str, bytes]) -> dict[str, bytes]:
        """What the first silo sealed, for each of the others to get.

        Raises:
            IdentityError: another silo sent it, or one is left out.
        """
        maker, others = self.roster.names[MAKER], self.roster.names[1:]
        if name != maker or set(boxes) != set(others):
            raise IdentityError(f"{name!r} sealed keys for {len(boxes)} silos: {maker!r} does, for {len(others)}")
        return dict(boxes)

    def begin(self, round: int) -> None:
        """Opens a round."""
        self._round, self._members = round, set()
        self._adder = Adder(self.settings.parameters, self.settings.length)

    def take_report(self, name: str, data: bytes) -> None:
        """A silo's report, added.

        Raises:
            MalformedMessage, IdentityError, StaleMessage, DuplicateConflict: it is refused, and nothing was added.
        """
        parameters, index = self.settings.parameters, self._index(name)
        count = parameters.ciphertexts(self.settings.length)
        found = Report.decode(data, count, parameters.ciphertext_bytes)
        self._require(found.session, found.round)
        self.roster.verify(index, found.signature, found.signed)
        if index in self._members:
            raise DuplicateConflict(f"{name!r} reported in this round already")
        self._adder.add(found.ciphertexts)
        self._members.add(index)

    @property
    def members(self) -> list[str]:
        """The silos in the sum so far."""
        return [self.roster.names[index] for index in sorted(self._members)]

    def question(self) -> bytes:
        """The encrypted sum, for one of its silos.

        Raises:
            InsufficientSurvivors: too few reported.
        """
        if len(self._members) < self.settings.minimum:
            raise InsufficientSurvivors("uploading", len(self._members), self.settings.minimum, "silos")
        members, names = tuple(sorted(self._members)), self.roster.names
        ciphertexts = tuple(self._adder.total())
        return Question(self.roster.session, self._round, members, len(names), ciphertexts).encode()

    def take_answer(self, name: str, data: bytes) -> NDArray[np.int64]:
        """The sum, (m,).

        Raises:
            MalformedMessage, IdentityError, StaleMessage: it is refused.
        """
        found = Answer.decode(data, self.settings.length, self.settings.bits)
        self._require(found.session, found.round)
        self.roster.verify(self._index(name), found.signature, found.signed)
        return found.words.astype(np.int64)

    def _index(self, name: str) -> int:
        if name not in self.roster.names:
            raise IdentityError(f"{name!r} is not in the roster of this run")
        return self.roster.names.index(name)

    def _require(self, session: bytes, round: int) -> None:
        if session != self.roster.session or round != self._round:
            raise StaleMessage("the message is of another run or round")

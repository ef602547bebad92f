"""The roll: who is enrolled, who is there, and who has approved the terms."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tacit.network.consent.approvals import holds
from tacit.network.journal import Participant, Standing
from tacit.network.office import CheckIn, Code, Refused

WORDS = 64
"""Versions and engines that are kept once for all who say them."""


@dataclass(slots=True)
class Presence:
    """What is known of one participant.

    Attributes:
        key: its public key.
        position: in the order of enrolment.
        standing: whether it may take part.
        reason: why not.
        incarnation: its process; empty before it was heard of.
        seen: when it was heard of last, by a clock that only grows.
        approved: hash of the terms that it has approved.
        version, engine, note: what it says of itself.
    """

    key: bytes
    position: int
    standing: Standing
    reason: str = ""
    incarnation: str = ""
    seen: float = float("-inf")
    approved: str = ""
    version: str = ""
    engine: str = ""
    note: str = ""


class Roll:
    """All participants of a coordinator. Used by the event loop and by the rounds' thread.

    Args:
        known: who was enrolled before.
        absence: seconds without a word after which one counts as gone.
        clock: seconds that only grow.
    """

    def __init__(
        self, known: Iterable[Participant], absence: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._absence, self._clock = absence, clock
        self._lock = threading.Lock()
        self._present: dict[str, Presence] = {}
        self._words: dict[str, str] = {}
        self.approvals = 0
        """How many have approved the terms and say of nothing that keeps them from training, there or not."""
        for one in known:
            self.add(one)

    def add(self, one: Participant) -> None:
        """Takes a participant in, or notes what has become of it."""
        with self._lock:
            before = self._present.get(one.name)
            if before is None:
                self._present[one.name] = Presence(one.key, one.position, one.state, one.reason)
            else:
                before.standing, before.reason = one.state, one.reason

    def key_of(self, name: str) -> bytes:
        """See `Office.key_of`."""
        with self._lock:
            found = self._present.get(name)
            if found is None:
                raise Refused(Code.UNSIGNED, f"{name[:100]!r} is not enrolled here", "enrol first, with a token")
            if found.standing is not Standing.ACTIVE:
                raise Refused(Code.REVOKED, f"{name!r} is {found.standing}: {found.reason}", "ask the operator")
            return found.key

    def seen(self, name: str, said: CheckIn, terms: str) -> bool:
        """Notes what a participant says of itself. Returns whether it is another process than before."""
        with self._lock:
            one = self._present[name]
            before, fresh = _willing(one), bool(one.incarnation) and one.incarnation != said.incarnation
            one.incarnation, one.seen = said.incarnation, self._clock()
            one.version, one.engine = self._same(said.version[:64]), self._same(said.engine[:32])
            one.note = said.note[:500]
            if said.terms != one.approved:
                good = said.terms == terms and holds(one.key, name, terms, said.approval)
                one.approved = terms if good else ""
            self.approvals += _willing(one) - before
            return fresh

    def _same(self, word: str) -> str:
        """A word that many say, kept once; of a peer that says ever new ones only some are."""
        if len(self._words) >= WORDS and word not in self._words:
            return word
        return self._words.setdefault(word, word)

    def touch(self, name: str) -> None:
        """Notes that something was heard of a participant."""
        with self._lock:
            if name in self._present:
                self._present[name].seen = self._clock()

    def process(self, name: str) -> str | None:
        """The process of a participant that is there; None where it is gone."""
        with self._lock:
            one = self._present.get(name)
            return one.incarnation if one is not None and self._is_there(one) else None

    def ready(self, terms: str) -> list[str]:
        """Who is there, has approved these terms, and says of nothing that keeps it from training."""
        with self._lock:
            every = self._present.items()
            return sorted(n for n, one in every if one.approved == terms and not one.note and self._is_there(one))

    def active(self, names: Iterable[str]) -> int:
        """How many of these may still take part: neither revoked nor withdrawn."""
        with self._lock:
            return sum(self._present[name].standing is Standing.ACTIVE for name in names if name in self._present)

    def counts(self, terms: str) -> dict[str, int]:
        """How many are enrolled, approved, online, withdrawn and revoked."""
        with self._lock:
            every = list(self._present.values())
            active = [one for one in every if one.standing is Standing.ACTIVE]
            return {
                "enrolled": len(active),
                "approved": sum(one.approved == terms for one in active),
                "online": sum(self._is_there(one) for one in active),
                "withdrawn": sum(one.standing is Standing.WITHDRAWN for one in every),
                "revoked": sum(one.standing is Standing.REVOKED for one in every),
            }

    def versions(self) -> dict[str, int]:
        """How many say that they are of each version, those only of which nobody is alone named by it."""
        with self._lock:
            return dict(Counter(one.version for one in self._present.values() if one.version))

    def names(self) -> list[str]:
        """Of all who may take part."""
        with self._lock:
            return [name for name, one in self._present.items() if one.standing is Standing.ACTIVE]

    def notes(self) -> dict[str, str]:
        """Why some do not take part, in their own words."""
        with self._lock:
            return {name: one.note for name, one in self._present.items() if one.note}

    def keys(self, names: Iterable[str]) -> list[bytes]:
        """The public keys of these."""
        with self._lock:
            return [self._present[name].key for name in names]

    def _is_there(self, one: Presence) -> bool:
        return one.standing is Standing.ACTIVE and self._clock() - one.seen <= self._absence


def _willing(one: Presence) -> bool:
    return bool(one.approved) and not one.note

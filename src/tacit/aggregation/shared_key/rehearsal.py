"""A whole run in one process: all silos and the server, byte for byte as a network would carry it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tacit.aggregation.secure.identity import Authority
from tacit.aggregation.shared_key.cipher import Int, Keyring
from tacit.aggregation.shared_key.messages import Answer, Box, Joined, Question, Report, roster_of
from tacit.aggregation.shared_key.roster import MAKER
from tacit.aggregation.shared_key.server import Server
from tacit.aggregation.shared_key.settings import Policy, Settings
from tacit.aggregation.shared_key.silo import Silo
from tacit.errors import InsufficientSurvivors

SEALED = 5 + 16
"""Bytes that a box adds to the keys in it: their head, and a tag."""


class Rehearsal:
    """One run among named silos: the key is made and shared when this is.

    Args:
        settings: of the run.
        names: of the silos, in order.

    Attributes:
        up, down: bytes sent and received, by kind of message, over all silos and rounds.
    """

    def __init__(self, settings: Settings, names: Sequence[str]) -> None:
        self.up: Counter[str] = Counter()
        self.down: Counter[str] = Counter()
        authority = Authority(os.urandom)
        policy = Policy(settings.minimum, (authority.key,), len(names))
        self.silos = {name: Silo(settings, authority.identity(name, os.urandom), policy) for name in names}
        self.server = Server(settings, policy.authorities)
        for name, silo in self.silos.items():
            self.server.take_joined(name, self._sent("joined", silo.join()))
        roster = self.server.close_joined()
        maker = self.server.roster.names[MAKER]
        made: dict[str, bytes] = {}
        for silo in self.silos.values():
            made |= silo.meet(self._received("roster", roster))
        self.up["boxes"] += sum(map(len, made.values()))
        for name, box in self.server.boxes(maker, made).items():
            self.silos[name].unwrap(self._received("box", box))

    def report(self, name: str, round: int, vector: Int) -> None:
        """A silo's vector, encrypted and added."""
        self.server.take_report(name, self._sent("report", self.silos[name].encrypt(round, vector)))

    def finish(self, there: Sequence[str]) -> NDArray[np.int64]:
        """The sum, (m,), which the first silo decrypts that is in it and still there.

        Raises:
            InsufficientSurvivors: too few reported, or none of them is there.
        """
        question = self.server.question()
        able = [name for name in self.server.members if name in there]
        if not able:
            raise InsufficientSurvivors("decrypting", 0, 1, "silos")
        answer = self.silos[able[0]].decrypt(self._received("question", question))
        return self.server.take_answer(able[0], self._sent("answer", answer))

    def _sent(self, kind: str, data: bytes) -> bytes:
        self.up[kind] += len(data)
        return data

    def _received(self, kind: str, data: bytes) -> bytes:
        self.down[kind] += len(data)
        return data


def traffic(settings: Settings, silos: int, name: str) -> dict[str, dict[str, int]]:
    """Bytes of each message: `bytes_up` and `bytes_down` of every silo in a round, `bytes_decrypting` of the one that
    decrypts its sum, `bytes_once` of what is sent once in a run.

    Ciphertexts are compressed, so their size is that of one that is made here, give or take a few bytes.

    Args:
        settings: of the run.
        silos: in the roster.
        name: of a silo.
    """
    keyring, identity = Keyring.made(settings.parameters), Authority(os.urandom).identity(name, os.urandom)
    each = tuple(keyring.encrypt(np.zeros(1, np.int64))[:1]) * settings.parameters.ciphertexts(settings.length)
    session, words = bytes(32), np.zeros(settings.length, f"<i{settings.bits // 8}")
    joined = Joined(settings.digest, name, bytes(32), identity.key, identity.certificate).encode()
    box = len(Box(session, bytes(SEALED + sum(4 + len(secret) for secret in keyring.secrets()))).encode())
    return {
        "bytes_up": {"report": len(Report(session, 0, each).encode())},
        "bytes_down": {},
        "bytes_decrypting": {
            "question": len(Question(session, 0, (0,), silos, each).encode()),
            "answer": len(Answer(session, 0, words).encode()),
        },
        "bytes_once": {
            "joined": len(joined),
            "roster": len(roster_of([joined] * silos)),
            "boxes": (silos - 1) * box,
            "box": box,
        },
    }

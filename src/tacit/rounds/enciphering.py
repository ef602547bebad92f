"""Sums under a key that silos share, in simulation: who is lost, who counts, and the encryption where it is wanted."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.aggregation.fixed_point import centred
from tacit.aggregation.homomorphic import DECRYPT, NAME, SharedKeySum
from tacit.aggregation.shared_key.parameters import DEGREE, SECURITY
from tacit.aggregation.shared_key.rehearsal import Rehearsal, traffic
from tacit.aggregation.shared_key.settings import Settings
from tacit.errors import InsufficientSurvivors
from tacit.venue.fold import Total

Int = NDArray[np.int64]


@dataclass
class Enciphering:
    """The sums of one run.

    Args:
        how: as the user asks for it.
        minimum: fewest silos in a sum.
        most: most silos in a sum.
        silos: that share the key: all of the population.
        bits: of a word.
        length: words in a vector.
        layout: digest of how it is laid out.
        seed: of the run.
    """

    how: SharedKeySum
    minimum: int
    most: int
    silos: int
    bits: int
    length: int
    layout: bytes
    seed: int
    _run: bytes = field(default_factory=lambda: os.urandom(16))
    _open: _Session | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def announce(self, round: int, clients: Int, down: Tensor) -> None:
        """See `tacit.rounds.securing.Sums.announce`: here nothing follows from it."""

    def session(self, round: int, clients: Int, down: Tensor, group: int = 0, share: object = None) -> _Session:
        """The session of a round, with its losses drawn.

        Args:
            round: from 0.
            clients: (K,) the cohort.
            down: the broadcast; nothing depends on it.
            group: 0, for there is one sum.
            share: None, for clients add no noise under it.

        Raises:
            InsufficientSurvivors: too few silos are left to report.
        """
        here = self._here(round, len(clients))
        asked = clients[here[0]]
        self._require(len(asked))
        rehearsal = self._rehearsal if self.whole else None
        if rehearsal is not None:
            rehearsal.server.begin(round)
        self._open = _Session(self, round, asked, clients[here[1]], rehearsal)
        return self._open

    def take(self, clients: Int, integers: Tensor) -> None:
        """Uploads of the clients (K,) of a block, (K, m) whole numbers: where reports are encrypted.

        Venues may call this from several threads.
        """
        assert self._open is not None, "no session is open"
        with self._turn:
            for client, row in zip(clients, integers.numpy(), strict=True):
                self._rehearsal.report(_name(client), self._open.round, row)

    def facts(self, clients: int) -> dict[str, Any]:
        """What the run says of it: JSON values."""
        parameters = self.settings.parameters
        return {
            "protocol": NAME,
            "simulated": self.how.protocol,
            "who_can_decrypt": DECRYPT,
            "minimum": self.minimum,
            "silos": self.silos,
            "bits": self.bits,
            "words": self.length,
            "ring_degree": DEGREE,
            "security_bits": SECURITY,
            "plaintext_moduli": list(parameters.moduli),
            "ciphertext_modulus_bits": parameters.modulus_bits,
            "lost": list(self.how.lost),
            **self._traffic,
        }

    @property
    def whole(self) -> bool:
        """Whether every report is encrypted."""
        return self.how.whole

    @cached_property
    def settings(self) -> Settings:
        """What the silos agree on."""
        return Settings(self._run, self.length, self.bits, self.minimum, self.most, self.layout)

    @cached_property
    def _traffic(self) -> dict[str, dict[str, int]]:
        return traffic(self.settings, self.silos, _name(0))

    @cached_property
    def _rehearsal(self) -> Rehearsal:
        return Rehearsal(self.settings, [_name(c) for c in range(self.silos)])

    def _here(self, round: int, count: int) -> NDArray[np.bool_]:
        """Who is there to report, and who to decrypt, (2, K)."""
        if not any(self.how.lost):
            return np.ones((2, count), dtype=bool)
        coins = keys.generator(self.seed, "lost", round, 0).random((count, len(self.how.lost)))
        here: NDArray[np.bool_] = np.logical_and.accumulate(coins >= np.array(self.how.lost), axis=1).T
        return here

    def _require(self, have: int) -> None:
        if have < self.minimum:
            raise InsufficientSurvivors("uploading", have, self.minimum, "silos")


@dataclass
class _Session:
    """One round's sum."""

    sums: Enciphering
    round: int
    asked: Int
    there: Int
    rehearsal: Rehearsal | None

    def close(self, total: Total, failed: Int) -> Total:
        """See `tacit.rounds.securing.Session`."""
        self.sums._require(len(self.asked) - len(failed))
        if not np.isin(self.there, failed, invert=True).any():
            raise InsufficientSurvivors("decrypting", 0, 1, "silos")
        if self.rehearsal is None:
            return replace(total, total=centred(total.total, self.sums.bits))
        there = {_name(c) for c in np.setdiff1d(self.asked, failed)}
        for name in sorted(there - set(self.rehearsal.server.members)):  # that say nothing of why they have no report
            self.rehearsal.report(name, self.round, np.zeros(self.sums.length, np.int64))
        return replace(total, total=torch.from_numpy(self.rehearsal.finish([_name(c) for c in self.there])))


def _name(client: Any) -> str:
    """What a silo is called among the others: its place, for ids may say who somebody is."""
    return f"{int(client):010d}"

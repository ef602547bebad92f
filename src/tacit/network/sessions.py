"""A participant's part in secure sums: one client for each session, from its keys to the one answer that unmasks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.secure.client import Client
from tacit.aggregation.secure.config import Policy
from tacit.aggregation.secure.identity import Identity
from tacit.errors import PolicyError, StaleMessage
from tacit.network.office import Kind
from tacit.rounds.securing import Securing

Key = tuple[int, int]
"""Round and attempt: in each a client is in one session."""

MOST = 5
"""In so many attempts of one round its report may be unmasked: each tells another sum of the same report."""


@dataclass
class _Session:
    client: Client
    report: NDArray[np.int64] | None


class Sessions:
    """The sessions of one run.

    Args:
        securing: their settings, as this side derives them from the terms.
        identity: of this participant.
        policy: what it demands of a session.
    """

    def __init__(self, securing: Securing, identity: Identity, policy: Policy) -> None:
        self._securing, self._identity, self._policy = securing, identity, policy
        self._open: dict[Key, _Session] = {}
        self._unmasked: Counter[int] = Counter()

    def require_willing(self, round: int) -> None:
        """Looks at how often this round was unmasked.

        Raises:
            PolicyError: as often as this participant lets it be.
        """
        if self._unmasked[round] >= MOST:
            raise PolicyError(
                f"round {round + 1} was unmasked {MOST} times with this participant's report: it takes part in no "
                "further attempt"
            )

    def begin(self, key: Key, report: Tensor, model: bytes) -> bytes:
        """A new session with a report; those of earlier attempts are forgotten. Returns an `Advertise`.

        Args:
            key: which.
            report: (m,) whole numbers.
            model: digest of what it was trained from.

        Raises:
            PolicyError: the session protects this client less than it demands.
        """
        round, attempt = key
        self.require_willing(round)
        for old in list(self._open):
            self._open.pop(old).client.abort()
        config, layout = self._securing.config(round, attempt), self._securing.layout
        client = Client(config, self._identity.name, model, self._policy, self._identity, layout=layout)
        self._open[key] = _Session(client, report.numpy())
        return client.advertise()

    def answer(self, kind: Kind, key: Key, message: bytes) -> bytes:
        """What this client answers to a message.

        Raises:
            SecureAggregationError, InsufficientSurvivors: the message is refused; the session is over.
        """
        session = self._open.get(key)
        if session is None:
            raise StaleMessage("this session's keys are not here: it was begun by an earlier process, or is over")
        client = session.client
        if kind is Kind.SHARE:
            return client.share(message)
        if kind is Kind.MASK:
            if session.report is None:
                raise StaleMessage("the report of this session was masked before")
            masked = client.mask(message, session.report)
            session.report = None
            return masked
        if kind is Kind.CONFIRM:
            return client.confirm(message)
        answer = client.unmask(message)
        self._unmasked[key[0]] += 1
        return answer

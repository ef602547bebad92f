"""What secure aggregation computes, without its cryptography: who counts, when some are lost, and when it gives up.

The ideal functionality of the protocol beside it: the same steps, the same minimum and threshold, the same graph rule,
hence the same sums and the same refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tacit.aggregation.secure.client import Step
from tacit.aggregation.secure.graph import Degree, ring
from tacit.errors import InsufficientSurvivors

Mask: TypeAlias = NDArray[np.bool_]
Around: TypeAlias = Callable[[Mask], NDArray[np.int64]]
"""How many members are in the closed neighbourhood of each client, (n,)."""


@dataclass(frozen=True)
class Ideal:
    """A session among clients 0 to n - 1, as if somebody whom all trust computed it.

    Attributes:
        minimum: fewest clients in a sum.
        degree: neighbours and threshold, by the length of the roster.
        seed: of the graph, 32 bytes.
        signed: survivors are confirmed before anything is unmasked.
    """

    minimum: int
    degree: Callable[[int], Degree]
    seed: bytes
    signed: bool = True

    def uploading(self, clients: Sequence[int], lost: Mapping[int, Step]) -> list[int]:
        """The clients that are to upload.

        Args:
            clients: of the cohort, in the order of the roster.
            lost: the first step that a client does not do.

        Raises:
            InsufficientSurvivors: too few are left.
        """
        roster, steps, around, need = self._begun(clients, lost)
        return [int(client) for client in roster[self._masked(steps, around, need)]]

    def counted(self, clients: Sequence[int], lost: Mapping[int, Step]) -> list[int]:
        """The clients that are in the sum.

        Raises:
            InsufficientSurvivors: too few are left at some step, or too few shares of a secret come back.
        """
        roster, steps, around, need = self._begun(clients, lost)
        sharing = steps > Step.SHARE
        survivors = self._masked(steps, around, need)
        self._require("uploading", survivors)
        answering = survivors & (around(survivors) >= need)
        if self.signed:
            confirming = answering & (steps > Step.CONFIRM)
            self._require("confirming", confirming)
            answering = confirming & (around(confirming) >= need)
        answering &= steps > Step.UNMASK
        self._require("unmasking", answering)
        asked = survivors | (sharing & (around(survivors) > 0))
        have = around(answering)
        short = np.flatnonzero(asked & (have < need))
        if short.size:
            raise InsufficientSurvivors("unmasking", int(have[short[0]]), need, "shares of one client's secret")
        return [int(client) for client in roster[survivors]]

    def _begun(
        self, clients: Sequence[int], lost: Mapping[int, Step]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Around, int]:
        """The roster, the first step that each in it does not do, its neighbourhoods, and the threshold."""
        everybody = np.array(clients, dtype=np.int64)
        steps = np.full(len(everybody), int(Step.OVER))
        if lost:
            steps = np.array([int(lost.get(client, Step.OVER)) for client in everybody.tolist()], dtype=np.int64)
        there = steps > Step.ADVERTISE
        self._require("advertising keys", there)
        roster, steps = everybody[there], steps[there]
        self._require("sharing secrets", steps > Step.SHARE)
        degree = self.degree(len(roster))
        return roster, steps, self._around(len(roster), degree.neighbours), degree.threshold

    def _around(self, count: int, k: int) -> Around:
        if k == count - 1:
            return lambda members: np.full(count, int(members.sum()))
        order = np.array(ring(self.seed, count).order)

        def of_ring(members: Mask) -> NDArray[np.int64]:
            """Sums over windows of k + 1 places, the client in the middle."""
            line = members[order].astype(np.int64)
            laid = np.concatenate([[0], np.cumsum(np.concatenate([line[-(k // 2) :], line, line[: k // 2]]))])
            found = np.empty(count, np.int64)
            found[order] = laid[k + 1 :] - laid[:count]
            return found

        return of_ring

    def _masked(self, steps: NDArray[np.int64], around: Around, need: int) -> Mask:
        return (steps > Step.MASK) & (around(steps > Step.SHARE) >= need)

    def _require(self, phase: str, left: Mask) -> None:
        if int(left.sum()) < self.minimum:
            raise InsufficientSurvivors(phase, int(left.sum()), self.minimum)

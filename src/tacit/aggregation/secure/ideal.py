"""What secure aggregation computes, without its cryptography: who counts, when some are lost, and when it gives up.

The ideal functionality of the protocol beside it: the same steps, the same minimum and threshold, the same graph rule,
hence the same sums and the same refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from tacit.aggregation.secure.client import Step
from tacit.aggregation.secure.graph import Degree, neighbours
from tacit.errors import InsufficientSurvivors

Holders = Callable[[int], Collection[int]]


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
        return self._masked(*self._shared(clients, lost), lost)

    def counted(self, clients: Sequence[int], lost: Mapping[int, Step]) -> list[int]:
        """The clients that are in the sum.

        Raises:
            InsufficientSurvivors: too few are left at some step, or too few shares of a secret come back.
        """
        roster, sharing, holders = self._shared(clients, lost)
        need = self.degree(len(roster)).threshold
        survivors = self._masked(roster, sharing, holders, lost)
        self._require("uploading", survivors)
        inside = set(survivors)
        answering = inside
        if self.signed:
            confirming = {c for c in survivors if _left(c, lost, Step.CONFIRM) and _near(holders(c), inside) >= need}
            self._require("confirming", confirming)
            answering = {c for c in confirming if _near(holders(c), confirming) >= need}
        else:
            answering = {c for c in survivors if _near(holders(c), inside) >= need}
        answering = {c for c in answering if _left(c, lost, Step.UNMASK)}
        self._require("unmasking", answering)
        for owner in sharing:
            if owner in inside or _near(holders(owner), inside):
                have = _near(holders(owner), answering)
                if have < need:
                    raise InsufficientSurvivors("unmasking", have, need, "shares of one client's secret")
        return survivors

    def _shared(self, clients: Sequence[int], lost: Mapping[int, Step]) -> tuple[list[int], list[int], Holders]:
        """The roster, who shared secrets, and who holds whose."""
        roster = [c for c in clients if _left(c, lost, Step.ADVERTISE)]
        self._require("advertising keys", roster)
        sharing = [c for c in roster if _left(c, lost, Step.SHARE)]
        self._require("sharing secrets", sharing)
        count, place = len(roster), {c: index for index, c in enumerate(roster)}
        k = self.degree(count).neighbours
        everybody = frozenset(roster)

        def holders(client: int) -> Collection[int]:
            if k == count - 1:
                return everybody
            return [client, *(roster[j] for j in neighbours(self.seed, count, k, place[client]))]

        return roster, sharing, holders

    def _masked(self, roster: list[int], sharing: list[int], holders: Holders, lost: Mapping[int, Step]) -> list[int]:
        inside, need = set(sharing), self.degree(len(roster)).threshold
        return [c for c in sharing if _left(c, lost, Step.MASK) and _near(holders(c), inside) >= need]

    def _require(self, phase: str, left: Collection[int]) -> None:
        if len(left) < self.minimum:
            raise InsufficientSurvivors(phase, len(left), self.minimum)


def _left(client: int, lost: Mapping[int, Step], step: Step) -> bool:
    return lost.get(client, Step.OVER) > step


def _near(holders: Collection[int], members: set[int]) -> int:
    """How many holders are among the members."""
    if isinstance(holders, frozenset):
        return len(members & holders)
    return sum(holder in members for holder in holders)

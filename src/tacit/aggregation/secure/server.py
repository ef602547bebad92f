"""The server of secure aggregation: it collects, forwards, adds, and in the end learns one sum.

It holds one vector, however many clients there are: each upload is added as it comes. Whoever is late is told so. Where
too few are left at any step the session ends: there is no partial answer, and no other way to the sum.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from tacit.aggregation.secure import keys, prg, shamir
from tacit.aggregation.secure.config import Config
from tacit.aggregation.secure.identity import verified
from tacit.aggregation.secure.messages import (
    Advertise,
    Confirm,
    Confirmed,
    Inbox,
    Masked,
    Roster,
    Shares,
    Survivors,
    Unmask,
    digest_of,
    statement,
)
from tacit.aggregation.secure.roster import Members, require_identity, require_unlike
from tacit.errors import (
    ConsistencyError,
    DuplicateConflict,
    IdentityError,
    InsufficientSurvivors,
    MalformedMessage,
    ShareVerifyError,
    StaleMessage,
    UsageError,
)


class Phase(IntEnum):
    """What the server waits for."""

    ADVERTISE = 0
    SHARE = 1
    MASK = 2
    CONFIRM = 3
    UNMASK = 4
    OVER = 5


class Server:
    """The server in one session. Every `take_...` method reads one client's message; what closes a step answers it.

    Args:
        config: the session's settings.
        authorities: public keys of those whose word for a client's identity it takes.
        workers: threads that remove masks; all cores when None.
        most: clients that it takes.

    Attributes:
        phase: what it waits for.
        sharing: roster indices of those who shared their secrets (U2).
        survivors: of those whose vectors are in the sum (U3).
        answering: of those who answered the last step.
        blamed: clients that sent shares which their owners had not committed to. They lie, or those owners do.
    """

    def __init__(
        self,
        config: Config,
        authorities: Collection[bytes] = (),
        workers: int | None = None,
        most: int = 100_000,
    ) -> None:
        for problem in config.problems():
            raise UsageError(f"no session can have these settings: {problem}")
        self.config, self.phase = config, Phase.ADVERTISE
        self.sharing: tuple[int, ...] = ()
        self.survivors: tuple[int, ...] = ()
        self.answering: tuple[int, ...] = ()
        self.blamed: list[str] = []
        self._authorities, self._workers, self._most = frozenset(authorities), workers, most
        self._seen: dict[tuple[Phase, str], bytes] = {}
        self._print = os.urandom(keys.PRINT)
        self._advertised: dict[str, Advertise] = {}
        self._shares: dict[int, Shares] = {}
        self._signatures: dict[int, bytes] = {}
        self._collected: dict[int, dict[int, bytes]] = {}
        self._uploaded: set[int] = set()
        self._answered: set[int] = set()
        self._owners: dict[bytes, str] = {}
        self._index: dict[str, int] = {}
        self._sum: NDArray[Any] = np.zeros(config.length, dtype=f"<u{config.bits // 8}")

    @property
    def members(self) -> Members:
        """The roster, once it is closed.

        Raises:
            StaleMessage: it is open.
        """
        if not self._index:
            raise StaleMessage("the roster is not closed yet")
        return self._members

    def take_advertise(self, sender: str, data: bytes) -> None:
        """A client's keys.

        Raises:
            IdentityError: they are not its own, or worth nothing.
            StaleMessage, DuplicateConflict, MalformedMessage: the message is refused.
        """
        if not self._is_new(Phase.ADVERTISE, sender, data):
            return
        client = Advertise.decode(data)
        if client.name != sender:
            raise IdentityError(f"{sender!r} sends the keys of {client.name!r}")
        if client.config != self.config.digest:
            raise StaleMessage(f"{sender!r} signed the settings of another session")
        if len(self._advertised) >= self._most:
            raise IdentityError(f"the session is full: {self._most} clients are in it")
        for key in (client.seal_key, client.mask_key):
            keys.require_order(key, sender)
        if self.config.signed:
            require_identity(client, self._authorities)
        elif client.certificate is not None:
            raise IdentityError(f"{sender!r} has an identity in a session without")
        require_unlike(client, self._owners)
        self._owners |= dict.fromkeys(client.keys, sender)
        self._advertised[sender] = client
        self._note(Phase.ADVERTISE, sender, data)

    def close_advertise(self) -> bytes:
        """The roster, for all in it.

        Raises:
            InsufficientSurvivors: too few.
            UsageError: for so many clients there is no graph.
        """
        self._leave(Phase.ADVERTISE, "advertising keys", len(self._advertised))
        self.config.degree(len(self._advertised))
        roster = Roster(tuple(self._advertised[name].encode() for name in sorted(self._advertised))).encode()
        self._members = Members(self.config, roster)
        self._index = {name: index for index, name in enumerate(self._members.names)}
        return roster

    def take_shares(self, sender: str, data: bytes) -> None:
        """A client's sealed shares.

        Raises:
            StaleMessage, DuplicateConflict, MalformedMessage: the message is refused.
        """
        index = self._place(sender)
        if not self._is_new(Phase.SHARE, sender, data):
            return
        found = Shares.decode(data)
        self._require_session(found.session)
        if tuple(box.holder for box in found.boxes) != self._members.holders(index):
            raise MalformedMessage(f"{sender!r} did not share its secrets among its neighbours")
        self._shares[index] = found
        self._note(Phase.SHARE, sender, data)

    def close_shares(self) -> dict[str, bytes]:
        """An inbox for each client that shared its secrets.

        Raises:
            InsufficientSurvivors: too few did.
        """
        self._leave(Phase.SHARE, "sharing secrets", len(self._shares))
        self.sharing = tuple(sorted(self._shares))
        boxes: dict[int, list[tuple[int, bytes, tuple[bytes, bytes]]]] = {index: [] for index in self.sharing}
        for owner in self.sharing:
            for box in self._shares[owner].boxes:
                if box.holder in boxes:
                    boxes[box.holder].append((owner, box.box, box.commitments))
        session, clients = self._members.session, len(self._members)
        return {
            self._members.names[i]: Inbox(session, self.sharing, tuple(found)).encode(clients)
            for i, found in boxes.items()
        }

    def take_masked(self, sender: str, data: bytes | memoryview) -> None:
        """A client's masked vector, which is added and not kept.

        Raises:
            StaleMessage, DuplicateConflict, MalformedMessage: the message is refused.
        """
        index = self._place(sender)
        if not self._is_new(Phase.MASK, sender, data):
            return
        self._require_among(index, self._shares, "shared no secrets")
        found = Masked.decode(data, self.config.length, self.config.bits)
        self._require_session(found.session)
        np.add(self._sum, found.words, out=self._sum)
        self._uploaded.add(index)
        self._note(Phase.MASK, sender, data)

    def close_masked(self) -> bytes:
        """Whose vectors are in the sum, for all of them.

        Raises:
            InsufficientSurvivors: too few.
        """
        self._leave(Phase.MASK, "uploading", len(self._uploaded))
        self.survivors = tuple(sorted(self._uploaded))
        if not self.config.signed:
            self.phase = Phase.UNMASK
        return Survivors(self._members.session, self.survivors).encode(len(self._members))

    def take_confirm(self, sender: str, data: bytes) -> None:
        """A client's word for whom it was told of.

        Raises:
            ConsistencyError: it was told of others.
            StaleMessage, DuplicateConflict, MalformedMessage: the message is refused.
        """
        index = self._place(sender)
        if not self._is_new(Phase.CONFIRM, sender, data):
            return
        self._require_among(index, self._uploaded, "is not in the sum")
        found = Confirm.decode(data)
        self._require_session(found.session)
        said = statement(self._members.session, self.sharing, self.survivors, len(self._members))
        if not verified(self._members.clients[index].identity, found.signature, said):
            raise ConsistencyError(f"{sender!r} did not sign the survivors of this session")
        self._signatures[index] = found.signature
        self._note(Phase.CONFIRM, sender, data)

    def close_confirm(self) -> dict[str, bytes]:
        """For each client that confirmed: what its neighbours signed.

        Raises:
            InsufficientSurvivors: too few confirmed.
        """
        self._leave(Phase.CONFIRM, "confirming", len(self._signatures))
        found = {}
        for index in self._signatures:
            near = [(j, self._signatures[j]) for j in self._members.holders(index) if j in self._signatures]
            found[self._members.names[index]] = Confirmed(self._members.session, tuple(near)).encode()
        return found

    def take_unmask(self, sender: str, data: bytes) -> None:
        """A client's shares. One that its owner did not commit to is left out, and its sender blamed.

        Raises:
            StaleMessage, DuplicateConflict, MalformedMessage: the message is refused.
        """
        index = self._place(sender)
        if not self._is_new(Phase.UNMASK, sender, data):
            return
        self._require_among(index, self._uploaded, "is not in the sum")
        found = Unmask.decode(data)
        self._require_session(found.session)
        if found.survivors != digest_of(self.survivors, len(self._members)):
            raise StaleMessage(f"{sender!r} answers for other survivors")
        owners = [owner for owner, _ in found.shares]
        allowed = set(self._members.holders(index)) & set(self.sharing)
        if owners != sorted(set(owners)) or not set(owners) <= allowed:
            raise MalformedMessage(f"{sender!r} sends shares of clients that are not its neighbours, or twice")
        for owner, share in found.shares:
            if self._is_committed(owner, index, 0 if owner in self._uploaded else 1, share):
                self._collected.setdefault(owner, {})[index] = share
            else:
                self.blamed.append(sender)
        self._answered.add(index)
        self._note(Phase.UNMASK, sender, data)

    def close(self) -> NDArray[np.int64]:
        """The sum, (m,) of signed numbers.

        Raises:
            InsufficientSurvivors: too few shares of some client's secret came back.
            ShareVerifyError: a client shared something else than its secret.
        """
        self._leave(Phase.UNMASK, "unmasking", len(self._answered))
        self.answering = tuple(sorted(self._answered))
        try:
            streams, signs = self._masks()
            prg.remove_streams(self._sum, streams, signs, self._workers)
            return self._sum.view(f"<i{self.config.bits // 8}").astype(np.int64)
        finally:
            self._forget()

    def _masks(self) -> tuple[list[bytes], list[int]]:
        """Keys and signs of the masks that are in the sum: of survivors their own, of the lost those with survivors."""
        session, streams, signs = self._members.session, list[bytes](), list[int]()
        for owner in self.survivors:
            seed = self._rebuilt(owner, "the seed of its mask")
            if keys.commitment(session, owner, seed) != self._shares[owner].commitment:
                raise self._broken(owner, "the seed of its mask")
            streams.append(keys.self_key(seed, session))
            signs.append(1)
        for owner in sorted(set(self.sharing) - self._uploaded):
            near = [j for j in self._members.holders(owner) if j in self._uploaded]
            if near:
                streams.extend(self._pairwise(owner, near))
                signs.extend(1 if j < owner else -1 for j in near)
        return streams, signs

    def _forget(self) -> None:
        """Ends with what could still be unmasked, whether there was a sum or not."""
        self._sum, self._collected, self._shares = np.zeros(0, dtype=self._sum.dtype), {}, {}

    def _pairwise(self, owner: int, near: Sequence[int]) -> list[bytes]:
        """The keys of the masks between a client that was lost and its neighbours in the sum."""
        secret = self._rebuilt(owner, "the key of its masks")
        if keys.public_of(secret) != self._members.clients[owner].mask_key:
            raise self._broken(owner, "the key of its masks")
        private, session = X25519PrivateKey.from_private_bytes(secret), self._members.session
        found = []
        for j in near:
            shared = keys.agreed(private, self._members.clients[j].mask_key, self._members.names[j])
            found.append(keys.mask_key(shared, session, owner, j))
        return found

    def _rebuilt(self, owner: int, what: str) -> bytes:
        found, need = self._collected.get(owner, {}), self._members.degree.threshold
        if len(found) < need:
            whom = f"shares of the secret of {self._members.names[owner]!r}"
            raise InsufficientSurvivors("unmasking", len(found), need, whom)
        holders = sorted(found)[:need]
        try:
            return shamir.combine([j + 1 for j in holders], [found[j] for j in holders], need)
        except ShareVerifyError:  # each is what its owner committed to
            raise self._broken(owner, what) from None

    def _broken(self, owner: int, what: str) -> ShareVerifyError:
        return ShareVerifyError(
            f"{self._members.names[owner]!r} shared something else than {what}: its vector cannot be unmasked, and "
            "nothing was revealed. Leave it out of the next attempt"
        )

    def _is_committed(self, owner: int, holder: int, kind: int, share: bytes) -> bool:
        box = self._shares[owner].boxes[self._members.holders(owner).index(holder)]
        return keys.share_commitment(self._members.session, owner, holder, kind, share) == box.commitments[kind]

    def _is_new(self, phase: Phase, sender: str, data: bytes | memoryview) -> bool:
        """Whether a message of this step was not seen before.

        Raises:
            StaleMessage: the step is over, or was not reached.
            DuplicateConflict: another message of the same sender was seen.
        """
        seen = self._seen.get((phase, sender))
        if seen is not None:
            if seen != keys.fingerprint(self._print, data):
                raise DuplicateConflict(f"{sender!r} sends a second message to {phase.name.lower()}, with other bytes")
            return False
        if phase != self.phase:
            when = "late: that step is over" if phase < self.phase else "early"
            raise StaleMessage(f"the message of {sender!r} to {phase.name.lower()} is {when}")
        return True

    def _note(self, phase: Phase, sender: str, data: bytes | memoryview) -> None:
        self._seen[phase, sender] = keys.fingerprint(self._print, data)

    def _leave(self, phase: Phase, doing: str, have: int) -> None:
        """Ends a step, or the session where too few are left."""
        if phase != self.phase:
            raise StaleMessage(
                f"the step to {phase.name.lower()} is not open: the session is at {self.phase.name.lower()}"
            )
        if have < self.config.minimum:
            self.phase = Phase.OVER
            self._forget()
            raise InsufficientSurvivors(doing, have, self.config.minimum)
        self.phase = Phase(phase + 1)

    def _place(self, sender: str) -> int:
        if sender not in self._index:
            raise StaleMessage(f"{sender!r} is not in the roster of this session")
        return self._index[sender]

    def _require_session(self, session: bytes) -> None:
        if session != self._members.session:
            raise StaleMessage("the message is of another session")

    def _require_among(self, index: int, members: Collection[int], why: str) -> None:
        if index not in members:
            raise StaleMessage(f"{self._members.names[index]!r} {why}: it is out of this session")

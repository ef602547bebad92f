"""A client of secure aggregation: what it answers to each message, and what it refuses.

One object serves one session, and reads and writes bytes only: whoever carries them, a loop or a network, is another
matter. A session that failed is over; another attempt takes a new object, with new keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import IntEnum
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from tacit.aggregation.secure import keys, prg, shamir
from tacit.aggregation.secure.config import DIGEST, Config, Policy
from tacit.aggregation.secure.identity import Identity, verified
from tacit.aggregation.secure.messages import (
    NAME,
    Advertise,
    Confirm,
    Confirmed,
    Inbox,
    Masked,
    Sealed,
    Shares,
    Survivors,
    Unmask,
    digest_of,
    is_name,
    statement,
)
from tacit.aggregation.secure.roster import Members, require_identity
from tacit.errors import (
    ConsistencyError,
    IdentityError,
    InsufficientSurvivors,
    MalformedMessage,
    OutOfRange,
    PolicyError,
    SecureAggregationError,
    ShareDecryptError,
    ShareVerifyError,
    StaleMessage,
    UnmaskPolicyError,
    UsageError,
)


class Step(IntEnum):
    """What a client does next."""

    ADVERTISE = 0
    SHARE = 1
    MASK = 2
    CONFIRM = 3
    UNMASK = 4
    OVER = 5


class Client:
    """One client in one session.

    Args:
        config: the session's settings, as the server offers them.
        name: of this client.
        model: digest of the model that it started from, 32 bytes.
        policy: what it demands.
        identity: in sessions with identities.
        draw: n random bytes. Anything but the operating system's is for tests: who foresees them sees the vector.
        layout: digest of the layout of the vectors that it makes, to be held against the session's.

    Attributes:
        step: what comes next.
        complaints: boxes that did not open, or held other shares than their owner committed to.

    Raises:
        PolicyError: the settings protect this client less than it demands.
        UsageError: the session asks for an identity, and there is none.
    """

    def __init__(
        self,
        config: Config,
        name: str,
        model: bytes,
        policy: Policy,
        identity: Identity | None = None,
        draw: Callable[[int], bytes] = os.urandom,
        layout: bytes | None = None,
    ) -> None:
        policy.require(config)
        if not is_name(name) or len(model) != DIGEST:
            raise UsageError(f"a client needs a name of 1 to {NAME} bytes and a model's digest of {DIGEST}: {name!r}")
        if layout is not None and layout != config.layout:
            raise PolicyError(
                f"the session sums vectors of another layout than {name!r} makes: its plan is another one"
            )
        if config.signed and (identity is None or identity.name != name):
            raise UsageError(f"the session asks for identities: give the identity of {name!r}")
        self.config, self.name, self.model, self.policy = config, name, model, policy
        self.step, self.complaints = Step.ADVERTISE, list[SecureAggregationError]()
        self._identity, self._draw = identity if config.signed else None, draw
        self._seal_secret, self._mask_secret, self._seed = b"", b"", b""
        self._advertised, self._asked, self._answer = b"", b"", b""
        self._held: dict[int, tuple[bytes, bytes]] = {}
        self._survivors: Survivors | None = None

    def advertise(self) -> bytes:
        """New keys, signed: an `Advertise`."""
        with self._doing(Step.ADVERTISE, Step.SHARE):
            self._seal_secret, self._mask_secret = self._draw(keys.SECRET), self._draw(keys.SECRET)
            publics = keys.public_of(self._seal_secret), keys.public_of(self._mask_secret)
            message = Advertise(self.config.digest, self.name, *publics, self.model)
            if (who := self._identity) is not None:
                message = replace(message, identity=who.key, certificate=who.certificate)
                message = replace(message, signature=who.sign(message.signed))
            self._advertised = message.encode()
            return self._advertised

    def share(self, roster: bytes) -> bytes:
        """Looks at everybody's keys, and shares its own secrets: a `Shares`.

        Raises:
            IdentityError, PolicyError, StaleMessage, MalformedMessage: the roster is refused; the session is over.
            UsageError: for so many clients there is no graph.
        """
        with self._doing(Step.SHARE, Step.MASK):
            self._members = members = Members(self.config, roster, self.policy.most)
            self._require_roster(members)
            self._index = members.names.index(self.name)
            self._holders = members.holders(self._index)
            secret = X25519PrivateKey.from_private_bytes(self._seal_secret)
            self._agreed = {
                j: keys.agreed(secret, members.clients[j].seal_key, members.names[j]) for j in self._holders
            }
            self._seed = self._draw(keys.SECRET)
            points, threshold = [j + 1 for j in self._holders], members.degree.threshold
            of_seed = shamir.split(self._seed, threshold, points, self._draw)
            of_key = shamir.split(self._mask_secret, threshold, points, self._draw)
            boxes = tuple(
                self._sealed(j, *both) for j, both in zip(self._holders, zip(of_seed, of_key, strict=True), strict=True)
            )
            proof = keys.commitment(members.session, self._index, self._seed)
            return Shares(members.session, proof, boxes).encode()

    def mask(self, inbox: bytes, vector: NDArray[Any]) -> bytes:
        """Opens what others sealed, and hides a vector: a `Masked`.

        Args:
            inbox: an `Inbox`.
            vector: (m,) whole numbers that fit into a word, signed.

        Raises:
            OutOfRange: a number does not fit.
            InsufficientSurvivors: too few shared their secrets.
            MalformedMessage, StaleMessage: the inbox is refused.
        """
        with self._doing(Step.MASK, Step.CONFIRM):
            words = self._words(vector)
            found = Inbox.decode(inbox, len(self._members))
            self._require_session(found.session)
            self._require_enough("masking", found.sharing)
            self._sharing = found.sharing
            self._open(found)
            session, secret = self._members.session, X25519PrivateKey.from_private_bytes(self._mask_secret)
            masks, signs = [keys.self_key(self._seed, session)], [1]
            for j in self._around(found.sharing):
                shared = keys.agreed(secret, self._members.clients[j].mask_key, self._members.names[j])
                masks.append(keys.mask_key(shared, session, self._index, j))
                signs.append(1 if self._index < j else -1)
            self._seal_secret = self._mask_secret = self._seed = b""
            self._agreed = {}
            prg.add_streams(words, masks, signs)
            return Masked(session, words).encode()

    def confirm(self, survivors: bytes) -> bytes:
        """Says whom it was told of, in sessions with identities: a `Confirm`.

        Raises:
            UnmaskPolicyError: it was told of others before, or the sum would be of too few.
        """
        if self.step == Step.UNMASK and survivors == self._asked:
            return self._answer
        if self.step == Step.UNMASK:
            self._refuse("a second set of survivors in one session")
        with self._doing(Step.CONFIRM, Step.UNMASK):
            told = self._accept(survivors)
            if self._identity is None:
                raise UsageError("this session has no identities: unmask at once")
            signature = self._identity.sign(self._statement(told.members))
            self._asked, self._answer = survivors, Confirm(self._members.session, signature).encode()
            return self._answer

    def unmask(self, data: bytes) -> bytes:
        """Gives the one answer that removes masks: an `Unmask`.

        Args:
            data: a `Confirmed`; in sessions without identities a `Survivors`.

        Raises:
            ConsistencyError: too few neighbours were told the same.
            UnmaskPolicyError: it answered to something else before, or the sum would be of too few.
        """
        if self.step == Step.OVER and self._survivors is not None:
            if data == self._asked:
                return self._answer
            self._refuse("a second request to unmask in one session")
        with self._doing(Step.UNMASK if self.config.signed else Step.CONFIRM, Step.OVER):
            told = self._confirmed(data) if self.config.signed else self._accept(data)
            inside = set(told.members)
            shares = tuple((j, self._held[j][0 if j in inside else 1]) for j in sorted(self._held))
            session, clients = self._members.session, len(self._members)
            self._answer = Unmask(session, digest_of(told.members, clients), shares).encode()
            self._asked, self._survivors, self._held = data, told, {}
            return self._answer

    def abort(self) -> None:
        """Ends the session here: all secrets are forgotten, and nothing more is answered."""
        self.step, self._held, self._agreed, self._survivors = Step.OVER, {}, {}, None
        self._seal_secret = self._mask_secret = self._seed = self._asked = self._answer = b""

    @contextmanager
    def _doing(self, step: Step, following: Step) -> Iterator[None]:
        if self.step != step:
            raise StaleMessage(f"{self.name!r} is asked to {step.name.lower()}, and is at {self.step.name.lower()}")
        try:
            yield
        except BaseException:
            self.abort()
            raise
        self.step = following

    def _refuse(self, what: str) -> None:
        self.abort()
        raise UnmaskPolicyError(f"{what}: answering both could reveal one client. The session is over")

    def _require_roster(self, members: Members) -> None:
        """Who is in it, and whether this client is there as it is."""
        count = len(members)
        if count < self.config.minimum:
            raise PolicyError(f"the roster has {count} clients: sums are of {self.config.minimum} or more")
        if self._advertised not in members.entries:
            raise IdentityError(f"{self.name!r} is not in the roster with the keys that it sent")
        for client in members.clients:
            if self.config.signed:
                require_identity(client, self.policy.authorities)
            elif client.certificate is not None:
                raise IdentityError(f"{client.name!r} has an identity in a session without")
            if self.policy.same_model and client.model != self.model:
                raise PolicyError(f"{client.name!r} started from another model than {self.name!r}")

    def _sealed(self, holder: int, of_seed: bytes, of_key: bytes) -> Sealed:
        session, owner = self._members.session, self._index
        box = keys.seal(self._agreed[holder], session, owner, holder, of_seed + of_key)
        proofs = (keys.share_commitment(session, owner, holder, kind, s) for kind, s in enumerate((of_seed, of_key)))
        return Sealed(holder, box, (next(proofs), next(proofs)))

    def _words(self, vector: NDArray[Any]) -> NDArray[Any]:
        """The vector as words, two's complement, in new memory."""
        vector = np.asarray(vector)
        if vector.dtype.kind not in "iu" or vector.shape != (self.config.length,):
            raise OutOfRange(f"the vector is {vector.shape} {vector.dtype}: give {self.config.length} whole numbers")
        most = 2 ** (self.config.bits - 1)
        low, high = int(vector.min()), int(vector.max())
        if not -most <= low <= high < most:
            raise OutOfRange(
                f"the vector reaches from {low} to {high}: {self.config.bits} bits hold no more than {most}"
            )
        return vector.astype(f"<u{self.config.bits // 8}")

    def _require_session(self, session: bytes) -> None:
        if session != self._members.session:
            raise StaleMessage("the message is of another session")

    def _around(self, members: tuple[int, ...]) -> list[int]:
        """Neighbours of this client among `members`."""
        inside = set(members)
        return [j for j in self._holders if j in inside and j != self._index]

    def _require_enough(self, phase: str, members: tuple[int, ...]) -> None:
        """This client is among them, with enough others, and with enough neighbours."""
        if self._index not in members:
            raise UnmaskPolicyError(f"{self.name!r} is not among those that it is asked to go on with")
        if len(members) < self.config.minimum:
            raise InsufficientSurvivors(phase, len(members), self.config.minimum)
        near, need = len(self._around(members)) + 1, self._members.degree.threshold
        if near < need:
            raise InsufficientSurvivors(phase, near, need, f"neighbours of {self.name!r}")

    def _open(self, inbox: Inbox) -> None:
        """Opens every box that opens; one that does not is a complaint, and its owner loses a share."""
        owners = tuple(owner for owner, _, _ in inbox.boxes)
        if owners != tuple(sorted((*self._around(inbox.sharing), self._index))):
            raise MalformedMessage("the inbox is not of the neighbours that shared their secrets")
        for owner, box, proofs in inbox.boxes:
            name, session = self._members.names[owner], self._members.session
            try:
                both = keys.opened(self._agreed[owner], session, owner, self._index, box, name)
            except ShareDecryptError as error:
                self.complaints.append(error)
                continue
            if any(keys.share_commitment(session, owner, self._index, k, both[k]) != proofs[k] for k in (0, 1)):
                self.complaints.append(ShareVerifyError(f"{name!r} sealed other shares than those it committed to"))
                continue
            self._held[owner] = both

    def _accept(self, data: bytes) -> Survivors:
        told = Survivors.decode(data, len(self._members))
        self._require_session(told.session)
        if not set(told.members) <= set(self._sharing):
            raise UnmaskPolicyError("the survivors hold clients that never shared their secrets")
        self._require_enough("unmasking", told.members)
        self._survivors = told
        return told

    def _statement(self, survivors: tuple[int, ...]) -> bytes:
        return statement(self._members.session, self._sharing, survivors, len(self._members))

    def _confirmed(self, data: bytes) -> Survivors:
        """The survivors, once enough neighbours have signed that they were told the same."""
        told, found = self._survivors, Confirmed.decode(data)
        if told is None:
            raise StaleMessage("no survivors were named yet")
        self._require_session(found.session)
        said, good = self._statement(told.members), set[int]()
        near = {*self._around(told.members), self._index}
        for index, signature in found.signatures:
            if index not in near:
                continue
            near.discard(index)  # each is heard once: who repeats one costs nobody another verification
            if verified(self._members.clients[index].identity, signature, said):
                good.add(index)
        need = self._members.degree.threshold
        if len(self._holders) == len(self._members):  # whoever is only said to be there signs nothing
            need = max(need, self.config.minimum)
        if len(good) < need:
            raise ConsistencyError(
                f"{len(good)} neighbours of {self.name!r} confirm who survived, {need} are needed: the server told "
                "them of others, or lost too many. Nothing was unmasked"
            )
        return told

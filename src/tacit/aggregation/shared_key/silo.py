"""A silo: it shares the key with the others, encrypts its reports, and decrypts sums when it is asked.

One object serves one run, and reads and writes bytes only. Whoever has the key can decrypt every silo's report that it
gets hold of: the server, which carries reports, must have no silo on its side. What a silo can check of a question it
checks; that the ciphertexts are those of a sum it cannot.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from tacit.aggregation.secure.identity import Identity
from tacit.aggregation.secure.wire import Reader, Writer
from tacit.aggregation.shared_key.cipher import SECRET_BYTES, Keyring
from tacit.aggregation.shared_key.messages import Answer, Box, Joined, Question, Report
from tacit.aggregation.shared_key.roster import MAKER, Roster
from tacit.aggregation.shared_key.settings import Policy, Settings
from tacit.errors import (
    DuplicateConflict,
    IdentityError,
    MalformedMessage,
    OutOfRange,
    StaleMessage,
    UnmaskPolicyError,
)

KEYS = 39
"""The kind of what is sealed in a box."""


class Silo:
    """One silo in one run.

    Args:
        settings: of the run, as the server offers them.
        identity: of this silo.
        policy: what it demands.
        draw: n random bytes. Anything but the operating system's is for tests.

    Raises:
        PolicyError: the settings protect this silo less than it demands.
    """

    def __init__(
        self, settings: Settings, identity: Identity, policy: Policy, draw: Callable[[int], bytes] = os.urandom
    ) -> None:
        policy.require(settings)
        self.settings, self.name, self.policy, self._identity = settings, identity.name, policy, identity
        self._secret = X25519PrivateKey.from_private_bytes(draw(32))
        self._joined = b""
        self._roster: Roster | None = None
        self._keyring: Keyring | None = None
        self._asked: dict[int, bytes] = {}

    def join(self) -> bytes:
        """A key of this run, signed: a `Joined`."""
        who, public = self._identity, self._secret.public_key().public_bytes_raw()
        message = Joined(self.settings.digest, self.name, public, who.key, who.certificate)
        self._joined = replace(message, signature=who.sign(message.signed)).encode()
        return self._joined

    def meet(self, roster: bytes) -> dict[str, bytes]:
        """Looks at everybody. The first silo makes the key: a `Box` for each other one, by name.

        Raises:
            MalformedMessage, IdentityError, StaleMessage: the roster is refused.
            UnmaskPolicyError: it is so short that no sum could hold enough silos.
        """
        found = Roster(self.settings, roster, self.policy.authorities, self.policy.most)
        if self.name not in found.names or self._joined != found.silos[found.names.index(self.name)].encode():
            raise IdentityError(f"the roster does not hold what {self.name!r} sent")
        if len(found.names) < self._minimum:
            raise UnmaskPolicyError(f"{len(found.names)} silos share the key: {self._minimum} are needed for a sum")
        if self._roster is not None:
            raise DuplicateConflict("a second roster: a run has one")
        self._roster = found
        if self._index != MAKER:
            return {}
        self._keyring = Keyring.made(self.settings.parameters)
        writer = Writer(KEYS)
        for secret in self._keyring.secrets():
            writer.number(len(secret)).fixed(secret)
        keys = writer.done()
        others = range(1, len(found.names))
        return {found.names[i]: Box(found.session, found.sealed(self._secret, i, keys)).encode() for i in others}

    def unwrap(self, box: bytes) -> None:
        """Takes the key that the first silo made.

        Raises:
            ShareDecryptError: the box does not open.
            MalformedMessage, StaleMessage: there is no box of this run, or no key of these parameters in it.
        """
        found = Box.decode(box)
        self._require(found.session)
        if self._keyring is not None:
            raise DuplicateConflict(f"{self.name!r} has the key of this run already")
        r = Reader(self._met.opened(self._secret, self._index, found.sealed), KEYS)
        secrets = []
        for _ in self.settings.parameters.moduli:
            size = r.number()
            if size > SECRET_BYTES:
                raise MalformedMessage(f"a secret key of {size} bytes: {SECRET_BYTES} at most are read")
            secrets.append(r.fixed(size))
        r.end()
        self._keyring = Keyring.of(self.settings.parameters, secrets)

    def encrypt(self, round: int, vector: NDArray[Any]) -> bytes:
        """A report's whole numbers, (m,), encrypted and signed: a `Report`.

        Raises:
            OutOfRange: it has another length, or a number with which the sum could overflow.
        """
        if vector.shape != (self.settings.length,) or vector.dtype.kind != "i":
            raise OutOfRange(f"the vector is {vector.shape} {vector.dtype}: give {self.settings.length} whole numbers")
        report = Report(self._met.session, round, tuple(self._key.encrypt(vector.astype(np.int64))))
        return replace(report, signature=self._identity.sign(report.signed)).encode()

    def decrypt(self, question: bytes) -> bytes:
        """A sum, decrypted and signed: an `Answer`. One for each round.

        Raises:
            UnmaskPolicyError: the server itself says that it holds too few silos, or more than the budget has room for.
            DuplicateConflict: another sum of this round was decrypted before.
            MalformedMessage, StaleMessage: there is no question of this run.
            BitBudgetError: a silo sent numbers beyond the range.
        """
        parameters, roster = self.settings.parameters, self._met
        count = parameters.ciphertexts(self.settings.length)
        found = Question.decode(question, len(roster.names), count, parameters.ciphertext_bytes)
        self._require(found.session)
        if not self._minimum <= len(found.members) <= self.settings.clients:
            raise UnmaskPolicyError(
                f"the sum is said to be of {len(found.members)} silos: from {self._minimum} to "
                f"{self.settings.clients} are decrypted"
            )
        digest = hashlib.sha256(question).digest()
        if self._asked.setdefault(found.round, digest) != digest:
            raise DuplicateConflict(f"another sum of round {found.round + 1} was decrypted before: one for each round")
        try:
            words = self._key.decrypt(found.ciphertexts, self.settings.length)
        except MalformedMessage:
            del self._asked[found.round]  # nothing was decrypted
            raise
        answer = Answer(roster.session, found.round, words.astype(f"<i{self.settings.bits // 8}"))
        return replace(answer, signature=self._identity.sign(answer.signed)).encode()

    @property
    def _minimum(self) -> int:
        return max(self.policy.minimum, self.settings.minimum)

    @property
    def _index(self) -> int:
        return self._met.names.index(self.name)

    @property
    def _met(self) -> Roster:
        if self._roster is None:
            raise StaleMessage(f"{self.name!r} has seen no roster of this run yet")
        return self._roster

    @property
    def _key(self) -> Keyring:
        if self._keyring is None:
            raise StaleMessage(f"{self.name!r} has no key of this run yet")
        return self._keyring

    def _require(self, session: bytes) -> None:
        if session != self._met.session:
            raise StaleMessage("the message is of another run, or another roster")

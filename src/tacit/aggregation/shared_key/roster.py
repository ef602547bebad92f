"""Who shares the key: the roster, checked, and what two of its silos share with each other."""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tacit.aggregation.secure.identity import verified
from tacit.aggregation.secure.keys import NONCE, agreed, require_order
from tacit.aggregation.shared_key.messages import Joined, entries_of
from tacit.aggregation.shared_key.settings import Settings
from tacit.errors import IdentityError, ShareDecryptError, StaleMessage

MAKER = 0
"""Roster index of the silo that makes the key: the first, by name. A rule, so that nobody chooses."""


class Roster:
    """The silos of one run, in the order of their names.

    Args:
        settings: of the run.
        data: bytes of the roster.
        authorities: whose word for a silo's identity is taken.
        most: longest roster that is read.

    Attributes:
        names: of the silos.
        silos: what each sent.
        session: identity of settings and roster, 32 bytes.

    Raises:
        MalformedMessage: the bytes are no roster.
        IdentityError: a silo is there twice, or is not whom an authority says, or its key is exchanged or weak.
        StaleMessage: a silo agreed to other settings.
    """

    def __init__(self, settings: Settings, data: bytes, authorities: tuple[bytes, ...], most: int) -> None:
        self.silos = [Joined.decode(entry) for entry in entries_of(data, most)]
        self.names = [silo.name for silo in self.silos]
        for before, after in zip(self.names, self.names[1:], strict=False):
            if before >= after:
                raise IdentityError(f"the roster names {after!r} after {before!r}: names are unique, and in order")
        for silo in self.silos:
            require(silo, settings, authorities)
        owned = [key for silo in self.silos for key in (silo.key, silo.identity)]
        if len(set(owned)) < len(owned):
            raise IdentityError("two silos of the roster have the same key: somebody is there twice")
        digest = hashlib.sha256(data).digest()
        self.session = hashlib.sha256(b"tacit/shared-key/1/session" + settings.digest + digest).digest()

    def verify(self, index: int, signature: bytes, signed: bytes) -> None:
        """Refuses what a silo did not sign.

        Raises:
            IdentityError: it did not.
        """
        if not verified(self.silos[index].identity, signature, signed):
            raise IdentityError(f"a message of {self.names[index]!r} is not signed by it")

    def sealed(self, secret: X25519PrivateKey, holder: int, message: bytes) -> bytes:
        """A message of the maker that `holder` alone can read (X25519, HKDF-SHA256, AES-128-GCM)."""
        return self._box(secret, holder, holder).encrypt(NONCE, message, self._label(holder))

    def opened(self, secret: X25519PrivateKey, holder: int, sealed: bytes) -> bytes:
        """The message that the maker sealed for `holder`.

        Raises:
            ShareDecryptError: it was changed, or is for somebody else, or of another run or roster.
        """
        try:
            return self._box(secret, MAKER, holder).decrypt(NONCE, sealed, self._label(holder))
        except InvalidTag:
            raise ShareDecryptError(
                f"the key that {self.names[MAKER]!r} sealed does not open: it was changed on its way, or the server "
                "told silos of different rosters"
            ) from None

    def _box(self, secret: X25519PrivateKey, other: int, holder: int) -> AESGCM:
        shared = agreed(secret, self.silos[other].key, self.names[other])
        info = b"tacit/shared-key/1/box" + holder.to_bytes(4, "big")
        return AESGCM(HKDF(hashes.SHA256(), 16, salt=self.session, info=info).derive(shared))

    def _label(self, holder: int) -> bytes:
        return self.session + holder.to_bytes(4, "big")


def require(silo: Joined, settings: Settings, authorities: tuple[bytes, ...]) -> None:
    """Refuses a silo that is not whom an accepted authority says, or means another run.

    Raises:
        IdentityError, StaleMessage: so it is.
    """
    if silo.settings != settings.digest:
        raise StaleMessage(f"{silo.name!r} signed the settings of another run")
    if silo.certificate.authority not in authorities:
        raise IdentityError(f"the identity of {silo.name!r} is certified by an authority that is not accepted")
    if not silo.certificate.holds(silo.name, silo.identity):
        raise IdentityError(f"the certificate of {silo.name!r} is forged: it is for another name or key")
    if not verified(silo.identity, silo.signature, silo.signed):
        raise IdentityError(f"the key of {silo.name!r} is not signed by its identity: it was exchanged")
    require_order(silo.key, silo.name)

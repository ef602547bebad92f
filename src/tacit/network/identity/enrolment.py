"""What a participant keeps of its enrolment: a folder with its key, and with what it was told beside it."""

from __future__ import annotations

import base64
import binascii
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tacit.aggregation.secure.identity import Certificate, Identity
from tacit.errors import StorageError, UsageError
from tacit.network.identity.key import read_key, read_private, write_private
from tacit.network.identity.tls import client_context

KEY, FILE = "key.pem", "enrolment.json"
"""The names of the two files."""
VERSION = 1
WHAT = "enrolment"


@dataclass(frozen=True)
class Enrolment:
    """What a participant knows of its coordinator.

    Attributes:
        name: under which it is known.
        url: of the coordinator.
        authority: public key of who certified it, 32 bytes.
        certificate: the authority's signature over name and key, 64 bytes.
        ca: certificate (DER) that vouches for the coordinator in TLS; None trusts whom the system trusts.
    """

    name: str
    url: str
    authority: bytes
    certificate: bytes
    ca: bytes | None = None

    @property
    def insecure(self) -> bool:
        """Whether the coordinator is spoken to in clear, which loopback alone allows."""
        return self.url.startswith("http:")

    def context(self, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext | None:
        """How it speaks TLS with its coordinator; None where it does not.

        Args:
            certificate, key: files of its own certificate, where the coordinator asks for one.
        """
        if self.insecure:
            return None
        return client_context(self.ca, certificate, key)

    def identity(self, folder: Path) -> Identity:
        """Its signing key, certified.

        Raises:
            StorageError: the key cannot be read, is open to others, or is not the one that was certified.
        """
        private = read_key(folder / KEY)
        public = private.public_key().public_bytes_raw()
        certificate = Certificate(self.authority, self.certificate)
        if not certificate.holds(self.name, public):
            raise StorageError(
                f"the key in {folder} is not the one that was certified for {self.name!r}: put back a copy of the "
                "folder, or enrol again"
            )
        return Identity(self.name, public, certificate, private)

    def write(self, folder: Path) -> None:
        """Keeps it beside the key.

        Raises:
            UsageError: the folder holds an enrolment.
            StorageError: it cannot be written.
        """
        document = {
            "version": VERSION,
            "name": self.name,
            "url": self.url,
            "authority": self.authority.hex(),
            "certificate": self.certificate.hex(),
            "ca": None if self.ca is None else base64.b64encode(self.ca).decode(),
        }
        write_private(folder / FILE, (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode(), WHAT)

    @classmethod
    def read(cls, folder: Path) -> Enrolment:
        """The enrolment in a folder.

        Raises:
            UsageError: there is none.
            StorageError: it cannot be read, or is damaged.
        """
        place = folder / FILE
        if not place.exists():
            raise UsageError(f"{folder} holds no enrolment: run `tacit enroll` with the invitation first")
        data = read_private(place, WHAT)
        try:
            return _of(json.loads(data))
        except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
            raise StorageError(f"the {WHAT} {place} is damaged: put back a copy, or enrol again") from None


def _of(document: dict[str, Any]) -> Enrolment:
    if document["version"] != VERSION:
        raise ValueError("another version")
    ca = document["ca"]
    if not all(isinstance(document[name], str) for name in ("name", "url")):
        raise TypeError("no texts")
    found = Enrolment(
        document["name"],
        document["url"],
        bytes.fromhex(document["authority"]),
        bytes.fromhex(document["certificate"]),
        None if ca is None else base64.b64decode(ca, validate=True),
    )
    if len(found.authority) != 32 or len(found.certificate) != 64:
        raise ValueError("of another length")
    return found

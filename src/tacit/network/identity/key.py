"""Signing keys in files: Ed25519, PKCS#8 in PEM, readable by their owner alone. A key stays where it was made."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from tacit.errors import StorageError, UsageError
from tacit.flushing import flush

LARGEST = 2**14
"""Most bytes of a file with a key."""
OTHERS = 0o077
"""The permissions of everybody but the owner."""


def new_key(place: Path, what: str = "signing key") -> Ed25519PrivateKey:
    """Makes a key, and a file of it.

    Raises:
        UsageError: there is such a file; a key is never written over.
        StorageError: it cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    write_private(place, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), what)
    return key


def read_key(place: Path, what: str = "signing key") -> Ed25519PrivateKey:
    """The key in a file.

    Raises:
        StorageError: it cannot be read, others may read it too, or it holds no key of this kind.
    """
    data = read_private(place, what)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise StorageError(f"the {what} {place} holds no Ed25519 key in PEM without a password: put back a copy")
    return key


def write_private(place: Path, data: bytes, what: str) -> None:
    """Writes a new file that its owner alone may read, in a folder of mode 0700 if that is new as well.

    Raises:
        UsageError: there is such a file.
        StorageError: it cannot be written.
    """
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the folder {place.parent} cannot be written: {error.strerror}") from None
    try:
        file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        flush(place.parent)  # a token is spent for a key, which must not be gone after a power cut
    except FileExistsError:
        raise UsageError(f"the {what} {place} is there already, and is not written over: give another place") from None
    except OSError as error:
        raise StorageError(f"the {what} {place} cannot be written: {error.strerror}") from None


def read_private(place: Path, what: str) -> bytes:
    """The bytes of a file that its owner alone may read.

    Raises:
        StorageError: it cannot be read, or others may read it too.
    """
    try:
        with place.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            data = file.read(LARGEST)
    except OSError as error:
        raise StorageError(f"the {what} {place} cannot be read: {error.strerror}") from None
    if mode & OTHERS:
        raise StorageError(
            f"the {what} {place} may be read by others (mode {mode:04o}): `chmod 600 {place}`, and think of whether "
            "it must be replaced"
        )
    return data

"""The authority's signing key in a file: by it participants are certified when they enrol."""

from __future__ import annotations

from pathlib import Path

from tacit.aggregation.secure.identity import Authority
from tacit.errors import StorageError
from tacit.network.identity.key import new_key, read_key

WHAT = "authority's key"


def new_authority(place: Path) -> Authority:
    """Makes an authority, and a file (mode 0600) of its key.

    Raises:
        UsageError: there is such a file.
        StorageError: it cannot be written.
    """
    new_key(place, WHAT)
    return open_authority(place)


def open_authority(place: Path) -> Authority:
    """The authority whose key is in a file.

    Raises:
        StorageError: it cannot be read, others may read it too, or it holds no such key.
    """
    raw = read_key(place, WHAT).private_bytes_raw()

    def draw(size: int) -> bytes:
        if size != len(raw):
            raise StorageError(f"an authority asks for {size} bytes of key: the file {place} has {len(raw)}")
        return raw

    return Authority(draw)

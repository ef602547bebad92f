"""Forcing files to disk, so that what was written outlives a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Forces a file to disk, or a folder: the names in it, which new and renamed files need as well.

    Raises:
        OSError: it cannot be done; what is on disk is not known then.
    """
    if os.name != "posix" and path.is_dir():
        return  # such a system keeps names by itself, and opens no folder
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

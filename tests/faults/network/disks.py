"""Disks that fail: SQLite's flushes one by one, those of Python, and whole file systems, as root."""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

IOERR_FSYNC = 10 | 4 << 8
"""What SQLite calls a flush that failed."""
OPEN, SYNC = 40, 40
"""Where xOpen is in sqlite3_vfs, and xSync in sqlite3_io_methods, in bytes from the beginning (64 bits)."""
METHODS = 8 + 18 * 8
"""Bytes of sqlite3_io_methods in its third version."""
SHUTDOWN = 0x8004587D
"""FS_IOC_SHUTDOWN, _IOR('X', 125, __u32)."""
AT_ONCE = struct.pack("I", 2)
"""Without writing anything more, the file system's own log included."""

_kept: list[object] = []


def sqlite_flush_fails(name: str, wish: Path) -> None:
    """In this process, from now on: where the file `wish` lies, the next flush of a file called so fails, and takes it.

    Nothing else is wrong with that file, and the flush after it works: only who asks would think that all is well.

    Args:
        name: the end of the path of an SQLite file, or of its log.
        wish: whoever wants a flush to fail makes this file.
    """
    library = ctypes.CDLL(ctypes.util.find_library("sqlite3"))
    library.sqlite3_vfs_find.restype, library.sqlite3_vfs_find.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    opening = ctypes.CFUNCTYPE(  # the path as a pointer, not a copy: SQLite keeps it, and more lies behind its end
        ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
    )
    syncing = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
    place = ctypes.c_void_p.from_address(library.sqlite3_vfs_find(None) + OPEN)
    opened = opening(place.value)

    def open_(vfs, path, file, flags, out):
        code = opened(vfs, path, file, flags, out)
        if code == 0 and path and ctypes.string_at(path).decode().endswith(name):
            methods = ctypes.c_void_p.from_address(file)
            changed = ctypes.create_string_buffer(ctypes.string_at(methods.value, METHODS), METHODS)
            slot = ctypes.c_void_p.from_buffer(changed, SYNC)
            sync = syncing(_failing(syncing(slot.value), wish))
            slot.value = ctypes.cast(sync, ctypes.c_void_p).value
            methods.value = ctypes.addressof(changed)
            _kept.extend([changed, sync])
        return code

    hook = opening(open_)
    _kept.append(hook)
    place.value = ctypes.cast(hook, ctypes.c_void_p).value


def _failing(real, wish):
    return lambda file, how: IOERR_FSYNC if taken(wish) else real(file, how)


def flush_fails(wish: Path) -> None:
    """The same for files that Python flushes."""
    real = os.fsync

    def fsync(handle):
        if taken(wish):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(handle)

    os.fsync = fsync


def taken(wish: Path) -> bool:
    """Whether a flush is to fail now; if so, it is the last."""
    try:
        wish.unlink()
    except OSError:
        return False
    return True


class Disk:
    """A file system of 64 MB in a file, mounted over a folder that keeps its contents.

    Args:
        image: the file.
        folder: over which it is mounted.

    Raises:
        OSError: this is not root, or loop devices and ext4 are not here.
    """

    def __init__(self, image: Path, folder: Path) -> None:
        self._image, self.folder = image, folder
        with image.open("wb") as file:
            file.truncate(64 * 2**20)
        _done("mkfs.ext4", "-q", "-F", str(image))
        kept = folder.with_name(f"{folder.name}.kept")
        shutil.copytree(folder, kept)
        self.mount()
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        os.sync()

    def mount(self) -> None:
        """Mounts it; what its log holds is done first."""
        _done("mount", "-o", "loop", str(self._image), str(self.folder))

    def unmount(self) -> None:
        """Takes it away, once nobody uses it."""
        _done("umount", str(self.folder))

    def renewed(self) -> None:
        """Unmounts and mounts it, as a machine that is started anew."""
        self.unmount()
        self.mount()

    def dies(self) -> None:
        """From now on every read and write fails; what was not flushed by then is lost, as if the power went."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, AT_ONCE)
        finally:
            os.close(handle)

    def read_only(self) -> None:
        """As a file system does by itself where it finds an error: nothing can be written, open files included."""
        _done("mount", "-o", "remount,abort", str(self.folder))

    def close(self) -> None:
        """Takes it away, whoever uses it."""
        subprocess.run(["umount", "-l", str(self.folder)], capture_output=True)


def _done(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")

"""Uploads that are not complete: on disk, in chunks, to be gone on with after anything.

Of an upload the folder holds ID.json, which says what it is, and ID.part, the bytes so far. An upload's id follows
from who sends what: whoever begins it again finds it where it was. What was announced counts as if it were there, and
of that each participant has a share: who begins more gives up its own oldest, so that nobody takes the room of others
by uploads that never come. Uploads that were taken lately are remembered without their bytes, so that a second commit
is answered as the first; later it is an upload that nobody knows, is sent again, and the office knows the answer.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import mmap
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tacit.errors import StorageError
from tacit.network.http.limits import Limits
from tacit.network.office import ID, Code, Refused
from tacit.network.wire import Upload, Uploaded
from tacit.network.wire.checks import DIGITS

AGAIN = "begin the upload again"
FINAL = frozenset({Code.CONFLICT, Code.GONE, Code.UNKNOWN, Code.MALFORMED})
"""Refusals of an answer that stay: its bytes are not kept."""
TAKEN = 10_000
"""Uploads that are remembered after they were taken."""


@dataclass
class Begun:
    """One upload.

    Attributes:
        participant: whose it is.
        assignment, length, sha256: as `Upload` has them.
        offset: bytes that are there.
        at: when something was added last, seconds since 1970.
        turn: held by who adds to it.
    """

    participant: str
    assignment: str
    length: int
    sha256: str
    offset: int = 0
    at: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False, compare=False)


class Spool:
    """The uploads of all participants.

    Args:
        folder: where they lie; made if there is none, with mode 0700.
        limits: spool, share, uploads, expiry, headroom, chunk.
        clock: seconds since 1970.

    Raises:
        StorageError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, limits: Limits, clock: Callable[[], float]) -> None:
        self.folder, self._limits, self._clock = folder, limits, clock
        self._uploads: dict[str, Begun] = {}
        self._taken: OrderedDict[str, Begun] = OrderedDict()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in sorted(folder.iterdir()):
                self._find(path)
        except OSError as error:
            raise StorageError(f"the folder of uploads {folder} cannot be used: {error}") from None
        self.sweep()

    @property
    def held(self) -> int:
        """Bytes that the uploads that are not complete have, or may still have, on disk."""
        return sum(upload.length for upload in self._uploads.values())

    def begin(self, participant: str, upload: Upload) -> Uploaded:
        """Begins an upload, or finds it.

        Raises:
            Refused: no room (BUSY).
        """
        id = identify(participant, upload)
        if id not in self._uploads and id not in self._taken:
            self.sweep()
            self._admit(participant, upload.length)
            begun = Begun(participant, upload.assignment, upload.length, upload.sha256, at=self._clock())
            try:
                self._path(id, "part").touch(mode=0o600)
                self._note(id, begun)
            except OSError as error:
                self._remove(id)
                raise _full(error) from None
            self._uploads[id] = begun
        return self.state(participant, id)

    def state(self, participant: str, id: str) -> Uploaded:
        """How far an upload is.

        Raises:
            Refused: there is none of this participant (UNKNOWN).
        """
        upload = self.find(participant, id)
        return Uploaded(id, upload.offset, upload.length, self._limits.chunk)

    def find(self, participant: str, id: str) -> Begun:
        """An upload.

        Raises:
            Refused: there is none of this participant (UNKNOWN).
        """
        upload = self._uploads.get(id) or self._taken.get(id)
        if upload is None or upload.participant != participant:
            raise Refused(Code.UNKNOWN, "there is no such upload", AGAIN)
        return upload

    async def add(self, participant: str, id: str, offset: int, chunk: memoryview | bytes) -> Uploaded:
        """Adds a chunk, all of it or nothing.

        Raises:
            Refused: it begins elsewhere than the upload ends (CONFLICT), or reaches too far (TOO_LARGE); BUSY.
        """
        upload = self.find(participant, id)
        async with upload.turn:
            self.find(participant, id)  # it may have been taken or forgotten meanwhile
            if offset != upload.offset:
                raise Refused(
                    Code.CONFLICT,
                    f"the chunk begins at {offset:,}, the upload ends at {upload.offset:,}",
                    "go on there",
                )
            if offset + len(chunk) > upload.length:
                raise Refused(Code.TOO_LARGE, f"the upload has {upload.length:,} bytes in all", AGAIN)
            try:
                await asyncio.to_thread(_write, self._path(id, "part"), offset, chunk)
            except OSError as error:
                raise _full(error) from None
            upload.offset += len(chunk)
            upload.at = self._clock()
        return self.state(participant, id)

    @asynccontextmanager
    async def whole(self, participant: str, id: str) -> Any:
        """The bytes of a complete upload, for a block that takes them; then they are gone.

        Gives:
            None where it was taken before; else the bytes, read-only.

        Raises:
            Refused: bytes are missing (CONFLICT), or are not those that were announced (MALFORMED).
        """
        upload = self.find(participant, id)
        async with upload.turn:
            self.find(participant, id)
            if id in self._taken:
                yield None
                return
            if upload.offset != upload.length:
                raise Refused(Code.CONFLICT, f"{upload.length - upload.offset:,} bytes are missing", "send them first")
            try:
                content, digest = await asyncio.to_thread(_load, self._path(id, "part"), upload.length)
            except OSError as error:
                self._remove(id)
                raise Refused(Code.UNKNOWN, f"the upload cannot be read back: {error.strerror}", AGAIN) from None
            if digest != upload.sha256:
                self._remove(id)
                raise Refused(Code.MALFORMED, "the upload is not what was announced: its SHA-256 is another", AGAIN)
            try:
                yield content
            except Refused as refused:
                if refused.code in FINAL:
                    self._remove(id)
                raise
            self._remove(id)
            self._taken[id] = upload
            if len(self._taken) > TAKEN:
                self._taken.popitem(last=False)

    def forget(self, participant: str, id: str) -> None:
        """Forgets an upload, which nobody waits for any more.

        Raises:
            Refused: there is none of this participant (UNKNOWN).
        """
        if not self.find(participant, id).turn.locked():
            self._remove(id)

    def sweep(self) -> None:
        """Forgets uploads to which nothing was added for long."""
        oldest = self._clock() - self._limits.expiry
        for id in [id for id, upload in self._uploads.items() if upload.at < oldest and not upload.turn.locked()]:
            self._remove(id)

    def _admit(self, participant: str, length: int) -> None:
        """Makes room for an upload, where there is some.

        Raises:
            Refused: there is none (BUSY); nothing was forgotten.
        """
        given_up = self._given_up(participant, length)
        others = [upload for id, upload in self._uploads.items() if id not in given_up]
        try:
            free = shutil.disk_usage(self.folder).free + sum(self._uploads[id].offset for id in given_up)
        except OSError as error:
            raise _full(error) from None
        to_come = sum(upload.length - upload.offset for upload in others)
        full = sum(upload.length for upload in others) + length > self._limits.spool
        if full or free < to_come + length + self._limits.headroom:
            raise Refused(Code.BUSY, "there is no room for the upload", "come again later", after=5.0)
        for id in given_up:
            self._remove(id)

    def _given_up(self, participant: str, length: int) -> list[str]:
        """The uploads that a participant gives up by beginning one more: its oldest, down to its number and share."""
        mine = [
            (upload.at, id, upload.length) for id, upload in self._uploads.items() if upload.participant == participant
        ]
        mine.sort(reverse=True)
        kept, room = 0, self._limits.share - length
        for _, _, size in mine[: self._limits.uploads - 1]:
            room -= size
            if room < 0:
                break
            kept += 1
        return [id for _, id, _ in mine[kept:]]

    def _find(self, path: Path) -> None:
        """Finds an upload that an earlier process has begun; what cannot be read is removed."""
        id = path.stem
        if path.suffix not in {".json", ".part", ".new"} or len(id) != ID or not set(id) <= DIGITS:
            return
        if path.suffix != ".json":
            if path.suffix == ".new" or not self._path(id, "json").exists():
                path.unlink(missing_ok=True)
            return
        try:
            upload = Begun(**json.loads(path.read_text()))
            if identify(upload.participant, Upload(upload.assignment, upload.length, upload.sha256)) != id:
                raise ValueError("another upload")
            upload.offset, upload.at = self._path(id, "part").stat().st_size, float(upload.at)
            if not 0 <= upload.offset <= upload.length:
                raise ValueError("more bytes than it has")
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            self._remove(id)
            return
        self._uploads[id] = upload

    def _note(self, id: str, upload: Begun) -> None:
        document = {name: value for name, value in upload.__dict__.items() if name not in {"turn", "offset"}}
        new = self._path(id, "new")
        new.write_text(json.dumps(document))
        new.replace(self._path(id, "json"))

    def _remove(self, id: str) -> None:
        self._uploads.pop(id, None)
        for suffix in ("json", "part", "new"):
            self._path(id, suffix).unlink(missing_ok=True)

    def _path(self, id: str, suffix: str) -> Path:
        return self.folder / f"{id}.{suffix}"


def identify(participant: str, upload: Upload) -> str:
    """The id of an upload: the first 32 digits of a SHA-256 over who sends what."""
    said = json.dumps([participant, asdict(upload)], sort_keys=True).encode()
    return hashlib.sha256(said).hexdigest()[:ID]


def _write(path: Path, offset: int, chunk: memoryview | bytes) -> None:
    file = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(file, offset)  # whatever a write that failed has left
        at = 0
        while at < len(chunk):
            at += os.pwrite(file, chunk[at:], offset + at)
    finally:
        os.close(file)


def _load(path: Path, length: int) -> tuple[memoryview, str]:
    """The bytes, in memory that the system may take back, with their SHA-256."""
    if not length:
        return memoryview(b""), hashlib.sha256(b"").hexdigest()
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != length:
            raise OSError(0, "it is shorter than it was")
        view = memoryview(mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ))
    return view, hashlib.sha256(view).hexdigest()


def _full(error: OSError) -> Refused:
    return Refused(Code.BUSY, f"the upload cannot be written: {error.strerror}", "come again later", after=5.0)

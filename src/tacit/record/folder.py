"""The folder of a run: which files it has, what state it is in, and who is writing to it.

plan.toml           what the run is; written before anything is computed
checkpoints/        the last states between two rounds
model.safetensors   the trained model, history.csv, run.json and report.html: written at the end
result.json         the result; written last, so that a folder that has it is complete
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tacit.errors import DamagedFile, StorageError, UsageError
from tacit.record.result import Result

PLAN, RESULT, MODEL, HISTORY, REPORT, FACTS = (
    "plan.toml",
    "result.json",
    "model.safetensors",
    "history.csv",
    "report.html",
    "run.json",
)
CHECKPOINTS = "checkpoints"
LOCK = ".lock"
LARGEST = 64 * 2**20  # bytes of a plan or a result that is read


@dataclass(frozen=True)
class RunFolder:
    """One run on disk. `finished`, `rounds` and so on look at the disk anew each time."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan, resolved."""
        return self.path / PLAN

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / CHECKPOINTS

    @property
    def model(self) -> Path:
        """The trained weights."""
        return self.path / MODEL

    @property
    def resuming(self) -> str:
        """The command that goes on with this run, as it can be pasted into a shell."""
        return command("resume", self.path)

    @property
    def finished(self) -> bool:
        """Whether the run has ended and everything is written."""
        return (self.path / RESULT).is_file()

    @property
    def rounds(self) -> int:
        """How many rounds the newest checkpoint holds."""
        found = (re.fullmatch(r"checkpoint-(\d+)", path.parent.name) for path in self.checkpoints.glob("*/state.json"))
        return max((int(match[1]) for match in found if match), default=0)

    @property
    def result(self) -> Result:
        """The result.

        Raises:
            DamagedFile: it is there, and is not what was written.
            StorageError: there is none, or it cannot be read.
        """
        try:
            return Result.of(self.text(RESULT), str(self.path / RESULT))
        except DamagedFile as error:
            raise DamagedFile(f"{error}\n`{self.resuming}` makes it anew from the last checkpoint") from None

    def text(self, name: str) -> str:
        """The content of one of the folder's text files.

        Raises:
            DamagedFile: it is no text, or far too long.
            StorageError: it cannot be read.
        """
        path = self.path / name
        try:
            if path.stat().st_size > LARGEST:
                raise DamagedFile(f"{path} is damaged: it has {path.stat().st_size:,} bytes, and tacit writes few")
            return path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise DamagedFile(f"{path} is damaged: it is no text ({error})") from error
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error}") from error

    def write(self, name: str, text: str) -> None:
        """Writes one text file, atomically.

        Raises:
            StorageError: no space, no permission; an earlier file stays as it was.
        """
        from tacit.record.checkpoint import save_text

        save_text(self.path / name, text)

    def model_sha256(self) -> str:
        """sha256 of the model file.

        Raises:
            StorageError: it cannot be read.
        """
        try:
            with self.model.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise StorageError(f"{self.model} cannot be read: {error}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from writing to the folder. The system frees it however this process ends.

        Raises:
            StorageError: another process is at work here, or the folder cannot be written.
        """
        try:
            handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error}") from error
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise StorageError(
                f"another process is at work on {self.path}: wait for it, or give another folder"
            ) from error
        try:
            yield
        finally:
            (self.path / LOCK).unlink(missing_ok=True)
            os.close(handle)

    def clear(self) -> None:
        """Removes what runs write, and the folder itself if nothing else is in it."""
        for name in (RESULT, PLAN, MODEL, HISTORY, REPORT, FACTS, LOCK):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()


def command(verb: str, path: Path | str) -> str:
    """A command of tacit on a path, as it can be pasted into a shell."""
    return f"tacit {verb} {shlex.quote(str(path))}"


def claim(path: Path, *, overwrite: bool = False) -> RunFolder:
    """A folder for a new run: one that does not exist, is empty, or holds a run that may be overwritten.

    Raises:
        UsageError: something else is there.
        StorageError: it cannot be made or written.
    """
    folder = RunFolder(path)
    try:
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file: give a folder for the run")
        if path.is_dir() and any(path.iterdir()):
            _check_replaceable(folder, overwrite)
            with folder.locked():
                folder.clear()
        path.mkdir(parents=True, exist_ok=True)
        probe = path / LOCK
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"the folder {path} cannot be written: {error}. Give another with --out") from error
    return folder


def _check_replaceable(folder: RunFolder, overwrite: bool) -> None:
    if not folder.plan.is_file():
        raise UsageError(f"{folder.path} has files in it and is not a run: give another folder with --out")
    if overwrite:
        return
    if folder.finished:
        raise UsageError(f"{folder.path} holds a finished run: give another folder with --out, or --overwrite")
    raise UsageError(f"{folder.path} holds an unfinished run: go on with `{folder.resuming}`, or give --overwrite")


def default_path(scenario: str, plan_hash: str, now: datetime) -> Path:
    """`runs/<scenario>-<time>-<hash>`, with a number behind it if that is taken."""
    name = f"{scenario}-{now:%Y%m%d-%H%M%S}-{plan_hash[:8]}"
    path, more = Path("runs") / name, 2
    while path.exists():
        path, more = Path("runs") / f"{name}-{more}", more + 1
    return path


def opened(name: str, runs: Path = Path("runs")) -> RunFolder:
    """The run in the folder `name`, or called `name` in `runs`.

    Raises:
        UsageError: there is none; the nearest is given.
    """
    from difflib import get_close_matches

    for path in (Path(name), runs / name):
        if (path / PLAN).is_file():
            return RunFolder(path)
    if Path(name).is_dir():
        raise UsageError(f"{name} is not the folder of a run: it has no {PLAN}")
    known = [folder.path.name for folder in all_in(runs)]
    near = get_close_matches(Path(name).name, known, n=2, cutoff=0.5)
    meant = " or ".join(str(runs / n) for n in near)
    raise UsageError(f"there is no run {name!r}: {f'did you mean {meant}?' if near else '`tacit runs` lists them'}")


def all_in(folder: Path) -> list[RunFolder]:
    """The runs that lie in `folder`, by name.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return [RunFolder(path.parent) for path in sorted(folder.glob(f"*/{PLAN}"))]
    except OSError as error:
        raise StorageError(f"{folder} cannot be read: {error}") from error

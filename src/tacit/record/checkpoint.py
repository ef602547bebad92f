"""Checkpoints: everything a run needs to go on, bit for bit, written so that a crash leaves the last one whole.

A checkpoint is a folder with two files: `state.json` and `tensors.safetensors`. It is written beside its final name,
flushed to disk, and renamed. Nothing in it is ever executed.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tacit.checks import is_whole
from tacit.errors import StorageError
from tacit.flushing import flush
from tacit.record.rows import row_problems

PREFIX = "checkpoint-"
KEPT = 2
VERSION = 2
REMEDY = "Remove it to go on from the one before it, if there is one"


@dataclass(frozen=True)
class Checkpoint:
    """The state between two rounds.

    Attributes:
        round: how many rounds are done.
        tensors: server state, stages' state, buffers and client memory, by name.
        state: everything else, as JSON values; always with the "rows" so far and the name of the "engine".
    """

    round: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint into `folder` and removes all but the newest two.

    Raises:
        StorageError: no space, no permission. Earlier checkpoints stay as they were.
    """
    final = folder / f"{PREFIX}{checkpoint.round:06d}"
    partial = folder / f".{final.name}.{os.getpid()}"
    try:
        for abandoned in folder.glob(f".{PREFIX}*"):  # by a process that was killed while it wrote
            shutil.rmtree(abandoned)
        partial.mkdir(parents=True)
        _save_file(partial / "tensors.safetensors", checkpoint.tensors)
        content = {"version": VERSION, "round": checkpoint.round, **checkpoint.state}
        (partial / "state.json").write_text(json.dumps(content))
        for path in (partial / "tensors.safetensors", partial / "state.json", partial):
            flush(path)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        flush(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StorageError(
            f"the checkpoint of round {checkpoint.round} cannot be written to {folder}: {error}. "
            "Free some space there; the run can then be resumed from its last checkpoint"
        ) from error
    except BaseException:  # an interrupt leaves no half of a checkpoint behind
        shutil.rmtree(partial, ignore_errors=True)
        raise
    for old in found(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def found(folder: Path) -> list[Path]:
    """The complete checkpoints in `folder`, oldest first."""
    numbered = [p for p in folder.glob(f"{PREFIX}*") if p.name.removeprefix(PREFIX).isdigit()]
    return sorted((p for p in numbered if (p / "state.json").is_file()), key=lambda p: int(p.name.removeprefix(PREFIX)))


def latest(folder: Path) -> Checkpoint:
    """The newest checkpoint in `folder`.

    Raises:
        StorageError: there is none, or it cannot be read.
    """
    paths = found(folder)
    if not paths:
        raise StorageError(f"there is no checkpoint in {folder}: run with checkpoint_every=n to have some")
    return read(paths[-1])


def read(path: Path) -> Checkpoint:
    """Reads one checkpoint.

    Raises:
        StorageError: it is missing, truncated, damaged, or of another version.
    """
    try:
        state = json.loads((path / "state.json").read_text())
        tensors = load_file(path / "tensors.safetensors")
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise StorageError(f"the checkpoint {path} cannot be read: {error}. {REMEDY}") from error
    version = state.get("version") if isinstance(state, dict) else None
    if version != VERSION:
        raise StorageError(
            f"the checkpoint {path} has version {version!r}, and this tacit reads {VERSION}: "
            "go on with the tacit that wrote it"
        )
    round, rows = state.pop("round", None), state.get("rows")
    found = row_problems(rows)
    if not found and (not is_whole(round, 0) or len(rows) != round):
        found.append(f"it is of round {round!r} and has the records of {len(rows)}")
    if not isinstance(state.get("engine"), str):
        found.append("it does not name the engine of the run")
    if found:
        raise StorageError(f"the checkpoint {path} is damaged: {'; '.join(found)}. {REMEDY}")
    return Checkpoint(round, tensors, state)


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file atomically.

    Raises:
        StorageError: no space, no permission; an existing file stays as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _save_file(partial, tensors)
        flush(partial)
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):  # on a disk that has turned read-only it stays
            partial.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error}") from error


def _save_file(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file that may be read by whom the umask lets; its own writer lets nobody but its owner."""
    path.touch()
    mode = path.stat().st_mode & 0o777
    save_file({n: t.detach().contiguous().clone() for n, t in tensors.items()}, path)
    path.chmod(mode)


def save_text(path: Path, text: str) -> None:
    """Writes a text file atomically.

    Raises:
        StorageError: no space, no permission; an existing file stays as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        flush(partial)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise StorageError(f"{path} cannot be written: {error}") from error


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        StorageError: it is missing, truncated or not a safetensors file.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, ValueError, SafetensorError) as error:
        raise StorageError(f"{path} cannot be read as safetensors: {error}") from error
    return tensors

"""Public datasets: what each is, where it comes from, under which terms, and whether the copy at hand is the right one.

Nothing is bundled. A file is looked for in the folder named by the environment variable `TACIT_DATA` (one folder per
dataset) and then in the user's cache; it is taken only if its sha256 is the recorded one. The sha256 is of the
*unpacked* content, so a file may lie there plain or gzip'd. `download` fetches what its public origin still offers, in
a stream that is cut at the recorded size, and moves it into place only after the check.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO
from urllib.error import URLError
from urllib.request import Request, urlopen

from tacit.errors import DataError, Problems, StorageError, UsageError
from tacit.scenarios.catalogue import CATALOGUE, Dataset, DatasetFile

CHUNK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte
FOLDER_VARIABLE = "TACIT_DATA"


@dataclass(frozen=True)
class Status:
    """Where the files of a dataset are: paths of those found, names of those missing."""

    found: dict[str, Path]
    missing: tuple[str, ...]


def names() -> tuple[str, ...]:
    """Names of all datasets known."""
    return tuple(CATALOGUE)


def dataset(name: str) -> Dataset:
    """The entry called `name`.

    Raises:
        UsageError: there is none; the nearest names are given.
    """
    from difflib import get_close_matches

    if name in CATALOGUE:
        return CATALOGUE[name]
    near = get_close_matches(name, CATALOGUE, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(CATALOGUE)}"
    raise UsageError(f"there is no dataset {name!r}: {hint}")


def folders(name: str) -> tuple[Path, ...]:
    """Where the files of a dataset are looked for, in order; the last one is where `download` puts them."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tacit" / "datasets"
    named = os.environ.get(FOLDER_VARIABLE)
    return (*((Path(named).expanduser() / name,) if named else ()), cache / name)


def status(name: str) -> Status:
    """Which files of a dataset are there, without reading them."""
    found = {f.name: path for f in dataset(name).files if (path := _find(name, f)) is not None}
    return Status(found, tuple(f.name for f in dataset(name).files if f.name not in found))


def locate(name: str) -> dict[str, Path]:
    """The files of a dataset, each checked by its sha256.

    Args:
        name: of the dataset.

    Returns:
        Name of each file -> path of the copy, plain or gzip'd.

    Raises:
        UsageError: there is no such dataset.
        DataError: with every file that is missing or not the recorded one, where to put it and where it comes from.
    """
    entry = dataset(name)
    found: dict[str, Path] = {}
    with Problems(f"{name} is not at hand", DataError) as problems:
        for file in entry.files:
            path = _find(name, file)
            if path is None:
                problems.add(_how_to_bring(entry, file))
                continue
            found[file.name] = path
            wrong = _difference(file, path)
            if wrong:
                problems.add(wrong)
    return found


def download(name: str) -> dict[str, Path]:
    """Fetches the missing files of a dataset from their public origin into the user's cache, and checks them.

    Raises:
        DataError: a file has no address, cannot be fetched (offline), or is not the recorded one; all files named.
        StorageError: the cache cannot be written.
    """
    entry = dataset(name)
    target = folders(name)[-1]
    with Problems(f"{name} could not be fetched completely", DataError) as problems:
        for file in entry.files:
            path = _find(name, file)
            if path is not None and not _difference(file, path):
                continue
            if file.url is None:
                problems.add(_how_to_bring(entry, file, tried=True))
                continue
            try:
                _fetch(file, target)
            except (URLError, OSError, EOFError, zlib.error) as error:
                if isinstance(error, PermissionError) or getattr(error, "errno", None) in (28, 30):
                    raise StorageError(
                        f"{target} cannot be written ({error}): free space, or set XDG_CACHE_HOME"
                    ) from error
                reason, bring = getattr(error, "reason", error), _how_to_bring(entry, file, tried=True)
                problems.add(f"{file.url} cannot be fetched ({reason}). {bring}")
            except DataError as error:
                problems.add(f"{error}. {_how_to_bring(entry, file, tried=True)}")
    return locate(name)


def _find(name: str, file: DatasetFile) -> Path | None:
    for folder in folders(name):
        for path in (folder / file.name, folder / f"{file.name}.gz"):
            if path.is_file():
                return path
    return None


def _how_to_bring(entry: Dataset, file: DatasetFile, *, tried: bool = False) -> str:
    """Where a file belongs and where it comes from; the command that fetches it is not named if it was `tried`."""
    unset = "" if os.environ.get(FOLDER_VARIABLE) else f" (or into DIR/{entry.name}, with {FOLDER_VARIABLE}=DIR)"
    places = " or ".join(str(folder) for folder in folders(entry.name)) + unset
    fetch = "" if tried else f" (or `tacit data {entry.name} --download`)"
    origin = f"{file.url}{fetch}" if file.url else entry.origin
    return f"bring {file.name} (plain or gzip'd) into {places}; it comes from {origin}"


def _difference(file: DatasetFile, path: Path) -> str | None:
    """What is wrong with the copy at `path`, or None. Reading stops just above the recorded size."""
    most = file.size or file.at_most
    try:
        with _unpacked(path) as stream:
            digest, size = _digest(stream, most)
    except (BadGzipFile, EOFError, zlib.error, OSError) as error:
        return f"{path} cannot be read ({error}): remove it and fetch it again"
    if size > most:
        return f"{path} is larger than the {most:,} bytes of {file.name}: remove it and fetch it again"
    if file.sha256 is not None and digest != file.sha256:
        return f"{path} is not the recorded {file.name}: its sha256 is {digest}, not {file.sha256}: fetch it again"
    return None


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as raw:
        if path.suffix == ".gz" and raw.peek(2)[:2] == b"\x1f\x8b":
            with GzipFile(fileobj=raw) as stream:
                yield stream  # type: ignore[misc]
        else:
            yield raw


def _digest(stream: IO[bytes], most: int) -> tuple[str, int]:
    sha, size = hashlib.sha256(), 0
    while size <= most and (chunk := stream.read(CHUNK)):
        sha.update(chunk)
        size += len(chunk)
    return sha.hexdigest(), size


def _fetch(file: DatasetFile, target: Path) -> None:
    """Streams the file (or the archive that holds it) to a temporary name, checks it, and moves it into place."""
    assert file.url is not None
    target.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=target, prefix=".partial-", delete=False) as partial:
        path = Path(partial.name)
        try:
            request = Request(file.url, headers={"User-Agent": "tacit"})
            with urlopen(request, timeout=TIMEOUT) as response:
                _copy(response, partial, file.at_most)
            partial.flush()
            if file.member is not None:
                path = _take_member(file, path, target)
            wrong = _difference(file, path)
            if wrong:
                raise DataError(f"{file.url} no longer gives the recorded file: {wrong}")
            path.replace(target / file.name)
        finally:
            path.unlink(missing_ok=True)
            Path(partial.name).unlink(missing_ok=True)


def _copy(source: IO[bytes], to: IO[bytes], most: int) -> None:
    size = 0
    while chunk := source.read(CHUNK):
        size += len(chunk)
        if size > most:
            raise DataError(f"more than {most:,} bytes came: this is not the recorded file")
        to.write(chunk)


def _take_member(file: DatasetFile, archive: Path, target: Path) -> Path:
    """One member of a zip archive as a file of its own. Its path in the archive is never used on disk."""
    from zipfile import BadZipFile, ZipFile

    try:
        with (
            ZipFile(archive) as opened,
            opened.open(file.member or "") as member,
            NamedTemporaryFile(dir=target, prefix=".partial-", delete=False) as partial,
        ):
            _copy(member, partial, file.at_most)
            return Path(partial.name)
    except (BadZipFile, KeyError) as error:
        raise DataError(f"{file.url} is not the archive that holds {file.member} ({error})") from error

"""A population larger than memory: a client's examples are loaded when it takes part, and checked as they arrive."""

from __future__ import annotations

import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacit.checks import PATH, is_count, is_path, is_whole
from tacit.errors import DataError, Problems, UsageError
from tacit.learning.batches import Examples
from tacit.population.arrays import differences, pair_of, starts
from tacit.population.population import Arrays, Int, Population, checked_ids, some, widthless

# Deflate cannot shrink anything by more than this, so a member that claims more is not what it says it is.
DEFLATE_LIMIT = 1032
ARRAYS = ("x", "y")


class LazyPopulation(Population):
    """See `Population.from_loader`.

    Every client must have the shapes and types of the population's first, which is loaded once for that. A copy sent
    to another process starts with an empty cache.
    """

    def __init__(
        self,
        sizes: Mapping[Any, int],
        load: Callable[[str], Arrays],
        *,
        cache_bytes: int = 0,
        dtype: torch.dtype | None = None,
    ) -> None:
        with Problems("the population cannot be loaded", UsageError) as problems:
            given = f"sizes is a {type(sizes).__name__}: give a mapping {{client_id: number of examples}}"
            problems.check(isinstance(sizes, Mapping), given)
            problems.check(callable(load), f"load is {load!r}: give a function from a client's id to its (x, y)")
            kept = f"cache_bytes is {cache_bytes!r}: give 0 (keep nothing) or a number of bytes"
            problems.check(is_whole(cache_bytes, 0), kept)
        with Problems("the population cannot be built", DataError) as problems:
            self.ids = checked_ids(list(sizes), problems)
            bad = [i for i, n in sizes.items() if not is_count(n)]
            problems.check(not bad, f"the sizes of clients {some(bad)} are not whole numbers above 0: leave them out")
        self.sizes = np.fromiter(sizes.values(), dtype=np.int64, count=len(sizes))
        self.dtype = dtype
        self._load, self._cache = load, _Cache(cache_bytes)
        self._form: tuple[Tensor, Tensor] | None = None

    def examples(self, clients: Int) -> Examples:
        """See `Population.examples`: loads every client of the block, and reports all that is wrong at once."""
        pairs: list[tuple[Tensor, Tensor]] = []
        with Problems("examples cannot be used", DataError) as problems:
            for k in clients:
                try:
                    pairs.append(self._client(int(k)))
                except DataError as error:
                    problems.add(str(error))
        sizes = self.sizes[clients]
        x, y = (torch.cat([pair[column] for pair in pairs]) for column in (0, 1))
        return Examples(x, y, starts(sizes), sizes)

    def cast(self, dtype: torch.dtype) -> LazyPopulation:
        """See `Population.cast`; what is loaded is cast as it arrives."""
        sizes = dict(zip(self.ids, self.sizes.tolist(), strict=True))
        return LazyPopulation(sizes, self._load, cache_bytes=self._cache.limit, dtype=dtype)

    def _client(self, k: int) -> tuple[Tensor, Tensor]:
        kept = self._cache.get(k)
        if kept is not None:
            return kept
        x, y = self._read(k)
        if self._form is None:
            first = (x, y) if k == 0 else self._read(0)
            self._form = (first[0][:0].clone(), first[1][:0].clone())
        differing = differences(x, y, self._form)
        if differing:
            raise DataError(f"client {self.ids[k]!r}: {' and '.join(differing)}, unlike the first client's")
        self._cache.put(k, (x, y))
        return x, y

    def _read(self, k: int) -> tuple[Tensor, Tensor]:
        """Loads client k and checks what can be seen in it alone."""
        client, n = self.ids[k], int(self.sizes[k])
        try:
            x, y = pair_of(self._load(client))
        except DataError as error:
            raise DataError(f"client {client!r}: {error}") from error
        except MemoryError:  # of this machine, and not of the client
            raise
        except Exception as error:  # the loader is the user's: whatever it raises concerns this client's data
            raise DataError(f"client {client!r} cannot be loaded: {type(error).__name__}: {error}") from error
        for name, column in (("x", x), ("y", y)):
            length = column.shape[0] if column.dim() else 0
            if length != n:
                raise DataError(f"client {client!r}: {name} has {length} examples, and {n} were declared")
            if column.is_floating_point() and not bool(torch.isfinite(column).all()):
                raise DataError(f"client {client!r}: {name} holds NaN or Inf: fill or drop those examples")
        if empty := widthless(x):
            raise DataError(f"client {client!r}: {empty[0]}")
        return self._cast(x), self._cast(y)

    def _cast(self, column: Tensor) -> Tensor:
        return column.to(self.dtype) if self.dtype is not None and column.is_floating_point() else column


class _Cache:
    """Loaded clients up to `limit` bytes, least recently used out first; shared by the threads of a process."""

    def __init__(self, limit: int) -> None:
        self.limit, self.held = limit, 0
        self._kept: OrderedDict[int, tuple[Tensor, Tensor]] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[type[_Cache], tuple[int]]:
        return _Cache, (self.limit,)

    def get(self, client: int) -> tuple[Tensor, Tensor] | None:
        with self._lock:
            if client in self._kept:
                self._kept.move_to_end(client)
            return self._kept.get(client)

    def put(self, client: int, pair: tuple[Tensor, Tensor]) -> None:
        size = _bytes(pair)
        with self._lock:
            if client in self._kept or size > self.limit:
                return
            self._kept[client] = pair
            self.held += size
            while self.held > self.limit:
                self.held -= _bytes(self._kept.popitem(last=False)[1])


def _bytes(pair: tuple[Tensor, Tensor]) -> int:
    return sum(column.numel() * column.element_size() for column in pair)


@dataclass(frozen=True)
class Folder:
    """Loads `<client id>.npz` from a folder; a value, so it can be sent to other processes."""

    path: Path

    def __call__(self, client: str) -> Arrays:
        """The arrays `x` and `y` of one client, never unpickled."""
        file = self.path / f"{client}.npz"
        examples_in(file)
        with np.load(file, allow_pickle=False) as arrays:
            return arrays["x"], arrays["y"]


def population_in(folder: str | Path, *, cache_bytes: int = 0) -> Population:
    """See `Population.from_folder`."""
    if not is_path(folder):
        raise UsageError(f"the folder is {folder!r}: {PATH}")
    path = Path(folder)
    if not path.is_dir():
        raise DataError(f"{str(path)!r} is not a folder: give one that holds a file <client id>.npz for each client")
    sizes: dict[str, int] = {}
    files = sorted(file for file in path.iterdir() if file.suffix == ".npz" and not file.name.startswith("."))
    with Problems(f"the population in {str(path)!r} cannot be built", DataError) as problems:
        problems.check(bool(files), "there is no .npz file: save each client with numpy.savez(path, x=x, y=y)")
        for file in files:
            try:
                sizes[file.stem] = examples_in(file)
            except DataError as error:
                problems.add(str(error))
    return LazyPopulation(sizes, Folder(path), cache_bytes=cache_bytes)


def examples_in(file: Path) -> int:
    """How many examples an archive holds, from its headers alone.

    Raises:
        DataError: the file cannot be read, lacks `x` or `y`, holds Python objects, or its headers contradict its size.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            shapes = [_shape(archive, name, file.stat().st_size) for name in ARRAYS]
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        raise DataError(f"{file.name} cannot be read: {error}; write it again with numpy.savez") from error
    lengths = [shape[0] if shape else 0 for shape in shapes]
    if lengths[0] != lengths[1]:
        raise DataError(f"{file.name} holds {lengths[0]} inputs and {lengths[1]} targets: give one target each")
    if lengths[0] == 0:
        raise DataError(f"{file.name} holds no examples: remove it, or give the client data")
    return lengths[0]


def _shape(archive: zipfile.ZipFile, name: str, size: int) -> tuple[int, ...]:
    """The shape of one array, believed only where it fits the member, and the member only where it fits the file."""
    if f"{name}.npy" not in archive.namelist():
        raise ValueError(f"it has no array {name!r} (it has {some(archive.namelist())})")
    member = archive.getinfo(f"{name}.npy")
    if member.compress_size > size or member.file_size > DEFLATE_LIMIT * (member.compress_size + 1):
        raise ValueError(f"array {name!r} claims {member.file_size} bytes in a file of {size}")
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"array {name!r} is in version {version} of the format; 1.0 and 2.0 are read")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        header = stream.tell()
    if dtype.hasobject:
        raise ValueError(f"array {name!r} holds Python objects, which are never unpickled")
    if header + prod(shape) * dtype.itemsize != member.file_size:
        raise ValueError(f"array {name!r} claims the shape {shape} and has {member.file_size - header} bytes")
    return tuple(shape)

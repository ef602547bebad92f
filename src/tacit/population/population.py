"""All clients, and how to reach each one's examples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.errors import DataError, Problems
from tacit.learning.batches import Examples

if TYPE_CHECKING:
    import pandas

    from tacit.population.partition import Partitioner

Int = NDArray[np.int64]
Arrays = tuple[Any, Any]
SHOWN = 5
NOT_REAL = "are not real numbers: give real and imaginary parts as columns"


class Population(ABC):
    """N clients with ids and sizes; their examples are reached in blocks.

    Build one with `from_arrays`, `from_table`, `from_folder`, `from_loader` or `partition`.

    Attributes:
        ids: N client ids, as text.
        sizes: (N,) int64, examples of each client (n_k).
        classes: what the class numbers 0 .. C - 1 in the targets stand for, where they were made from a column of text
            or categories; None otherwise.
        synthetic: whether the examples were made up, so that there is nobody to protect.
    """

    ids: tuple[str, ...]
    sizes: Int
    classes: tuple[str, ...] | None = None
    synthetic: bool = False

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, client: object) -> tuple[Tensor, Tensor]:
        """Inputs and targets of one client, by id."""
        return self.examples(np.array([self.index(client)])).of(0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} clients, {int(self.sizes.sum())} examples)"

    def index(self, client: object) -> int:
        """The position of a client.

        Raises:
            DataError: there is no such client.
        """
        try:
            return self._positions[str(client)]
        except KeyError:
            raise DataError(
                f"no client {client!r} in a population of {len(self)}; the first is {self.ids[0]!r}"
            ) from None

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {client: k for k, client in enumerate(self.ids)}

    @abstractmethod
    def examples(self, clients: Int) -> Examples:
        """The examples of the clients at the positions `clients` (K,).

        Raises:
            DataError: a client's data cannot be read, or are not what was declared.
        """

    @abstractmethod
    def cast(self, dtype: torch.dtype) -> Population:
        """This population with floating-point columns in `dtype`."""

    def problems(self) -> list[str]:
        """Everything that is visibly wrong with the data, each with the clients it concerns."""
        return []

    def roster(self) -> str:
        """A short digest of ids and sizes."""
        text = "\x1e".join(f"{i}\x1f{n}" for i, n in zip(self.ids, self.sizes.tolist(), strict=True))
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()

    known_as: str | None = None
    """By which a privacy ledger knows these people, whatever is made of their data: set it to a text of your own, the
    same in every run. None: by the data as they are, so that other features of the same people look like other people.
    """

    record: Mapping[str, str] | None = None
    """What one example is, in words, {"en": ..., "zh": ...}: to be set where it is less than a reader would take for
    one, because what one person did once is in several. Statements of record-level privacy say it."""

    @property
    def name(self) -> str:
        """By which a privacy ledger knows these people: `known_as`, or else `fingerprint()`."""
        return self.known_as or self.fingerprint()

    def fingerprint(self) -> str:
        """A short digest of ids, sizes and examples, by which a resumed run recognises its population.

        Of a population that is loaded on demand only the first client's examples are in it. It is computed once for
        each object: a second or two for each GB in memory.
        """
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = blake2b(self.roster().encode(), digest_size=8)
        for column in self._at_hand():
            digest.update(f"{column.dtype} {tuple(column.shape)}".encode())
            digest.update(column.contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _at_hand(self) -> tuple[Tensor, Tensor]:
        """Inputs and targets that are cheap to reach: of the first client, or of all."""
        return self.examples(np.array([0])).of(0)

    @staticmethod
    def from_arrays(data: Mapping[Any, Arrays]) -> Population:
        """A population in memory from `{client_id: (x, y)}`: NumPy arrays or tensors, examples along the first axis.

        Raises:
            DataError: with every problem found: no client, no examples, unequal lengths, other shapes or types than
                the first client's, ids that are equal as text.
        """
        from tacit.population.arrays import ArrayPopulation

        return ArrayPopulation.of(data)

    @staticmethod
    def from_loader(sizes: Mapping[Any, int], load: Callable[[str], Arrays], *, cache_bytes: int = 0) -> Population:
        """A population larger than memory: `load(client_id)` gives `(x, y)` whenever the client takes part.

        Args:
            sizes: client id -> number of examples, which `load` must then give.
            load: called in the worker that trains the client.
            cache_bytes: how much of what was loaded each worker may keep, least recently used out first.

        Raises:
            DataError: no client, or sizes below 1.
        """
        from tacit.population.lazy import LazyPopulation

        return LazyPopulation(sizes, load, cache_bytes=cache_bytes)

    @staticmethod
    def from_folder(path: str | Path, *, cache_bytes: int = 0) -> Population:
        """A population of one file per client, `<client id>.npz` with arrays `x` and `y`, read when it takes part.

        Only the headers are read here. Nothing is unpickled, and no size in a header is believed before it is held
        against the file's.

        Args:
            path: the folder; files that do not end in `.npz` are left alone.
            cache_bytes: as for `from_loader`.

        Raises:
            DataError: no such folder, no file in it, and every file that is damaged or is not a pair of arrays.
        """
        from tacit.population.lazy import population_in

        return population_in(path, cache_bytes=cache_bytes)

    @staticmethod
    def from_table(
        table: str | Path | pandas.DataFrame,
        *,
        client: str,
        target: str | Sequence[str],
        features: Sequence[str] | None = None,
    ) -> Population:
        """A population from one table, a row an example (CSV, TSV, Parquet, also compressed, or a DataFrame).

        Clients come in the order in which they first appear; a client's rows keep theirs.

        Args:
            table: path or frame.
            client: the column that says whose row it is.
            target: column to predict, giving y of shape (n,), or several, giving (n, columns); a single column of text
                or categories becomes class numbers in sorted order, and `classes` says which they are.
            features: input columns, numeric or boolean, giving x of shape (n, columns) in floating point; all others
                when None.

        Raises:
            DataError: with every problem found: unreadable file, missing columns, missing values, text in a feature.
        """
        from tacit.population.table import population_of

        return population_of(table, client=client, target=target, features=features)

    @staticmethod
    def partition(x: Any, y: Any, by: Partitioner, *, seed: int = 0) -> Population:
        """A population made from pooled data, each example given to one client.

        Args:
            x: (n, ...) inputs.
            y: (n, ...) targets; one class number each where `by` looks at labels.
            by: `IID`, `Shards`, `Dirichlet`, `Quantity` or `ByColumn`.
            seed: of the partitioner's draws.

        Raises:
            DataError: no examples, unequal lengths, or values that are not numbers.
            UsageError: the data cannot be dealt that way (fewer examples than clients, say).
        """
        from tacit.population.partition import population_by

        return population_by(x, y, by, seed)


def some(names: Sequence[object]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(repr(n) for n in names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def checked_ids(ids: Sequence[object], problems: Problems) -> tuple[str, ...]:
    """Client ids as text; reports none at all, and ids that are equal as text."""
    problems.check(len(ids) > 0, "there is no client: give at least one")
    texts = tuple(str(i) for i in ids)
    twice = sorted(t for t, n in Counter(texts).items() if n > 1) if len(set(texts)) < len(texts) else []
    problems.check(not twice, f"client ids {some(twice)} occur more than once (ids are compared as text)")
    return texts


def as_tensor(values: Any) -> Tensor:
    """A contiguous tensor of one client's inputs or targets: float32, float64, int64 or bool.

    Raises:
        DataError: values that are not real numbers.
    """
    tensor = values.detach() if isinstance(values, Tensor) else _from_numpy(values)
    if tensor.layout is not torch.strided or tensor.is_meta or tensor.is_quantized:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else f"{tensor.layout}"
        raise DataError(f"values are a {kind.removeprefix('torch.')} tensor: give a dense one that holds its values")
    if tensor.is_complex():
        raise DataError(f"values of type {tensor.dtype} {NOT_REAL}")
    if tensor.dtype in (torch.float16, torch.bfloat16):
        tensor = tensor.float()
    elif tensor.dtype == torch.uint64:
        tensor = _signed(tensor)
    elif not tensor.is_floating_point() and tensor.dtype not in (torch.int64, torch.bool):
        tensor = tensor.long()
    return tensor.contiguous()


def widthless(x: Tensor) -> list[str]:
    """A problem where there are examples, and no number in them."""
    if x.numel() or not x.dim() or not x.shape[0]:
        return []
    return [f"x has the shape {tuple(x.shape)}, without a number: give every example at least one"]


def _signed(tensor: Tensor) -> Tensor:
    """uint64 as int64, where its values allow it."""
    signed = tensor.long()
    if bool((signed < 0).any()):
        raise DataError("values of type uint64 reach 2**63 or more, beyond int64: number them anew from 0")
    return signed


def _from_numpy(values: Any) -> Tensor:
    try:
        array: NDArray[Any] = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise DataError(f"values are no array of numbers ({error}): give rows of equal length") from None
    if array.dtype.kind == "c":
        raise DataError(f"values of type {array.dtype} {NOT_REAL}")
    if array.dtype.kind not in "biuf":
        raise DataError(f"values of type {array.dtype} are not numbers: turn text into class numbers, dates into spans")
    if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float64).itemsize:
        array = array.astype(np.float64)  # torch has no wider type
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    # A tensor cannot be read-only, so what may not be written to is copied.
    return torch.from_numpy(np.ascontiguousarray(native) if native.flags.writeable else native.copy(order="C"))

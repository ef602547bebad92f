"""What clients remember between rounds, staged during a round and committed only for those that were counted."""

from __future__ import annotations

import mmap

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.errors import UsageError

Int = NDArray[np.int64]


class ClientMemory:
    """A vector of `size` numbers for each of N clients, zero at first.

    Every client has two slots: `load` reads the current one, `stage` writes the other, `commit` swaps. A client that
    dropped out or was set aside thus keeps what it had, and a commit copies nothing. The slots lie in anonymous shared
    memory, so workers forked after construction read and write them; pages are taken only for clients that took part.

    Attributes:
        size: numbers per client; 0 for methods without memory.
    """

    def __init__(self, clients: int, size: int, dtype: torch.dtype) -> None:
        self.size = size
        bytes_each = torch.empty(0, dtype=dtype).element_size()
        wanted = max(2 * clients * size * bytes_each, 1)
        try:
            self._pages = mmap.mmap(-1, wanted)
        except (OSError, OverflowError) as error:
            raise UsageError(
                f"what {clients} clients remember takes up to {wanted / 2**30:,.0f} GiB, which cannot be reserved here "
                f"({error}): take a method without client memory, a smaller model, or fewer clients"
            ) from error
        flat = (
            torch.frombuffer(self._pages, dtype=dtype, count=2 * clients * size)
            if size
            else torch.empty(0, dtype=dtype)
        )
        self._slots = flat.view(2, clients, size) if size else flat
        self._current = np.zeros(clients, dtype=np.int64)
        self._written = np.zeros(clients, dtype=bool)

    def load(self, clients: Int) -> Tensor | None:
        """A copy of the memory of the clients at these positions, (K, size); None without memory."""
        if not self.size:
            return None
        return self._slots[torch.from_numpy(self._current[clients]), torch.from_numpy(clients)]

    def stage(self, clients: Int, values: Tensor, current: Int, start: int = 0) -> None:
        """Writes new memory (K, s) beside the current one, from the number `start` on.

        Every number must be written before it is committed; `current` (K,) are the slots in use (`slots_of`).
        """
        end = start + values.shape[1]
        self._slots[torch.from_numpy(1 - current), torch.from_numpy(clients), start:end] = values

    def staged(self, clients: Int) -> Tensor:
        """What was staged for these clients, (K, size)."""
        if not self.size:
            return torch.empty(0, dtype=self._slots.dtype)
        return self._slots[torch.from_numpy(1 - self._current[clients]), torch.from_numpy(clients)]

    def slots_of(self, clients: Int) -> Int:
        """(K,) which slot of each client is current: workers are told, for theirs may be out of date."""
        return self._current[clients]

    def tell(self, clients: Int, current: Int) -> None:
        """Takes note, in a worker, of which slots are current."""
        self._current[clients] = current

    def commit(self, counted: Int) -> None:
        """What was staged for these clients becomes current."""
        if self.size:
            self._current[counted] = 1 - self._current[counted]
            self._written[counted] = True

    def export(self) -> tuple[Int, Tensor]:
        """Positions of the clients that remember something, and their memory (M, size)."""
        clients = np.flatnonzero(self._written)
        values = self.load(clients)
        return clients, values if values is not None else torch.empty(0, dtype=self._slots.dtype)

    def fits(self, clients: Int, values: Tensor) -> bool:
        """Whether `restore` can take these."""
        known = bool(((clients >= 0) & (clients < len(self._current))).all())
        return known and (not self.size or tuple(values.shape) == (len(clients), self.size))

    def restore(self, clients: Int, values: Tensor) -> None:
        """Puts back what `export` gave."""
        if self.size:
            self._slots[torch.from_numpy(self._current[clients]), torch.from_numpy(clients)] = values
            self._written[clients] = True

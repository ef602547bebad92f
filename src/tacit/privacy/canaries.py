"""What an audit does to a run: it plants canaries among the reports, and watches what is released."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tacit.learning.layout import Parts

Int = NDArray[np.int64]


class Audit(Protocol):
    """An audit of a private run. Set as `Federation.audit`, before the run."""

    def plant(self, clients: Int, update: Tensor) -> None:
        """Overwrites the updates of canaries.

        Args:
            clients: (K,) positions of a block's clients.
            update: (K, d) theirs, before weight, clip and sum; to be changed in place.
        """
        ...

    def see(self, round: int, mean: Parts) -> None:
        """Takes note of a release.

        Args:
            round: from 0.
            mean: the noised mean of every part; "update" is (d,).
        """
        ...

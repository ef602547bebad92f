"""The codec: what one client's encoded report is as bytes, where no secure sum hides it, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tacit.aggregation.compression import message
from tacit.aggregation.stage import Chain
from tacit.errors import MalformedMessage
from tacit.learning.layout import Parts


@dataclass(frozen=True)
class Codec:
    """Reports as bytes, in the form that the last stage of a chain gives them.

    The laws: `load(dump(report)) == report` for reports that came out of the chain, and `len(dump(report)) == size`.
    Nothing in a message says how long it is: that follows from the plan, and is checked before anything is allocated.

    Attributes:
        chain: whose reports these are.
        dtype: of their numbers, float32 or float64.
    """

    chain: Chain
    dtype: torch.dtype

    @property
    def size(self) -> int:
        """Bytes of every report."""
        return self.chain.encoded_bytes(self.dtype.itemsize)

    def dump(self, report: Tensor, down: Parts) -> bytes:
        """The bytes of a report (m,) that came out of the chain, in the round with this broadcast."""
        stage = self._stage
        if stage is None:
            return message.numbers(report)
        return bytes(stage.dump(report, self.chain.layouts[-2], self._received(down)))

    def load(self, data: bytes, down: Parts) -> Tensor:
        """The report (m,) of which these are the bytes; a copy.

        Raises:
            MalformedMessage: they are of no report of this chain.
        """
        stage = self._stage
        if stage is not None:
            found: Tensor = stage.load(data, self.chain.layouts[-2], self._received(down), self.dtype)
            return found
        if len(data) != self.size:
            raise MalformedMessage(f"a report of {len(data)} bytes, where one has {self.size}")
        return message.read(data, self.dtype)

    @property
    def _stage(self) -> Any:
        """The last stage, where it has a form of its own."""
        return next((stage for stage in self.chain.stages[-1:] if hasattr(stage, "dump")), None)

    def _received(self, down: Parts) -> Parts:
        return self.chain.received(len(self.chain.stages) - 1, down)

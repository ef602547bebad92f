"""What a participant is told beside a broadcast when it is to train: where it stands, and what its report is for."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from tacit.errors import MalformedMessage


@dataclass(frozen=True)
class Order:
    """An order to train, or to give what a training came to.

    Attributes:
        position: of the participant among all, from 0.
        count: N, how many there are.
        group: the number of its sum in the round, where there are several.
        waits: the report is not asked for yet: rounds overlap.
        stale: how many versions the model has moved on since the training.
    """

    position: int
    count: int
    group: int = 0
    waits: bool = False
    stale: int = 0

    def encode(self) -> bytes:
        """Canonical JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def read(cls, payload: bytes) -> Order:
        """The order in a payload.

        Raises:
            MalformedMessage: it holds none.
        """
        try:
            found = json.loads(payload)
        except (ValueError, RecursionError):
            found = None
        names = {field.name for field in fields(cls)}
        good = isinstance(found, dict) and set(found) == names and type(found["waits"]) is bool
        good = good and all(type(found[name]) is int and found[name] >= 0 for name in names - {"waits"})
        if not good or found["position"] >= found["count"]:
            raise MalformedMessage("an order to train that does not say who is asked, and for what")
        return cls(**found)

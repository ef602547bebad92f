"""The terms of a run on a network: what every participant approves before it trains, and is held to afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tacit.errors import MalformedMessage, UsageError
from tacit.population.schema import Schema

if TYPE_CHECKING:
    from tacit.plan import Plan

LARGEST = 64 * 2**20
"""Most bytes of terms: a schema names every column."""
FIELDS = ("version", "run", "plan", "schema", "participants", "task", "authority", "loopback")
VERSION = 1


@dataclass(frozen=True)
class Terms:
    """What everybody who takes part in a run agrees on. Its hash is what a participant signs.

    Attributes:
        run: names the run: 32 hexadecimal digits, drawn by the coordinator.
        plan: everything that the run is.
        schema: what examples look like.
        participants: N, how many there are.
        task: digest of the model's parameters, buffers and loss by name and shape: 64 hexadecimal digits.
        authority: public key of who certifies participants, 64 hexadecimal digits.
        loopback: without TLS, on one machine only.
    """

    run: str
    plan: Plan
    schema: Schema
    participants: int
    task: str
    authority: str
    loopback: bool = False

    @property
    def document(self) -> dict[str, Any]:
        """Itself as JSON values."""
        plan = self.plan.document
        del plan["run"]  # how each side carries it out is its own affair
        return {
            "version": VERSION,
            "run": self.run,
            "plan": plan,
            "schema": self.schema.document,
            "participants": self.participants,
            "task": self.task,
            "authority": self.authority,
            "loopback": self.loopback,
        }

    def encode(self) -> bytes:
        """Canonical JSON, of which `hash` is the sha256."""
        return self._encoded

    @cached_property
    def _encoded(self) -> bytes:
        text = json.dumps(self.document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8", "surrogatepass")

    @cached_property
    def hash(self) -> str:
        """64 hexadecimal digits."""
        return sha256(self.encode()).hexdigest()

    @classmethod
    def decode(cls, data: bytes) -> Terms:
        """The terms in bytes of a peer: every part is checked, nothing is imported by a name that is not tacit's own.

        Raises:
            MalformedMessage: they hold none that this tacit can carry out.
        """
        from tacit.plan import Given, settled
        from tacit.scenarios.scenario import scenario

        if len(data) > LARGEST:
            raise MalformedMessage(f"terms of {len(data):,} bytes: they have {LARGEST:,} at most")
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise MalformedMessage(f"the terms are no JSON: {error}") from None
        if not isinstance(found, dict) or set(found) != set(FIELDS):
            raise MalformedMessage(f"terms have {', '.join(FIELDS)}")
        if found["version"] != VERSION:
            raise MalformedMessage(f"terms of version {found['version']!r}: this tacit reads {VERSION}")
        hexes = {"run": 32, "task": 64, "authority": 64}
        for name, digits in hexes.items():
            value = found[name]
            if not isinstance(value, str) or len(value) != digits or set(value) - set("0123456789abcdef"):
                raise MalformedMessage(f"{name} of the terms is not {digits} hexadecimal digits")
        if type(found["participants"]) is not int or not 1 <= found["participants"] <= 10**7:
            raise MalformedMessage("the terms do not say how many participants there are")
        if type(found["loopback"]) is not bool or not isinstance(found["plan"], dict):
            raise MalformedMessage("a part of the terms is of another type than it should be")
        try:
            plan = settled([Given(found["plan"])], scenario, name="the plan in the terms")
        except UsageError as error:
            raise MalformedMessage(str(error)) from None
        terms = cls(
            found["run"],
            plan,
            Schema.read(found["schema"]),
            found["participants"],
            found["task"],
            found["authority"],
            found["loopback"],
        )
        if terms.encode() != data:
            raise MalformedMessage("the terms are not written as this tacit writes them: their hash would be another")
        return terms

"""What all silos of a run agree on before a key is made."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from tacit.aggregation.secure.wire import Writer
from tacit.aggregation.shared_key.parameters import Parameters
from tacit.errors import PolicyError

SETTINGS = 32
"""The kind of message that a digest is of."""


@dataclass(frozen=True)
class Settings:
    """Of one run.

    Attributes:
        run: of which they are, 16 bytes.
        length: words in a vector, m.
        bits: of a word, 32 or 64.
        minimum: fewest silos in a sum.
        clients: most silos in a sum.
        layout: digest of how a vector is laid out and of the grid of its numbers, 32 bytes.
    """

    run: bytes
    length: int
    bits: int
    minimum: int
    clients: int
    layout: bytes

    @cached_property
    def parameters(self) -> Parameters:
        """Of the encryption. Everybody derives them, nobody is told."""
        return Parameters.fitting(self.bits, self.clients)

    @cached_property
    def digest(self) -> bytes:
        """What silos sign."""
        writer = Writer(SETTINGS).fixed(self.run).number(self.length, 8).number(self.bits, 1).number(self.minimum)
        return hashlib.sha256(writer.number(self.clients).fixed(self.layout).done()).digest()


@dataclass(frozen=True)
class Policy:
    """What a silo demands, set where the silo is.

    Attributes:
        minimum: fewest silos in a sum that it decrypts, at least 3.
        authorities: public keys (32 bytes) of those whose word for a silo's identity it takes.
        most: longest roster that it reads.
    """

    minimum: int = 3
    authorities: tuple[bytes, ...] = field(default=())
    most: int = 10_000

    def require(self, settings: Settings) -> None:
        """Looks at a run's settings.

        Raises:
            PolicyError: they protect this silo less than it demands.
        """
        if settings.minimum < max(3, self.minimum):
            raise PolicyError(
                f"sums are of {settings.minimum} silos or more: this silo demands {max(3, self.minimum)}, and of two "
                "each could subtract its own"
            )
        if not self.authorities:
            raise PolicyError("this silo knows no authority: give the public keys of those whose word it is to take")

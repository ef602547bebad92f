"""What a session is: the settings that server and clients share, and the policy by which a client refuses them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import copysign, isfinite

from tacit.aggregation.secure.graph import Degree, degree
from tacit.aggregation.secure.wire import Reader, Writer
from tacit.errors import MalformedMessage, PolicyError

CONFIG = 1
DIGEST = 32
LENGTH = 2**32
"""Longest vector."""


@dataclass(frozen=True)
class Config:
    """The settings of one session. Every client reads them before it makes a key, and signs them with its keys.

    Attributes:
        run: of which it is, 16 bytes.
        round: from 0.
        attempt: how often this round was tried before.
        length: words in a vector, m.
        bits: of a word, 32 or 64.
        minimum: fewest clients in a sum.
        corrupt: share of the clients that may work against the others (gamma).
        dropout: share that may be lost (delta).
        sigma: the graph fails to hide a client with probability below `2^-sigma`.
        eta: and loses the sum, though no more than `dropout` are lost, with probability below `2^-eta`.
        semi_malicious: the server may ask different questions of different clients.
        signed: clients have identities, and confirm who survived before anything is unmasked.
        layout: digest of how a vector is laid out and of the grid of its numbers, 32 bytes.
    """

    run: bytes
    round: int
    length: int
    bits: int
    minimum: int
    layout: bytes
    attempt: int = 0
    corrupt: float = 0.1
    dropout: float = 0.1
    sigma: int = 40
    eta: int = 20
    semi_malicious: bool = True
    signed: bool = True

    def encode(self) -> bytes:
        """Its bytes."""
        writer = Writer(CONFIG).fixed(self.run).number(self.round, 8).number(self.attempt).number(self.length, 8)
        writer.number(self.bits, 1).number(self.minimum).real(self.corrupt).real(self.dropout)
        writer.number(self.sigma, 2).number(self.eta, 2).number(self.semi_malicious, 1).number(self.signed, 1)
        return writer.fixed(self.layout).done()

    @classmethod
    def decode(cls, data: bytes) -> Config:
        """The settings in a message.

        Raises:
            MalformedMessage: it holds none that a session could have.
        """
        r = Reader(data, CONFIG)
        run, round, attempt, length = r.fixed(16), r.number(8), r.number(), r.number(8)
        bits, minimum, corrupt, dropout = r.number(1), r.number(), r.real(), r.real()
        sigma, eta, semi, signed, layout = r.number(2), r.number(2), r.number(1), r.number(1), r.fixed(DIGEST)
        r.end()
        if semi > 1 or signed > 1:
            raise MalformedMessage("a flag of the session is neither 0 nor 1")
        found = cls(
            run, round, length, bits, minimum, layout, attempt, corrupt, dropout, sigma, eta, bool(semi), bool(signed)
        )
        for problem in found.problems():
            raise MalformedMessage(f"no session can have these settings: {problem}")
        return found

    def problems(self) -> Iterator[str]:
        """What is wrong with the settings, whoever they are for."""
        if not 0 <= self.round < 2**64 or not 0 <= self.attempt < 2**32 or not self.minimum < 2**32:
            yield f"round {self.round}, attempt {self.attempt} or minimum {self.minimum} is out of range"
        if len(self.run) != 16 or len(self.layout) != DIGEST:
            yield "the run has 16 bytes and the digest of the layout 32"
        if not 1 <= self.length <= LENGTH:
            yield f"length is {self.length}: give 1 to {LENGTH} words"
        if self.bits not in (32, 64):
            yield f"bits is {self.bits}: give 32 or 64"
        if self.minimum < 3:
            yield f"minimum is {self.minimum}: give at least 3, for of two clients each can subtract its own"
        for name in ("corrupt", "dropout"):
            value = getattr(self, name)
            if not (isfinite(value) and 0 <= value < 1) or copysign(1.0, value) < 0:
                yield f"{name} is {value!r}: give a share from 0 to below 1"
        if not 1 <= self.sigma <= 128 or not 1 <= self.eta <= 128:
            yield f"sigma is {self.sigma} and eta {self.eta}: give 1 to 128"

    @property
    def digest(self) -> bytes:
        """What clients sign."""
        return hashlib.sha256(self.encode()).digest()

    def degree(self, clients: int) -> Degree:
        """Neighbours and threshold among so many clients: everybody computes them, nobody is told.

        Raises:
            UsageError: there are none.
        """
        return degree(
            clients, self.corrupt, self.dropout, sigma=self.sigma, eta=self.eta, semi_malicious=self.semi_malicious
        )


@dataclass(frozen=True)
class Policy:
    """What a client demands of a session, set where the client is: no server can weaken it.

    Attributes:
        minimum: fewest clients in a sum with its own.
        corrupt: share of the clients that it assumes to work against it, at least.
        sigma: the chance that the graph does not hide it is below `2^-sigma`.
        bits: of words that it accepts.
        authorities: public keys (32 bytes) of those whose word for a participant's identity it takes.
        most: largest roster that it reads.
        same_model: refuses to be summed with clients that started from other models.
        insecure_unsigned: takes part among clients without identities. The server may then have invented them.
        insecure_honest_server: takes part where the graph holds only against a server that asks everybody the same.
    """

    minimum: int = 5
    corrupt: float = 0.1
    sigma: int = 40
    bits: tuple[int, ...] = (32, 64)
    authorities: tuple[bytes, ...] = ()
    most: int = 100_000
    same_model: bool = True
    insecure_unsigned: bool = False
    insecure_honest_server: bool = False

    def require(self, config: Config) -> None:
        """Looks at a session's settings.

        Raises:
            PolicyError: they protect this client less than it demands; with all reasons.
        """
        found = list(config.problems())
        if config.minimum < self.minimum:
            found.append(f"sums are of {config.minimum} clients or more: this client demands {self.minimum}")
        if config.corrupt < self.corrupt:
            found.append(f"{config.corrupt:g} of the clients may be corrupt: this client assumes {self.corrupt:g}")
        if config.sigma < self.sigma:
            found.append(f"sigma is {config.sigma}: this client demands {self.sigma}")
        if config.bits not in self.bits:
            found.append(f"words have {config.bits} bits: this client accepts {self.bits}")
        if not config.signed and not self.insecure_unsigned:
            found.append("clients have no identities (insecure_unsigned)")
        if config.signed and not self.authorities:
            found.append("this client knows no authority: give the public keys of those whose word it is to take")
        if not config.semi_malicious and not self.insecure_honest_server:
            found.append("the graph holds against an honest server only (insecure_honest_server)")
        if found:
            raise PolicyError("this client does not take part: " + "; ".join(found))

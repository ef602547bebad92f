"""A session played by hand, one step after the other, so that a test can be the network, the server or a peer."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from tacit.aggregation.secure.client import Client, Step
from tacit.aggregation.secure.config import Config, Policy
from tacit.aggregation.secure.identity import Authority
from tacit.aggregation.secure.messages import Inbox, Survivors
from tacit.aggregation.secure.server import Server
from tacit.errors import StaleMessage

MODEL = b"m" * 32
NOWHERE = ()
CONFIG = Config(run=b"r" * 16, round=3, length=8, bits=32, minimum=3, layout=b"l" * 32)
LOW_ORDER = bytes(32)
"""A point of low order: with it everybody shares zeros."""


def stream(label: bytes):
    """Bytes that are the same every time: SHA-256 of the label and a counter (4 bytes, big-endian), in a row."""
    kept, counter = bytearray(), 0

    def draw(size: int) -> bytes:
        nonlocal counter
        while len(kept) < size:
            kept.extend(hashlib.sha256(label + counter.to_bytes(4, "big")).digest())
            counter += 1
        found = bytes(kept[:size])
        del kept[:size]
        return found

    return draw


NO_BOX = bytes(82), (bytes(16), bytes(16))
"""In an inbox in place of sealed shares and commitments: it does not open, which costs a share and nothing else."""


class Play:
    """`count` clients and a server. Every step does what honest ones do, without those who are left out."""

    def __init__(self, count=5, models=None, policy=None, label=b"", **changes):
        self.config = replace(CONFIG, **changes)
        self.names = [f"c{i:03}" for i in range(count)]
        self.authority = Authority(stream(b"authority"))
        signed = self.config.signed
        self.policy = policy or Policy(
            minimum=3, corrupt=0.0, authorities=(self.authority.key,), insecure_unsigned=not signed
        )
        self.identities = {name: self.identity(name) for name in self.names} if signed else {}
        self.clients = {
            name: Client(
                self.config,
                name,
                (models or {}).get(name, MODEL),
                self.policy,
                self.identities.get(name),
                stream(label + name.encode()),
            )
            for name in self.names
        }
        self.server = Server(self.config, (self.authority.key,), workers=1)
        dtype = np.dtype(f"i{self.config.bits // 8}")
        top = np.iinfo(dtype).max
        self.vectors = {
            name: np.arange(i, i + self.config.length, dtype=dtype) - top // 3 for i, name in enumerate(self.names)
        }
        self.adverts, self.shares, self.uploads, self.confirms, self.answers = {}, {}, {}, {}, {}

    def identity(self, name):
        return self.authority.identity(name, stream(b"identity of " + name.encode()))

    def __getitem__(self, index):
        return self.clients[self.names[index]]

    def advertise(self, without=NOWHERE):
        self.adverts = {n: c.advertise() for n, c in self.clients.items() if n not in without}
        for name, data in self.adverts.items():
            self.server.take_advertise(name, data)
        self.roster = self.server.close_advertise()
        return self

    def share(self, without=NOWHERE):
        self.shares = {n: self.clients[n].share(self.roster) for n in self.adverts if n not in without}
        for name, data in self.shares.items():
            self.server.take_shares(name, data)
        self.inboxes = self.server.close_shares()
        return self

    def mask(self, without=NOWHERE):
        self.uploads = {
            n: self.clients[n].mask(box, self.vectors[n]) for n, box in self.inboxes.items() if n not in without
        }
        for name, data in self.uploads.items():
            self.server.take_masked(name, data)
        self.survivors = self.server.close_masked()
        return self

    def confirm(self, without=NOWHERE):
        """In sessions without identities there is nothing to confirm."""
        if not self.config.signed:
            self.asked = dict.fromkeys(self.uploads, self.survivors)
            return self
        self.confirms = {n: self.clients[n].confirm(self.survivors) for n in self.uploads if n not in without}
        for name, data in self.confirms.items():
            self.server.take_confirm(name, data)
        self.asked = self.server.close_confirm()
        return self

    def unmask(self, without=NOWHERE):
        self.answers = {n: self.clients[n].unmask(data) for n, data in self.asked.items() if n not in without}
        for name, data in self.answers.items():
            self.server.take_unmask(name, data)
        return self

    def total(self):
        return self.server.close()

    def plain(self, names=None):
        """The sum of the vectors of those who uploaded, modulo a word."""
        dtype = np.dtype(f"u{self.config.bits // 8}")
        parts = [self.vectors[n].astype(dtype) for n in (self.uploads if names is None else names)]
        return np.add.reduce(parts, dtype=dtype).view(f"i{dtype.itemsize}").astype(np.int64)


def forgotten(client):
    """Whether a client holds no secret any more."""
    secrets = ("_seal_secret", "_mask_secret", "_seed", "_held", "_agreed")
    return not any(getattr(client, name, b"") for name in secrets)


def flipped(data: bytes, at: int) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def assert_refused(client, error, call, *arguments, match=None):
    """A refusal ends the session: nothing is kept, and nothing more is answered."""
    with pytest.raises(error, match=match):
        call(*arguments)
    assert client.step == Step.OVER
    assert forgotten(client)
    for answer in (
        client.advertise,
        lambda: client.share(b""),
        lambda: client.mask(b"", np.zeros(8, np.int32)),
        lambda: client.confirm(b""),
        lambda: client.unmask(b""),
    ):
        with pytest.raises(StaleMessage):
            answer()


def delivered(shares, place):
    """What the box at a place of a `Shares` becomes in an inbox, after its owner's index."""
    found = shares.boxes[place]
    return found.box, found.commitments


def survivors(play, *members):
    return Survivors(play.server.members.session, members).encode(len(play.names))


def inboxes(play):
    return {name: Inbox.decode(data, len(play.names)) for name, data in play.inboxes.items()}

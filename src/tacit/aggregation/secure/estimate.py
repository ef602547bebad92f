"""What a session costs, before it is held: its graph, its bytes, and its seconds on this machine, from timed pieces."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from tacit.aggregation.secure import keys, prg, shamir
from tacit.aggregation.secure.config import Config
from tacit.aggregation.secure.identity import Authority, verified
from tacit.aggregation.secure.messages import (
    COMMITMENT,
    SEALED,
    Advertise,
    Inbox,
    Masked,
    Roster,
    Sealed,
    Shares,
    Unmask,
)
from tacit.aggregation.secure.roster import Members
from tacit.aggregation.secure.traffic import traffic

WORDS = 1_000_000
"""Longest vector on which masks are timed; longer ones take as much a word."""
REPEATS = 5


@dataclass(frozen=True)
class Pieces:
    """Seconds of what a session consists of, on one core of this machine.

    Attributes:
        mask: to expand and add one mask.
        add: to add one vector, and to know it again.
        words: to make the words of one vector, and its message.
        member: to read one client of the roster.
        box: to take one client's sealed shares for a neighbour, to pass them on, and to take what comes back.
        neighbour: to agree on both keys with a neighbour, to seal for it and to open what it sealed.
        lost: to agree on the mask of one neighbour of a lost client.
        split, combine: to share one secret, and to rebuild it.
        verify: to verify one signature.
    """

    mask: float
    add: float
    words: float
    member: float
    box: float
    neighbour: float
    lost: float
    split: float
    combine: float
    verify: float


@dataclass(frozen=True)
class Estimate:
    """What a session costs.

    Attributes:
        clients, parameters: of it; as many words as parameters are counted.
        neighbours, threshold: of the graph.
        sigma: bits of its security.
        bits: of a word.
        budget: bits that are left for one number, its sign included, where all weights are 1.
        bytes_up, bytes_down: of one client.
        seconds_client: of one client, on one core.
        seconds_server: with `dropout` lost after sharing secrets, masks removed on `cores` cores.
        cores: of this machine.
        signed: with identities and the confirming step.
    """

    clients: int
    parameters: int
    neighbours: int
    threshold: int
    sigma: int
    bits: int
    budget: int
    bytes_up: int
    bytes_down: int
    seconds_client: float
    seconds_server: float
    cores: int
    signed: bool


def estimate(config: Config, clients: int) -> Estimate:
    """What a session of so many clients costs.

    Args:
        config: its settings; `dropout` is the share that is lost.
        clients: in the roster.

    Raises:
        UsageError: no graph does what is asked.
    """
    degree, (up, down) = config.degree(clients), traffic(config, clients)
    k, t = degree
    one = timed(config, k, t)
    lost = floor(config.dropout * clients)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    masks = clients - lost + lost * floor(k * (1 - config.dropout))
    client = (k + 1) * (one.mask + one.neighbour) + 2 * one.split + one.words + clients * one.member
    server = clients * (one.add + one.combine + (k + 1) * one.box + one.member + 2 * one.lost)
    server += masks * one.mask / cores + lost * k * one.lost
    if config.signed:
        client += (2 * clients + k) * one.verify
        server += 3 * clients * one.verify
    return Estimate(
        clients=clients,
        parameters=config.length,
        neighbours=k,
        threshold=t,
        sigma=config.sigma,
        bits=config.bits,
        budget=config.bits - (clients - 1).bit_length(),
        bytes_up=sum(up.values()),
        bytes_down=sum(down.values()),
        seconds_client=client,
        seconds_server=server,
        cores=cores,
        signed=config.signed,
    )


def timed(config: Config, k: int, t: int) -> Pieces:
    """Times the pieces, for vectors, neighbours and a threshold as in the session."""
    length, kind = min(config.length, WORDS), np.dtype(f"<u{config.bits // 8}")
    vector, scale = np.zeros(length, kind), config.length / length
    secret = X25519PrivateKey.from_private_bytes(os.urandom(keys.SECRET))
    public, session, half = keys.public_of(os.urandom(keys.SECRET)), os.urandom(32), os.urandom(keys.SECRET)
    points = list(range(1, k + 2))
    shares = shamir.split(half, t, points, os.urandom)
    authority = Authority(os.urandom)
    who = authority.identity("somebody", os.urandom)
    signature = who.sign(session)

    def neighbour() -> None:
        shared = keys.agreed(secret, public, "")
        box = keys.seal(shared, session, 0, 1, bytes(2 * shamir.SHARE))
        keys.opened(shared, session, 0, 1, box, "")
        for kind in (0, 1, 0, 1):  # committed to, and held against what others committed to
            keys.share_commitment(session, 0, 1, kind, bytes(shamir.SHARE))
        keys.mask_key(keys.agreed(secret, public, ""), session, 0, 1)

    streams, signs = [os.urandom(prg.KEY) for _ in range(4)], [1] * 4
    return Pieces(
        mask=_least(lambda: prg.add_streams(vector, streams, signs)) / 4 * scale,
        add=_add(config, vector) * scale,
        words=_words(vector) * scale,
        member=_member(config),
        box=_box(session, k + 1),
        neighbour=_least(neighbour) + 2 * _box(session, k + 1),
        lost=_least(lambda: keys.mask_key(keys.agreed(secret, public, ""), session, 0, 1)),
        split=_least(lambda: shamir.split(half, t, points, os.urandom)),
        combine=_least(lambda: shamir.combine(points, shares, t)),
        verify=_least(lambda: verified(who.key, signature, session)),
    )


def _add(config: Config, total: NDArray[Any]) -> float:
    """The server's part of an upload."""
    message, key = Masked(bytes(32), total.copy()).encode(), os.urandom(keys.PRINT)

    def add() -> None:
        np.add(total, Masked.decode(message, len(total), config.bits).words, out=total)
        keys.fingerprint(key, message)

    return _least(add)


def _words(target: NDArray[Any]) -> float:
    """A client's part of an upload, beside the masks."""
    vector = np.zeros(len(target), np.int64)

    def words() -> None:
        Masked(bytes(32), (vector + vector.min() + vector.max()).astype(target.dtype)).encode()

    return _least(words)


def _member(config: Config) -> float:
    """To read one client of the roster."""
    names = [str(i) for i in range(100, 200)]
    entries = [Advertise(config.digest, i, os.urandom(32), os.urandom(32), bytes(32)).encode() for i in names]
    roster = Roster(tuple(entries)).encode()
    return _least(lambda: Members(config, roster)) / len(entries)


def _box(session: bytes, holders: int) -> float:
    """What the server does for one of a client's holders."""
    nothing, share = (bytes(COMMITMENT), bytes(COMMITMENT)), bytes(shamir.SHARE)
    boxes = tuple(Sealed(j, bytes(SEALED), nothing) for j in range(holders))
    shared = Shares(session, session, boxes).encode()
    answer = Unmask(session, session, tuple((j, share) for j in range(holders))).encode()

    def forward() -> None:
        found = Shares.decode(shared).boxes
        Inbox(session, (), tuple((one.holder, one.box, one.commitments) for one in found)).encode(holders)
        for owner, part in Unmask.decode(answer).shares:
            keys.share_commitment(session, owner, 0, 0, part)

    return _least(forward) / holders


def _least(work: Callable[[], object]) -> float:
    """The least seconds of some repetitions, which other programs disturb least."""
    found = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)

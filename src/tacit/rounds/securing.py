"""Secure aggregation in simulation: who is lost, who counts, and the whole protocol where it is asked for."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.aggregation.fixed_point import FixedPoint, centred
from tacit.aggregation.homomorphic import SharedKeySum
from tacit.aggregation.secure.client import Step
from tacit.aggregation.secure.config import Config, Policy
from tacit.aggregation.secure.ideal import Ideal
from tacit.aggregation.secure.identity import Authority, Identity
from tacit.aggregation.secure.keys import ring_seed
from tacit.aggregation.secure.rehearsal import Rehearsal
from tacit.aggregation.secure.traffic import traffic
from tacit.aggregation.secure_sum import FULL, SecureSum, most_clients
from tacit.errors import IncompatibleOptions, InsufficientSurvivors, PrivacyError, RoundFailed
from tacit.learning.layout import Layout
from tacit.privacy import distributed
from tacit.privacy.clip import Clip, clip_of
from tacit.privacy.distributed import ClipDiscrete
from tacit.privacy.local_level import LocalLevel
from tacit.privacy.releases import bounds_of
from tacit.privacy.shares import surely_honest
from tacit.privacy.user_level import SKELLAM
from tacit.rounds.enciphering import Enciphering
from tacit.selection.cohort import Sampling
from tacit.venue.fold import Total

if TYPE_CHECKING:
    from tacit.federation import Federation

Int = NDArray[np.int64]


class Session(Protocol):
    """One round's sum, from when it is known who is there."""

    asked: Int

    def close(self, total: Total, failed: Int) -> Total:
        """The sum, and who is in it.

        Args:
            total: of the clients that were asked.
            failed: those of them that had nothing to send.

        Raises:
            InsufficientSurvivors: too few are left.
        """
        ...


class Sums(Protocol):
    """The secure sums of one run, of whatever kind."""

    bits: int
    """Of a word."""
    length: int
    """Words in a vector."""

    @property
    def whole(self) -> bool:
        """Whether the whole protocol is run, and not only what it computes."""
        ...

    def announce(self, round: int, clients: Int, down: Tensor) -> None:
        """Is told whose sums are about to begin: of a whole cohort, before the first of its groups."""
        ...

    def session(
        self, round: int, clients: Int, down: Tensor, group: int = 0, share: Callable[[str], Int] | None = None
    ) -> Session:
        """The session of a round, or of one of its groups. See `Securing.session`."""
        ...

    def facts(self, clients: int) -> dict[str, Any]:
        """What the run says of it, for cohorts of so many clients: JSON values."""
        ...


@dataclass
class Securing:
    """The secure sums of one run.

    Args:
        how: as the user asks for it.
        minimum: fewest clients in a sum.
        bits: of a word.
        length: words in a vector.
        layout: digest of how it is laid out.
        seed: of the run.
    """

    how: SecureSum
    minimum: int
    bits: int
    length: int
    layout: bytes
    seed: int
    _run: bytes = field(default_factory=lambda: os.urandom(16))
    _authority: Authority = field(default_factory=lambda: Authority(os.urandom))
    _identities: dict[str, Identity] = field(default_factory=dict)
    _full: dict[int, _Full] = field(default_factory=dict)

    def announce(self, round: int, clients: Int, down: Tensor) -> None:
        """See `Sums.announce`: here nothing follows from it."""

    def session(
        self, round: int, clients: Int, down: Tensor, group: int = 0, share: Callable[[str], Int] | None = None
    ) -> Session:
        """The session of a round, or of one of its groups, with its losses drawn.

        Args:
            round: from 0.
            clients: (K,) the cohort, or the group.
            down: the broadcast.
            group: its number; the first one's session ends those of the round before.
            share: the noise that a client adds to its report, by its name; None where it adds none.

        Raises:
            InsufficientSurvivors: too many clients are lost, in every attempt.
        """
        clients = np.sort(clients)  # in the order of the roster
        for attempt in range(self.how.attempts):
            try:
                return self._begun(round, attempt, clients, down, group, share)
            except (InsufficientSurvivors, IncompatibleOptions) as error:
                found = error
        if isinstance(found, InsufficientSurvivors):
            raise found
        raise RoundFailed(f"round {round + 1}: {found}") from found

    def _begun(
        self, round: int, attempt: int, clients: Int, down: Tensor, group: int, share: Callable[[str], Int] | None
    ) -> Session:
        """One attempt: it is known before anybody trains whether it will come to its end, but for clients that fail."""
        lost = self._lost(round, attempt, group, len(clients))
        seed = hashlib.sha256(f"{self.seed}/{round}/{attempt}/{group}".encode()).digest()
        whole = None
        if self.whole:
            whole = _Full(self._rehearsal(round, attempt, clients, lost, down), clients, share)
            seed = whole.seed
        ideal = Ideal(self.minimum, self.config(round).degree, seed, not self.how.insecure_unsigned)
        ideal.counted(range(len(clients)), lost)
        if whole is None:
            return _Ideal(ideal, clients, lost, clients[ideal.uploading(range(len(clients)), lost)], self.bits)
        self._full = dict.fromkeys(whole.asked.tolist(), whole) | (self._full if group else {})
        return whole

    def take(self, clients: Int, integers: Tensor) -> None:
        """Uploads of the clients (K,) of a block, all of one group, (K, m) whole numbers: in the whole protocol.

        Venues may call this from several threads.
        """
        if len(clients):
            self._full[int(clients[0])].take(clients, integers)

    def facts(self, clients: int) -> dict[str, Any]:
        """What the run says of it, for cohorts of so many clients: JSON values."""
        config = self.config(0)
        degree, (up, down) = config.degree(clients), traffic(config, clients)
        return {
            "protocol": self.how.protocol,
            "minimum": self.minimum,
            "bits": self.bits,
            "words": self.length,
            "neighbours": degree.neighbours,
            "threshold": degree.threshold,
            "sigma": config.sigma,
            "corrupt": config.corrupt,
            "dropout": config.dropout,
            "identities": config.signed,
            "honest_server": not config.semi_malicious,
            "lost": list(self.how.lost),
            "bytes_up": up,
            "bytes_down": down,
        }

    @property
    def whole(self) -> bool:
        """Whether the whole protocol is run."""
        return self.how.protocol == FULL

    def config(self, round: int, attempt: int = 0) -> Config:
        """The settings of a session."""
        how = self.how
        return Config(
            run=self._run,
            round=round,
            attempt=attempt,
            length=self.length,
            bits=self.bits,
            minimum=self.minimum,
            layout=self.layout,
            corrupt=how.corrupt,
            dropout=how.dropout,
            sigma=how.sigma,
            semi_malicious=not how.insecure_honest_server,
            signed=not how.insecure_unsigned,
        )

    def _lost(self, round: int, attempt: int, group: int, count: int) -> dict[int, Step]:
        """The first step that a client does not do, for the clients that are lost."""
        if not any(self.how.lost):
            return {}
        coins = keys.generator(self.seed, "lost", round, attempt, group).random((count, len(self.how.lost)))
        gone = coins < np.array(self.how.lost)
        return {k: Step(int(gone[k].argmax())) for k in np.flatnonzero(gone.any(axis=1)).tolist()}

    def _rehearsal(self, round: int, attempt: int, clients: Int, lost: dict[int, Step], down: Tensor) -> Rehearsal:
        config, names = self.config(round, attempt), [_name(c) for c in clients]
        policy = Policy(
            minimum=self.minimum,
            corrupt=config.corrupt,
            sigma=config.sigma,
            authorities=(self._authority.key,),
            insecure_unsigned=not config.signed,
            insecure_honest_server=not config.semi_malicious,
        )
        if config.signed:
            for name in names:
                if name not in self._identities:
                    self._identities[name] = self._authority.identity(name, os.urandom)
        model = hashlib.sha256(down.numpy().tobytes()).digest()
        steps = {names[k]: step for k, step in lost.items()}
        return Rehearsal(config, names, model, steps, self._identities, policy)


@dataclass
class _Ideal:
    """The ideal functionality."""

    ideal: Ideal
    cohort: Int
    lost: dict[int, Step]
    asked: Int
    bits: int

    def close(self, total: Total, failed: Int) -> Total:
        places = {int(c): k for k, c in enumerate(self.cohort)}
        silent = {places[int(c)]: Step.MASK for c in failed}
        earlier = {k: min(step, silent.get(k, Step.OVER)) for k, step in self.lost.items()}
        self.ideal.counted(range(len(self.cohort)), silent | earlier)
        return replace(total, total=centred(total.total, self.bits))


class _Full:
    """The whole protocol."""

    def __init__(self, rehearsal: Rehearsal, cohort: Int, share: Callable[[str], Int] | None) -> None:
        self.rehearsal, self._share, self._sent = rehearsal, share, set[int]()
        there = set(rehearsal.begin())
        self.asked: Int = np.array([c for c in cohort if _name(c) in there], dtype=np.int64)
        self._turn = threading.Lock()

    @property
    def seed(self) -> bytes:
        """Of the session's graph."""
        return ring_seed(self.rehearsal.server.members.session)

    def take(self, clients: Int, integers: Tensor) -> None:
        """See `Securing.take`."""
        with self._turn:
            for client, row in zip(clients.tolist(), integers.numpy(), strict=True):
                self._upload(client, row.astype(np.int64))

    def _upload(self, client: int, row: NDArray[np.int64]) -> None:
        name, bits = _name(client), self.rehearsal.config.bits
        if self._share is not None:
            row = centred(torch.from_numpy(row + self._share(name)), bits).numpy()
        self._sent.add(client)
        self.rehearsal.upload(name, row)

    def close(self, total: Total, failed: Int) -> Total:
        """See `Session.close`. Who has nothing to send, and must not be noticed, sends zeros."""
        for client in sorted(set(self.asked.tolist()) - self._sent - set(failed.tolist())):
            self._upload(client, np.zeros(self.rehearsal.config.length, np.int64))
        found = self.rehearsal.finish()
        names = self.rehearsal.server.members.names
        survivors = {names[i] for i in self.rehearsal.server.survivors}
        inside = np.array([_name(c) in survivors for c in total.counted], dtype=bool)
        losses = None if total.losses is None else total.losses[inside]
        return replace(total, total=torch.from_numpy(found), counted=total.counted[inside], losses=losses)


def _name(client: Any) -> str:
    """What a client is called among the others: its place, for ids may say who somebody is."""
    return f"{int(client):010d}"


def grid_of(federation: Federation) -> FixedPoint | None:
    """The grid of a federation's secure sums, where reports are not clipped; None where there are none.

    Raises:
        BitBudgetError: sums could overflow.
    """
    how = federation.aggregation
    return None if how is None else how.grid(_most_weight(federation), _sampling(federation), _groups(federation))


def clip_for(federation: Federation, layout: Layout) -> Clip:
    """The stage that bounds the reports of a private run.

    Raises:
        BitBudgetError: sums could overflow.
        PrivacyError: too few clients are sure to be honest.
    """
    level, how, sampling = federation.privacy, federation.aggregation, _sampling(federation)
    assert level is not None
    if how is None:
        return clip_of(level, layout.names, sampling.size)
    if level.mechanism != SKELLAM or isinstance(how, SharedKeySum):
        return clip_of(level, layout.names, sampling.size, _words(federation, how)[1])
    most = most_together(federation)
    honest = surely_honest(how.fewest(sampling), most, how.corrupt)
    if honest < 1:
        raise PrivacyError(
            f"of {most} clients {how.corrupt:.0%} may be corrupt, which is all of a sum of {how.fewest(sampling)}: "
            "state a larger minimum or a smaller share, SecureSum(minimum=..., corrupt=...)"
        )
    bits, fine = distributed.fitting(layout.size, most, honest, how.bits)
    (bound,) = (replace(bound, bits=fine) for bound in bounds_of(level, layout.names))
    shares = distributed.shares(bound, layout.size, honest, most, bits)
    coins = (
        os.urandom(32) if level.insecure_seed is None else hashlib.sha256(str(level.insecure_seed).encode()).digest()
    )
    return ClipDiscrete((bound,), shares=shares, seed=federation.seed, secret=coins)


Simulated = Securing | Enciphering
"""The sums of one run in simulation, of either kind."""


def securing_of(federation: Federation) -> Simulated | None:
    """The secure sums of a federation, or None."""
    how, chain = federation.aggregation, federation.chain
    if how is None:
        return None
    bits = _words(federation, how)[0] if chain.grid is None else chain.grid.bits
    if chain.stages and isinstance(chain.stages[-1], ClipDiscrete):
        bits = chain.stages[-1].shares.bits
    layout = chain.layout
    told = repr((layout.names, layout.shapes, chain.grid, chain.stages))
    digest = hashlib.sha256(told.encode()).digest()
    fewest = how.fewest(_sampling(federation), _groups(federation))
    if isinstance(how, SharedKeySum):
        silos = len(federation.population)
        return Enciphering(how, fewest, most_together(federation), silos, bits, layout.size, digest, federation.seed)
    return Securing(how, fewest, bits, layout.size, digest, federation.seed)


def most_together(federation: Federation) -> int:
    """Most clients in one sum."""
    return most_clients(_sampling(federation), _groups(federation))


def _groups(federation: Federation) -> int:
    """Into how many sums a cohort is split."""
    return 1 if federation.robust is None else federation.robust.groups or 1


def _sampling(federation: Federation) -> Sampling:
    return federation.sampling


def _words(federation: Federation, how: SecureSum | SharedKeySum) -> tuple[int, int]:
    """Bits of a word, and of a coordinate as large as the clip norm."""
    return how.clip_bits(_sampling(federation), isinstance(federation.privacy, LocalLevel))


def _most_weight(federation: Federation) -> float:
    """The largest weight of a client."""
    if federation.algorithm.weights == "uniform":
        return 1.0
    how = federation.aggregation
    if how is not None and how.most_examples is not None:
        return float(how.most_examples)
    # A power of two: the grid is known to all, and the largest number of examples is somebody's.
    return float(1 << (int(federation.population.sizes.max()) - 1).bit_length())

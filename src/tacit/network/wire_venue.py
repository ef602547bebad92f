"""The venue between machines: reports come over the wire, masked or as they are, and are added as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit.aggregation.compression.codec import Codec
from tacit.errors import MalformedMessage
from tacit.learning.layout import Parts
from tacit.network.desk import Answers, Asking
from tacit.network.wire_sums import WireSums
from tacit.venue.block import Block
from tacit.venue.block_sum import BlockSum, SetAside
from tacit.venue.fold import Fold, Total
from tacit.venue.local_training import LocalTraining

if TYPE_CHECKING:
    from tacit.network.networked import Networked

Int = NDArray[np.int64]

LARGEST = 2**62
"""Reports of whole numbers stay below this, so that their sum has a meaning."""


class WireVenue:
    """See `tacit.venue.venue.Venue`.

    Args:
        work: what participants do; here it is only looked at.
        at: where the run takes place.
        sums: the secure sums; None where reports come as they are.
    """

    name = "network"

    def __init__(self, work: LocalTraining, at: Networked, sums: WireSums | None) -> None:
        self.work, self._at, self._sums = work, at, sums
        self.workers = len(at.names)

    def sums(self, groups: Sequence[Sequence[Block]], down: Tensor, round: int) -> list[Total]:
        """See `Venue.sums`."""
        clients = [np.sort(np.concatenate([_NOBODY, *(block.clients for block in blocks)])) for blocks in groups]
        if self._sums is None:
            return self._plain(clients, down, round)
        answers = self._sums.upload()
        empty = torch.zeros(self.work.chain.layout.size, dtype=torch.int64)
        return [self._total(empty, group, answers.get(k, Answers())) for k, group in enumerate(clients)]

    def close(self) -> None:
        """See `Venue.close`: the participants are not this run's to close."""

    def _plain(self, groups: Sequence[Int], down: Tensor, round: int) -> list[Total]:
        """The sums of reports that come as they are, each as one fixed tree, whatever order they come in."""
        everybody = np.sort(np.concatenate([_NOBODY, *groups]))
        blob = self._at.broadcast(round, down)
        self._at.begin(round, everybody, blob)
        reading = Reading(self.work, self.work.down.unpack(down))
        placed = {int(k): (g, place) for g, group in enumerate(groups) for place, k in enumerate(group)}
        names = {self._at.names[k]: k for k in everybody.tolist()}
        folds = [Fold(self.work.chain.layout.size, self.work.chain.dtype) for _ in groups]

        added = set[str]()

        def take(name: str, body: bytes | memoryview) -> None:
            if name in added:  # it could not be noted, and comes again: it is in the sum already
                return
            group, place = placed[names[name]]
            report = reading.read(bytes(body))
            added.add(name)
            folds[group].add(place, BlockSum(report, np.array([names[name]], dtype=np.int64)))

        kind, blobs = self._at.opening(blob)
        asking = Asking(
            kind,
            round,
            self._at.attempt(round),
            self._at.settings.patience,
            reading.size,
            {name: self._at.order(round, k) for name, k in names.items()},
            take,
            blobs,
            self._at.trained_by(list(names)),
            counted=True,
        )
        answers = self._at.asked(asking)
        answered = {names[name] for name in answers.answered}
        totals = []
        for fold, group in zip(folds, groups, strict=True):
            for place, k in enumerate(group.tolist()):
                if k not in answered:
                    fold.add(place, BlockSum(torch.zeros(fold.size, dtype=fold.dtype), _NOBODY))
            found = fold.result()
            totals.append(self._total(found.total, group, answers))
        self._at.summed(round, self._at.attempt(round), answers.answered)
        return totals

    def _total(self, total: Tensor, clients: Int, answers: Answers) -> Total:
        names = {self._at.names[k]: k for k in clients.tolist()}
        counted = np.sort(np.array([names[n] for n in answers.answered if n in names], dtype=np.int64))
        aside = [SetAside(n, f"{why.kind}: {why.text}") for n, why in sorted(answers.failed.items()) if n in names]
        return Total(total, counted, aside)


class Reading:
    """Reports in the form in which they come where the server adds them itself.

    Args:
        work: of the run.
        down: the broadcast of the round.
    """

    def __init__(self, work: LocalTraining, down: Parts) -> None:
        self._chain, self._down, self._dtype = work.chain, down, work.task.dtype
        self._codec = Codec(work.chain, work.task.dtype)
        self._whole = work.chain.dtype == torch.int64
        self.size = work.chain.layout.size * 8 if self._whole else self._codec.size
        """Bytes of every report."""

    def read(self, data: bytes) -> Tensor:
        """The report (m,) in these bytes, as it is added.

        Raises:
            MalformedMessage: they are none, or hold what is not finite.
        """
        if len(data) != self.size:
            raise MalformedMessage(f"a report of {len(data):,} bytes, where one has {self.size:,}")
        if self._whole:
            found = np.frombuffer(data, "<i8").astype(np.int64)
            if len(found) and max(abs(int(found.min())), abs(int(found.max()))) >= LARGEST:
                raise MalformedMessage("a report holds a number beyond the grid")
            return torch.from_numpy(found)
        report = self._codec.load(data, self._down)
        if not bool(torch.isfinite(report).all()):
            raise MalformedMessage("a report holds NaN or Inf: it is not added")
        return report.to(torch.float64)


_NOBODY: Int = np.empty(0, dtype=np.int64)

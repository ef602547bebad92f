"""The last of a worker's work: reports are weighed, encoded and added, and those that are not sound set aside."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tacit.aggregation.total import integer_sum, weighted_sum
from tacit.learning.layout import Parts
from tacit.venue import reason
from tacit.venue.block_sum import EXPLODED, BlockSum, Float, Int, SetAside, Trained
from tacit.venue.local_training import LocalTraining


class Adding:
    """Adds the reports of blocks, one block after another."""

    def __init__(self, work: LocalTraining) -> None:
        self.work = work
        self._into: Tensor | None = None
        self._reach = (-1, 0.0)

    def sum(self, trained: Trained, down: Parts, round: int, into: Tensor | None) -> BlockSum:
        """Weights, encodes and sums; looks for the clients to set aside only where the sum says that there are some.

        Args:
            trained: the reports.
            down: the broadcast.
            round: from 0.
            into: (m,) float64, where the sum is to lie; new memory when None.
        """
        self._into = into
        told = self._told(trained)
        done = self._sum(trained, down, round)
        done.losses = None if told is None else told[np.isin(trained.clients, done.counted)]
        return done

    def _told(self, trained: Trained) -> Float | None:
        """(K,) the training loss of every client, where they tell it one by one."""
        if not self.work.tells_losses:
            return None
        losses: Float = trained.reports[:, self.work.layout["loss"]].to(torch.float64).flatten().numpy().copy()
        return losses

    def _sum(self, trained: Trained, down: Parts, round: int) -> BlockSum:
        clients, reports, weight = trained.clients, trained.reports, trained.weight
        reach, stages = self._farthest(down["x"], round), self.work.chain.stages
        if self.work.chain.zeroes:
            return self._all(trained, down)
        if not stages and self.work.uplink is None:
            total, fine = self._at_once(reports, weight)
            if fine and (trained.moved.numpy() < reach).all():
                return BlockSum(total, clients, trained.set_aside, trained.seconds)
        good = torch.isfinite(reports).all(dim=1) & (trained.moved < reach)
        kept, weights, limits = reports[good], weight[good], weight[good]
        if stages:
            kept = self._encoded(clients[good.numpy()], kept.mul_(weights[:, None]), down)
            weights = torch.ones(len(kept))
        if (grid := self.work.chain.grid) is not None:
            fits = grid.fits(kept, weights, limits)
            good[good.clone()] = fits
            kept, weights = grid.encode(kept[fits], weights[fits]), weights[fits]
        total = self._add(clients[good.numpy()], kept, weights)
        bad = torch.nonzero(~good).flatten().tolist()
        set_aside = [*trained.set_aside, *(self._unsound(reports[k], clients[k], float(trained.moved[k])) for k in bad)]
        return BlockSum(total, clients[good.numpy()], set_aside, trained.seconds)

    def _encoded(self, clients: Int, reports: Tensor, down: Parts) -> Tensor:
        """Weighted reports (K, m) through the stages; what these have their clients remember is staged."""
        work = self.work
        if not work.chain.memory:
            return work.chain.encode(reports, down)
        first, memory = work.algorithm.memory(work.task.d), work.memory.load(clients)
        assert memory is not None
        own = memory[:, first:]
        encoded = work.chain.encode(reports, down, own)
        work.memory.stage(clients, own, work.memory.slots_of(clients), first)
        return encoded

    def _all(self, trained: Trained, down: Parts) -> BlockSum:
        """Weights, encodes and sums, where reports that are not sound become zeros and nobody learns whose they are.

        Memory is kept by those only whose report is finite.
        """
        sound = torch.isfinite(trained.moved)
        if bool((trained.weight != 1).any()):
            trained.reports.mul_(trained.weight[:, None])
        total = self._add(trained.clients, self.work.chain.encode(trained.reports, down), torch.ones(len(sound)))
        return BlockSum(total, trained.clients[sound.numpy()], trained.set_aside, trained.seconds)

    def _at_once(self, reports: Tensor, weight: Tensor) -> tuple[Tensor, bool]:
        """The sum, and whether it may be believed: whether no client has to be set aside."""
        if self.work.chain.grid is None:
            return weighted_sum(reports, weight, self._into)
        return self.work.chain.grid.total(reports, weight, weight, self._into)

    def _add(self, clients: Int, encoded: Tensor, weights: Tensor) -> Tensor:
        if encoded.is_floating_point():
            return weighted_sum(encoded, weights, self._into)[0]
        if self.work.uplink is not None:
            self.work.uplink.take(clients, encoded)
            encoded = encoded[:0]
        return integer_sum(encoded, None if self._into is None else self._into.view(torch.int64))

    def _unsound(self, report: Tensor, client: int, moved: float) -> SetAside:
        layout = self.work.layout
        update = report[layout[layout.names[0]]]
        loss = report[layout["loss"]] if "loss" in layout else update.new_zeros(())
        grid = self.work.chain.grid
        why = reason.of_report(update, loss, moved) if grid is None else reason.out_of_range(grid.range)
        return SetAside(self.work.population.ids[client], why)

    def _farthest(self, x: Tensor, round: int) -> float:
        """How far a parameter may move in this round (see `EXPLODED`); looked up once a round."""
        if self._reach[0] != round:
            largest = float(torch.linalg.vector_norm(x, torch.inf)) if x.numel() else 0.0
            self._reach = round, EXPLODED * max(1.0, largest)
        return self._reach[1]

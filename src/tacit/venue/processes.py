"""Workers as forked processes: for engines that hold the GIL.

Workers are forked once a run, so they see the population, the model and the traced graphs without a copy and without
importing anything. What goes between is small messages over pipes, and vectors in shared memory.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import signal
import traceback
from collections.abc import Sequence
from itertools import chain
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from torch import Tensor

from tacit.errors import TacitError
from tacit.learning.traced.memory import raise_malloc_thresholds
from tacit.venue.block import Block
from tacit.venue.block_sum import BlockSum
from tacit.venue.fold import Folds, Total
from tacit.venue.local_training import LocalTraining
from tacit.venue.work import Hands

SPARE = 8
"""Sums that may wait for others, besides those that workers write."""


def available() -> bool:
    """Whether processes can be forked here. A daemonic one, such as a worker of `multiprocessing.Pool`, may not."""
    return hasattr(os, "fork") and os.uname().sysname == "Linux" and not multiprocessing.current_process().daemon


def _shared(size: int, dtype: torch.dtype) -> Tensor:
    """A zero vector in memory that forked processes share."""
    width = torch.empty(0, dtype=dtype).element_size()
    return torch.frombuffer(mmap.mmap(-1, max(size, 1) * width), dtype=dtype, count=max(size, 1))[:size]


class Sheets:
    """Shared memory for the sums of blocks, known to every worker by number. Pages are taken when they are written."""

    def __init__(self, count: int, size: int, dtype: torch.dtype = torch.float64) -> None:
        self._sheets = [_shared(size, dtype) for _ in range(count)]
        self._number = {sheet.data_ptr(): k for k, sheet in enumerate(self._sheets)}
        self.clear()

    def __getitem__(self, number: int) -> Tensor:
        return self._sheets[number]

    def clear(self) -> None:
        """All are free."""
        self._free = list(range(len(self._sheets)))

    def take(self) -> int:
        """A free one; the one that was put back last, for its pages are there."""
        return self._free.pop()

    def lift(self, number: int) -> Tensor:
        """What was written on it. Where no other is free it is copied, so that work goes on."""
        if self._free:
            return self._sheets[number]
        self._free.append(number)
        return self._sheets[number].clone()

    def put(self, total: Tensor) -> None:
        """Gives back what `lift` gave."""
        if total.data_ptr() in self._number:
            self._free.append(self._number[total.data_ptr()])


def _told(error: Exception) -> tuple[type[TacitError], str, str]:
    """An error as it goes to the parent: its class (a user's own may not survive the pipe), text and traceback."""
    trace = traceback.format_exc()
    if type(error).__module__ == TacitError.__module__:
        return type(error), str(error), trace  # type: ignore[return-value]
    return TacitError, f"a worker failed: {type(error).__name__}: {error}", trace


class Processes:
    """`workers` forked processes, each with one intra-op thread; blocks go to whoever is idle."""

    name = "processes"

    def __init__(self, work: LocalTraining, workers: int) -> None:
        self.work, self.workers = work, workers
        self._down = _shared(work.down.size, work.task.dtype)
        self._sheets = Sheets(2 * workers + SPARE, work.chain.layout.size, work.chain.dtype)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        context = multiprocessing.get_context("fork")
        for _ in range(workers):
            mine, theirs = context.Pipe()
            child = context.Process(target=self._serve, args=(theirs, [*self._pipes, mine]), daemon=True)
            child.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(child)

    def _serve(self, pipe: Connection, others: list[Connection]) -> None:
        """A worker's life: until the pipe closes, take a block, train it, leave its sum on the sheet named."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for other in others:
            other.close()
        torch.set_num_threads(1)
        raise_malloc_thresholds()
        hands: Hands | None = None
        while True:
            try:
                number, block, slots, round, sheet = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                hands = hands or Hands(self.work)
                self.work.memory.tell(block.clients, slots)
                done = hands.run(block, self._down, round, self._sheets[sheet])
                pipe.send((number, done.counted, done.set_aside, done.seconds, done.losses))
            except BrokenPipeError:  # the parent has given up the round
                return
            except Exception as error:  # goes to the parent, not to a lost worker
                try:
                    pipe.send(_told(error))
                except BrokenPipeError:
                    return

    def sums(self, groups: Sequence[Sequence[Block]], down: Tensor, round: int) -> list[Total]:
        """See `Venue.sums`."""
        self._down.copy_(down)
        fold = Folds([len(blocks) for blocks in groups], self.work.chain.layout.size, self.work.chain.dtype)
        queue = iter(enumerate(chain.from_iterable(groups)))
        self._sheets.clear()
        busy: dict[Connection, tuple[int, int]] = {}

        def hand_out(worker: int) -> None:
            number, block = next(queue, (-1, None))
            if block is not None:
                pipe, sheet = self._pipes[worker], self._sheets.take()
                try:
                    pipe.send((number, block, self.work.memory.slots_of(block.clients), round, sheet))
                except OSError:
                    raise self._lost(worker) from None
                busy[pipe] = worker, sheet

        for worker in range(self.workers):
            hand_out(worker)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                worker, sheet = busy.pop(pipe)
                number, block = self._receive(pipe, worker)
                block.total = self._sheets.lift(sheet)
                hand_out(worker)
                for total in fold.add(number, block):
                    self._sheets.put(total)
        return fold.results()

    def _receive(self, pipe: Connection, worker: int) -> tuple[int, BlockSum]:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            raise self._lost(worker) from None
        if len(message) == 3:
            kind, text, trace = message
            error = kind(text)
            error.add_note(f"raised in worker {worker}:\n{trace}")
            raise error
        number, counted, set_aside, seconds, losses = message
        return number, BlockSum(self._down[:0], counted, set_aside, seconds, losses)

    def _lost(self, worker: int) -> TacitError:
        """What to say of a worker that is no longer there."""
        process = self._processes[worker]
        process.join(timeout=1)
        return TacitError(
            f"worker {worker} ended unexpectedly (exit code {process.exitcode}): was it killed for memory? "
            "Take fewer workers, or resume the run from its last checkpoint"
        )

    def close(self) -> None:
        """See `Venue.close`."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()

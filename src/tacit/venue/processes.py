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
from multiprocessing.connection import Connection, wait
from typing import Any

import torch
from torch import Tensor

from tacit.errors import TacitError
from tacit.learning.traced.memory import raise_malloc_thresholds
from tacit.venue.block import Block
from tacit.venue.fold import Fold, Total
from tacit.venue.work import BlockSum, LocalTraining, Worker


def available() -> bool:
    """Whether processes can be forked here."""
    return hasattr(os, "fork") and os.uname().sysname == "Linux"


def _shared(size: int, dtype: torch.dtype) -> Tensor:
    """A zero vector in memory that forked processes share."""
    width = torch.empty(0, dtype=dtype).element_size()
    return torch.frombuffer(mmap.mmap(-1, max(size, 1) * width), dtype=dtype, count=max(size, 1))[:size]


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
        size = work.chain.layout.size
        self._out = [(_shared(size, torch.float64), _shared(size, torch.float64)) for _ in range(workers)]
        self._side = [0] * workers
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        context = multiprocessing.get_context("fork")
        for out in self._out:
            mine, theirs = context.Pipe()
            child = context.Process(target=self._serve, args=(theirs, out, [*self._pipes, mine]), daemon=True)
            child.start()
            theirs.close()
            self._pipes.append(mine)
            self._processes.append(child)

    def _serve(self, pipe: Connection, out: tuple[Tensor, Tensor], others: list[Connection]) -> None:
        """A worker's life: until the pipe closes, take a block, train it, leave its sum on one side of `out`."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for other in others:
            other.close()
        torch.set_num_threads(1)
        raise_malloc_thresholds()
        hands: Worker | None = None
        while True:
            try:
                number, block, slots, round, side = pipe.recv()
            except (EOFError, OSError):
                return
            try:
                hands = hands or Worker(self.work)
                self.work.memory.tell(block.clients, slots)
                done = hands.run(block, self._down, round, out[side])
                pipe.send((number, done.counted, done.set_aside, done.seconds))
            except BrokenPipeError:  # the parent has given up the round
                return
            except Exception as error:  # goes to the parent, not to a lost worker
                try:
                    pipe.send(_told(error))
                except BrokenPipeError:
                    return

    def sum(self, blocks: Sequence[Block], down: Tensor, round: int) -> Total:
        """See `Venue.sum`."""
        self._down.copy_(down)
        fold, queue = Fold(self.work.chain.layout.size), iter(enumerate(blocks))
        busy: dict[Connection, int] = {}

        def hand_out(worker: int) -> None:
            number, block = next(queue, (-1, None))
            if block is not None:
                pipe = self._pipes[worker]
                try:
                    pipe.send((number, block, self.work.memory.slots_of(block.clients), round, self._side[worker]))
                except OSError:
                    raise self._lost(worker) from None
                busy[pipe] = worker

        for worker in range(self.workers):
            hand_out(worker)
        while busy:
            for pipe in wait(list(busy)):
                assert isinstance(pipe, Connection)
                worker = busy.pop(pipe)
                number, block = self._receive(pipe, worker)
                hand_out(worker)
                fold.add(number, block)
        return fold.result()

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
        number, counted, set_aside, seconds = message
        side = self._side[worker]
        self._side[worker] = 1 - side  # the next block's sum goes to the other side while this one is folded
        return number, BlockSum(self._out[worker][side], counted, set_aside, seconds)

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

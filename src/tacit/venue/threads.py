"""Workers as threads of this process: for engines that do not hold the GIL, and for a single worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor

from tacit.venue.block import Block
from tacit.venue.fold import Folds, Total
from tacit.venue.local_training import LocalTraining
from tacit.venue.work import Hands


@contextmanager
def one_thread() -> Iterator[None]:
    """Holds torch to one intra-op thread: workers are the parallelism, and threads of small operators only collide."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Threads:
    """`workers` threads that take blocks from one queue; with one worker, the calling thread does the work."""

    name = "threads"

    def __init__(self, work: LocalTraining, workers: int) -> None:
        self.work, self.workers = work, workers
        self._hands = [Hands(work) for _ in range(workers)]
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="tacit") if workers > 1 else None

    def sums(self, groups: Sequence[Sequence[Block]], down: Tensor, round: int) -> list[Total]:
        """See `Venue.sums`. Torch is held to one intra-op thread meanwhile."""
        fold = Folds([len(blocks) for blocks in groups], self.work.chain.layout.size, self.work.chain.dtype)
        queue = iter(enumerate(chain.from_iterable(groups)))
        lock, stop, spare = threading.Lock(), threading.Event(), list[Tensor]()

        def labour(hands: Hands) -> None:
            torch.set_num_threads(1)
            while not stop.is_set():
                with lock:
                    number, block = next(queue, (-1, None))
                    into = spare.pop() if spare else None
                if block is None:
                    return
                done = hands.run(block, down, round, into)
                with lock:
                    spare.extend(fold.add(number, done))

        with one_thread(), torch.random.fork_rng(devices=()):
            if self._pool is None:
                labour(self._hands[0])
            else:
                futures = [self._pool.submit(labour, hands) for hands in self._hands]
                try:
                    for future in as_completed(futures):
                        future.result()
                finally:  # a failure or an interrupt ends the round now, not when all other blocks are done
                    stop.set()
        return fold.results()

    def close(self) -> None:
        """See `Venue.close`."""
        if self._pool is not None:
            self._pool.shutdown()

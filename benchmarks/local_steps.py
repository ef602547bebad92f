"""How long tacit's workers spend in local steps, threads and forked processes alike."""

from __future__ import annotations

import multiprocessing
from time import perf_counter
from types import TracebackType
from typing import Any

from tacit.learning.step import Engine, LocalRun
from tacit.venue.local_training import LocalTraining
from tacit.venue.work import Worker


class LocalSteps:
    """While entered, every new worker's engine adds its seconds to `seconds`.

    It looks behind the public interface: each worker's engine is wrapped when the worker is made.
    """

    def __init__(self) -> None:
        self._total = multiprocessing.get_context("fork").Value("d", 0.0)
        self._make = Worker.__init__

    @property
    def seconds(self) -> float:
        """Summed over all workers since the beginning."""
        return float(self._total.value)

    def __enter__(self) -> LocalSteps:
        make, total = self._make, self._total

        def watched(worker: Worker, work: LocalTraining) -> None:
            make(worker, work)
            worker.engine = _Watched(worker.engine, total)

        Worker.__init__ = watched  # type: ignore[assignment, method-assign]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        Worker.__init__ = self._make  # type: ignore[method-assign]


class _Watched:
    """An engine and a clock."""

    def __init__(self, engine: Engine, total: Any) -> None:
        self.name, self.threads = engine.name, engine.threads
        self._engine, self._total = engine, total

    def run(self, job: LocalRun, *outputs: Any) -> Any:
        start = perf_counter()
        moved = self._engine.run(job, *outputs)
        seconds = perf_counter() - start
        with self._total.get_lock():
            self._total.value += seconds
        return moved

"""What secure sums in ideal mode, the default of simulations, add to a round of workload A."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter, process_time
from typing import Any

import numpy as np

import tacit
from benchmarks import models, workloads
from benchmarks.workloads import Workload

NEAR = 1e-4
"""How far the two models may be apart, relative to their length: sums are rounded to a grid."""


class Clock(tacit.Callback):
    """Seconds of each round after the first, by the clock and of the processor."""

    def __init__(self) -> None:
        self.rounds: list[tuple[float, float]] = []
        self._last = (0.0, 0.0)

    def on_start(self, rounds: int, facts: Mapping[str, Any]) -> None:
        """Starts."""
        self._last = perf_counter(), process_time()

    def on_round_end(self, row: Mapping[str, Any]) -> None:
        """Notes, and starts anew."""
        now = perf_counter(), process_time()
        if row["round"] > 1:
            self.rounds.append((now[0] - self._last[0], now[1] - self._last[1]))
        self._last = perf_counter(), process_time()


def turns(repeats: int, rounds: int, quick: bool) -> dict[str, Any]:
    """Runs with and without secure sums, in turns: the mean of the rounds of each.

    Returns:
        `seconds` and `cpu`, each with `plain` and `secure`, by turn.

    Raises:
        RuntimeError: the two do not learn the same.
    """
    workload, found = workloads.find("A", quick), {"plain": list[tuple[float, float]](), "secure": []}
    ends = {}
    for _ in range(repeats):
        for name, how in (("plain", None), ("secure", tacit.SecureSum())):
            clock = Clock()
            ends[name] = _federation(workload, how).run(rounds + 1, callbacks=[clock], progress=False)
            found[name].append(tuple(np.mean(clock.rounds, axis=0).tolist()))
    _require_same(ends["plain"], ends["secure"])
    return {
        "clients": workload.clients,
        "seconds": {name: [wall for wall, _ in some] for name, some in found.items()},
        "cpu": {name: [used for _, used in some] for name, some in found.items()},
    }


def _federation(workload: Workload, how: tacit.SecureSum | None) -> tacit.Federation:
    solver = tacit.SGD(lr=workload.lr, batch_size=workload.batch_size, epochs=workload.epochs)
    return tacit.Federation(
        tacit.Task(models.build(workload), models.loss_of(workload)),
        tacit.Population.from_arrays(workloads.population(workload)),
        tacit.FedAvg(solver),
        seed=1,
        aggregation=how,
    )


def _require_same(plain: Any, secure: Any) -> None:
    one, other = (np.concatenate([np.ravel(t) for t in run.tensors.values()]) for run in (plain, secure))
    apart = float(np.linalg.norm(one - other) / np.linalg.norm(one))
    if not apart < NEAR:
        raise RuntimeError(f"with secure sums the model is {apart:.2g} of its length away: not the same work")

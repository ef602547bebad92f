"""tacit through its public interface, with everything at its default.

A round is what lies between the ends of two rounds on the clock of a callback, so nothing that the framework does is
left out. `--watch` also counts the seconds that workers spend in local steps, to find what everything else costs.
`--private` clips every report, adds noise and keeps a ledger; the bound is so wide and the noise so small that the same
is learned, for that is held against the naive loop.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import tacit
from benchmarks import models, workloads
from benchmarks.contestant import Channel, Job, enter
from benchmarks.local_steps import LocalSteps
from benchmarks.naive import exported


class Clock(tacit.Callback):
    """Reports each round."""

    def __init__(self, channel: Channel, note: str, steps: LocalSteps | None) -> None:
        self._channel, self._note, self._steps = channel, note, steps
        self._start, self._before, self._workers = 0.0, 0.0, 1

    def on_start(self, rounds: int, facts: Mapping[str, Any]) -> None:
        """Says which engine was chosen, and starts the clock."""
        self._workers = int(facts["workers"])
        how = f"engine {facts['engine']}, {self._workers} workers as {facts['venue']}{self._note}"
        self._channel.ready(how, "torch", "numpy", "numba", "scipy")
        self._restart()

    def on_round_end(self, row: Mapping[str, Any]) -> None:
        """Reports and starts the clock anew."""
        seconds = perf_counter() - self._start
        phases = {name.removeprefix("seconds_"): row[name] for name in row if name.startswith("seconds_")}
        more: dict[str, Any] = {"phases": phases, "loss": row["loss"]}
        if self._steps is not None:
            more["local"] = (self._steps.seconds - self._before) / self._workers
        # The model is reported at the end: a callback does not see it.
        self._channel.round(int(row["round"]), seconds, **more)
        self._restart()

    def _restart(self) -> None:
        self._before = self._steps.seconds if self._steps is not None else 0.0
        self._start = perf_counter()


def federation(job: Job) -> tacit.Federation:
    """The workload in tacit's words."""
    workload = job.workload
    solver = tacit.SGD(lr=workload.lr, batch_size=workload.batch_size, epochs=workload.epochs)
    level = tacit.UserLevel(noise_multiplier=1e-7, clip=100.0) if job.options.private else None
    return tacit.Federation(
        tacit.Task(models.build(workload), models.loss_of(workload)),
        tacit.Population.from_arrays(workloads.population(workload)),
        tacit.FedAvg(solver),
        seed=job.seed,
        privacy=level,
        engine=job.options.engine,
    )


def race(job: Job, channel: Channel) -> None:
    """Runs tacit; then one round again from the start, whose model is the one to be checked."""
    if job.device != "cpu":
        raise SystemExit("tacit trains on the CPU: leave --device at cpu")
    os.environ["TACIT_LEDGER"] = str(Path(tempfile.mkdtemp()) / "ledger.sqlite")
    steps = LocalSteps() if job.options.watch else None
    note = "; seconds in local steps counted" if job.options.watch else ""
    note += "; clipped, noised and charged" if job.options.private else ""
    with steps or nullcontext():
        federation(job).run(job.rounds_in_all, callbacks=[Clock(channel, note, steps)], progress=False)
    if job.model is not None:
        channel.keep(exported(federation(job).run(1, progress=False).tensors))


def options(parser: argparse.ArgumentParser) -> None:
    """Which engine, and whether to look inside."""
    parser.add_argument("--engine", default="auto", help="auto, fused, traced or eager (default auto)")
    parser.add_argument("--private", action="store_true", help="with user-level differential privacy")
    parser.add_argument("--watch", action="store_true", help="count the seconds that workers spend in local steps")


if __name__ == "__main__":
    enter(__doc__, race, options)

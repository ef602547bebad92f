"""The engine ladder: the fastest engine that accepts a task and agrees with the eager one, by rule, never by timing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tacit.errors import UsageError
from tacit.learning.batches import Batches, Examples
from tacit.learning.eager import EagerEngine
from tacit.learning.solver import Correction, Solver, lr_at
from tacit.learning.step import Engine, LocalRun
from tacit.learning.task import Task

ENGINES = ("auto", "fused", "traced", "eager")
TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Largest difference to the eager engine after a few steps, relative to the largest change of any parameter."""
STEPS = 4
"""Steps of each client in the verification: full batches, then one tail."""


@dataclass(frozen=True)
class Choice:
    """Which engine runs, and why no faster one does.

    Attributes:
        name: "fused", "traced" or "eager".
        make: makes one engine for each worker.
        threads: whether workers may be threads.
        declined: faster engines that were not taken, with the reason.
        deviation: largest relative difference to the eager engine that the verification saw.
    """

    name: str
    make: Callable[[], Engine]
    threads: bool
    declined: dict[str, str] = field(default_factory=dict)
    deviation: float = 0.0


def choose(task: Task, solver: Solver, sample: Examples, proximal: float, offset: bool, engine: str = "auto") -> Choice:
    """Climbs the ladder.

    Args:
        task, solver: what every client runs.
        sample: examples of a few real clients, on which engines are verified.
        proximal: coefficient of the algorithm's proximal term.
        offset: whether the algorithm adds a vector to the gradients.
        engine: "auto", or the name of the one engine to take (still verified).

    Raises:
        UsageError: the engine that was asked for does not accept the task, or disagrees with the eager one.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine is {engine!r}: give one of {', '.join(ENGINES)}")
    if engine == "eager":
        return Choice("eager", lambda: EagerEngine(task, solver), False)
    from tacit.learning.fused.engine import FusedEngine
    from tacit.learning.traced.engine import TracedEngine

    declined: dict[str, str] = {}
    candidates: list[tuple[str, Callable[[], str | None], Callable[[], Engine], bool]] = [
        ("fused", lambda: FusedEngine.accepts(task, solver), lambda: FusedEngine(task, solver), True),
        ("traced", lambda: TracedEngine.accepts(task, solver, sample), lambda: TracedEngine(task, solver), False),
    ]
    for name, refuses, make, threads in candidates:
        if engine not in ("auto", name):
            continue
        reason = refuses()
        if reason is None:
            deviation = verify(task, solver, make(), sample, proximal, offset)
            if deviation <= TOLERANCE[task.dtype]:
                return Choice(name, make, threads, declined, deviation)
            reason = f"it differs from the eager engine by {deviation:.1e} of the largest change"
        declined[name] = reason
        if engine == name:
            raise UsageError(f"the {name} engine cannot run this task: {reason}; leave engine at 'auto'")
    return Choice("eager", lambda: EagerEngine(task, solver), False, declined)


def verify(task: Task, solver: Solver, engine: Engine, sample: Examples, proximal: float, offset: bool) -> float:
    """Runs a few steps of the sample's clients on `engine` and on the eager one.

    Returns:
        The largest difference of any parameter, buffer or loss, relative to the largest change of its kind.
    """
    x, b = task.initial()
    count = len(sample.size)
    rng = torch.Generator().manual_seed(0)
    shift = torch.randn(count, task.d, generator=rng, dtype=task.dtype) * 0.01 if offset else None
    job = LocalRun(
        x, b, sample, _few_steps(solver, sample), Correction(proximal, shift), lr_at(solver, 0), tuple(range(count))
    )
    outcomes = [_outcome(e, job, task) for e in (EagerEngine(task, solver), engine)]
    worst = 0.0
    for truth, mine, start in zip(*outcomes, (x, b, torch.zeros(count, dtype=task.dtype)), strict=True):
        if not truth.numel():
            continue
        scale = float((truth - start).abs().max())
        difference = float((truth - mine).abs().max())
        worst = max(worst, difference / scale if scale else difference)
    return worst if np.isfinite(worst) else float("inf")


def _outcome(engine: Engine, job: LocalRun, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    count = len(job.examples.size)
    y = torch.zeros(count, task.d, dtype=task.dtype)
    buffers = torch.zeros(count, len(job.b), dtype=task.dtype)
    loss = torch.zeros(count, dtype=task.dtype)
    state = torch.get_rng_state()
    engine.run(job, y, buffers, loss)
    torch.set_rng_state(state)
    return y, buffers, loss


def _few_steps(solver: Solver, sample: Examples) -> Batches:
    """Up to `STEPS` batches of each client in row order, the last of them the client's tail where it has one."""
    orders, lengths, counts = [], [], []
    for start, n in zip(sample.start.tolist(), sample.size.tolist(), strict=True):
        size = min(solver.batch_size or n, n)
        full, tail = min(n // size, STEPS - 1), n % size
        mine = [size] * full + ([tail] if tail else [])
        orders.append(start + np.arange(sum(mine), dtype=np.int64))
        lengths.extend(mine)
        counts.append(len(mine))
    return Batches(
        np.concatenate(orders),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )

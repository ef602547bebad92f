"""The engine ladder: the fastest engine that accepts a task and agrees with the eager one, by rule, never by timing.

Private steps have a ladder of their own, whose lowest rung takes one example at a time.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from tacit.errors import TacitWarning, UnboundedState, UsageError
from tacit.learning.batches import Batches, Examples
from tacit.learning.eager import EagerEngine
from tacit.learning.probe import probe
from tacit.learning.solver import Correction, Solver, lr_at
from tacit.learning.step import Engine, LocalRun, Perturbation
from tacit.learning.task import Task
from tacit.secret_draws import KEY, SecretDraws

ENGINES = ("auto", "fused", "traced", "ghost", "vmapped", "eager")
PRIVATE = ("fused", "ghost", "vmapped", "eager")
"""Engines that make steps private, fastest first."""
TOLERANCE = {torch.float32: 5e-3, torch.float64: 1e-6}
"""Largest distance to the eager engine after a few steps, relative to how far it went (Euclidean norms).

Rounding alone may flip a ReLU or the winner of a max-pool, after which a few parameters differ by much more than
rounding: a tolerance on single parameters would turn good engines away. A wrong step is wrong by about 1.
"""
STEPS = 4
"""Steps of each client in the verification: full batches, then one tail."""
FEW = 8
"""Examples in a batch where private steps are verified: the eager engine takes one at a time."""


@dataclass(frozen=True)
class Choice:
    """Which engine runs, and why no faster one does.

    Attributes:
        name: "fused", "traced", "vmapped" or "eager".
        make: makes one engine for each worker.
        threads: whether workers may be threads.
        device: where the local steps run.
        block: clients in a block that the engine works best with; None leaves it to the venue.
        declined: faster engines that were not taken, with the reason.
        deviation: largest relative distance to the eager engine that the verification saw.
        alone: whether one worker must train all clients, because the model keeps state between them.
    """

    name: str
    make: Callable[[], Engine]
    threads: bool = False
    device: str = "cpu"
    block: int | None = None
    declined: dict[str, str] = field(default_factory=dict)
    deviation: float = 0.0
    alone: bool = False


@dataclass(frozen=True)
class Rung:
    """An engine that may be chosen: whether it refuses the task, and how it is made.

    Attributes:
        quiet: makes the engine for a task without dropout, for engines that draw other masks than the eager one.
    """

    choice: Choice
    refuses: Callable[[], str | None]
    quiet: Callable[[Task], Engine] | None = None


def choose(
    task: Task,
    solver: Solver,
    sample: Examples,
    proximal: float,
    offset: bool,
    engine: str = "auto",
    device: str = "cpu",
    clip: float | None = None,
    private: bool = False,
) -> Choice:
    """Climbs the ladder.

    Args:
        task, solver: what every client runs.
        sample: examples of a few real clients, on which engines are verified.
        proximal: coefficient of the algorithm's proximal term.
        offset: whether the algorithm adds a vector to the gradients.
        engine: "auto", or the name of the one engine to take (still verified).
        device: "cpu", or the accelerator on which the vmapped engine is tried first.
        clip: what gradients of single examples are cut to, where steps are private; None where they are not.
        private: whether no client may change another's report, so that a model that keeps state is refused.

    Raises:
        UnboundedState: it is.
        UsageError: the engine that was asked for does not accept the task, or disagrees with the eager one.
    """
    if engine not in ENGINES:
        raise UsageError(f"engine is {engine!r}: give one of {', '.join(ENGINES)}")
    declined: dict[str, str] = {}
    effects = probe(task.model, task.loss, sample.x, sample.y).effects
    if effects and (private or clip is not None):
        raise UnboundedState(
            f"the model or its loss keeps state that no report carries: {effects}. What one client leaves in it would "
            "change the reports of others, past every bound on its own: keep no state, or train without privacy"
        )
    if effects:
        warnings.warn(
            f"the model or its loss keeps state that no report carries: {effects}. It goes on from client to client. "
            "One worker trains eagerly, so that the order is fixed; a resumed run begins with fresh state",
            TacitWarning,
            stacklevel=2,
        )
    rungs = _rungs(task, solver, sample, engine, device) if clip is None else _private(task, solver, sample, engine)
    for rung in rungs:
        name, reason, deviation = rung.choice.name, effects or rung.refuses(), 0.0
        if reason is None:
            deviation = _deviation(rung, task, solver, sample, proximal, offset, clip)
            if deviation <= TOLERANCE[task.dtype]:
                return replace(rung.choice, declined=declined, deviation=deviation)
            reason = f"it differs from the eager engine by {deviation:.1e} of the change that they make"
        declined[name] = reason
        if engine == name:
            raise UsageError(f"the {name} engine cannot run this task: {reason}; leave engine at 'auto'")
        if rung.choice.device != "cpu":
            text = f"device={device!r} is not used, local steps run on the CPU: the {name} engine declined, {reason}"
            warnings.warn(text, TacitWarning, stacklevel=2)
    return Choice("eager", lambda: _eager(task, solver, clip), declined=declined, alone=bool(effects))


def _eager(task: Task, solver: Solver, clip: float | None) -> Engine:
    """The truth that other engines are held against."""
    if clip is None:
        return EagerEngine(task, solver)
    from tacit.learning.dp_sgd.alone import Alone
    from tacit.learning.dp_sgd.engine import PrivateEngine

    return PrivateEngine(task, solver, Alone)


def _rungs(task: Task, solver: Solver, sample: Examples, engine: str, device: str) -> Iterator[Rung]:
    """The engines above the eager one that are to be tried, fastest first; each is imported when its turn comes."""
    if engine == "vmapped" or (engine == "auto" and device != "cpu"):
        from tacit.learning.vmapped import VmappedEngine, block_of

        make, block = (lambda: VmappedEngine(task, solver, device)), block_of(task, solver, device)
        yield Rung(
            Choice("vmapped", make, device=device, block=block),
            lambda: VmappedEngine.accepts(task, solver, sample, device),
            lambda quiet: VmappedEngine(quiet, solver, device),
        )
    if engine in ("auto", "fused"):
        from tacit.learning.fused.engine import FusedEngine

        fused = Choice("fused", lambda: FusedEngine(task, solver), threads=True)
        yield Rung(fused, lambda: FusedEngine.accepts(task, solver, sample))
    if engine in ("auto", "traced"):
        from tacit.learning.traced.engine import TracedEngine

        # One instance: it is made before workers are forked, so that they inherit its graphs instead of tracing again.
        traced = Choice("traced", cache(lambda: TracedEngine(task, solver)))
        yield Rung(traced, lambda: TracedEngine.accepts(task, solver, sample))


def _private(task: Task, solver: Solver, sample: Examples, engine: str) -> Iterator[Rung]:
    """The engines for private steps above the eager one that are to be tried, fastest first."""
    if engine not in ("auto", *PRIVATE):
        raise UsageError(f"the {engine} engine makes no steps private: give one of {', '.join(PRIVATE)}, or 'auto'")
    if engine in ("auto", "fused"):
        from tacit.learning.fused.engine import FusedEngine

        fused = Choice("fused", lambda: FusedEngine(task, solver), threads=True)
        yield Rung(fused, lambda: FusedEngine.accepts(task, solver, sample))
    from tacit.learning.dp_sgd.engine import PrivateEngine
    from tacit.learning.dp_sgd.ghost import Ghost
    from tacit.learning.dp_sgd.mapped import Mapped

    for way, refuses in ((Ghost, lambda: Ghost.accepts(task, sample)), (Mapped, lambda: None)):
        if engine not in ("auto", way.name):
            continue

        def make(task: Task = task, way: type[Ghost] | type[Mapped] = way) -> Engine:
            return PrivateEngine(task, solver, way)

        yield Rung(Choice(way.name, make), refuses, make)


def _deviation(
    rung: Rung, task: Task, solver: Solver, sample: Examples, proximal: float, offset: bool, clip: float | None
) -> float:
    """How far the engine is from the eager one; without dropout, where its masks are as good but not the same."""
    deviation = _verified(task, solver, rung.choice.make(), sample, proximal, offset, clip)
    if deviation > TOLERANCE[task.dtype] and rung.quiet and (quiet := without_dropout(task)):
        return _verified(quiet, solver, rung.quiet(quiet), sample, proximal, offset, clip)
    return deviation


def _verified(
    task: Task, solver: Solver, engine: Engine, sample: Examples, proximal: float, offset: bool, clip: float | None
) -> float:
    """As `verify`; an engine of private steps that fails is infinitely far away."""
    if clip is None:
        return verify(task, solver, engine, sample, proximal, offset)
    try:
        return verify(task, solver, engine, sample, proximal, offset, clip)
    except Exception:  # whatever torch.func, or a rule for a layer, does not follow
        return float("inf")


def without_dropout(task: Task) -> Task | None:
    """The task with the dropout of its `torch.nn` layers turned off; None where it has none."""
    quiet, found = copy.copy(task), False
    quiet.model = copy.deepcopy(task.model)
    for module in quiet.model.modules():
        name = "p" if isinstance(module, nn.modules.dropout._DropoutNd) else "dropout"
        if isinstance(getattr(module, name, None), float) and getattr(module, name) > 0:
            setattr(module, name, 0.0)
            found = True
    return quiet if found else None


def verify(
    task: Task,
    solver: Solver,
    engine: Engine,
    sample: Examples,
    proximal: float,
    offset: bool,
    clip: float | None = None,
) -> float:
    """Runs a few steps of the sample's clients on `engine` and on the eager one.

    Returns:
        The largest distance of updates, buffers and losses, relative to how far the eager engine moved them.
    """
    x, b = task.initial()
    count = len(sample.size)
    rng = torch.Generator().manual_seed(0)
    shift = torch.randn(count, task.d, generator=rng, dtype=task.dtype) * 0.01 if offset else None
    private = None
    if clip is not None:  # without noise, in which differences would drown
        private = Perturbation(clip, [0.0] * count, [1.0] * count, [SecretDraws(bytes(KEY))] * count)
    batches = _few_steps(solver, sample, None if clip is None else FEW)
    job = LocalRun(x, b, sample, batches, Correction(proximal, shift), lr_at(solver, 0), tuple(range(count)), private)
    outcomes = [_outcome(e, job, task) for e in (_eager(task, solver, clip), engine)]
    worst = 0.0
    for truth, mine, start in zip(*outcomes, (0.0, b, 0.0), strict=True):
        if not truth.numel():
            continue
        scale = float(torch.linalg.vector_norm((truth - start).double()))
        difference = float(torch.linalg.vector_norm((truth - mine).double()))
        worst = max(worst, difference / scale if scale else difference)
    return worst if np.isfinite(worst) else float("inf")


def _outcome(engine: Engine, job: LocalRun, task: Task) -> tuple[Tensor, Tensor, Tensor]:
    count = len(job.examples.size)
    update = torch.zeros(count, task.d, dtype=task.dtype)
    buffers = torch.zeros(count, len(job.b), dtype=task.dtype)
    loss = torch.zeros(count, dtype=task.dtype)
    state = torch.get_rng_state()
    engine.run(job, update, buffers, loss)
    torch.set_rng_state(state)
    return update, buffers, loss


def _few_steps(solver: Solver, sample: Examples, most: int | None = None) -> Batches:
    """Up to `STEPS` batches of each client in row order, the last of them the client's tail where it has one.

    Args:
        solver, sample: as for `verify`.
        most: examples in a batch; None leaves that to the solver.
    """
    orders, lengths, counts = [], [], []
    for start, n in zip(sample.start.tolist(), sample.size.tolist(), strict=True):
        size = min(solver.batch_size or n, n) if most is None else min(most, n)
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

"""Everything that can be wrong with a federation and be seen before it computes: all of it, at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tacit.aggregation.homomorphic import problems_of as problems_of_sum
from tacit.aggregation.robust import problems_of as problems_of_rule
from tacit.aggregation.secure_sum import SecureSum
from tacit.aggregation.stage import clashes as stages_against
from tacit.algorithms.base import Algorithm
from tacit.checks import PATH, count, is_number, is_path, is_whole, offers
from tacit.errors import DataError, IncompatibleOptions, PrivacyError, Problems, SamplerMismatch, TacitError, UsageError
from tacit.fleet.buffered import FedAsync
from tacit.fleet.fitting import unfitting
from tacit.learning.labels import strange_labels
from tacit.learning.ladder import ENGINES
from tacit.learning.solver import problems_of
from tacit.learning.task import Task
from tacit.population.population import Population, some
from tacit.privacy.plan import refusals
from tacit.privacy.record_level import RecordLevel
from tacit.privacy.user_level import SKELLAM, UserLevel
from tacit.record import checkpoint as checkpoints
from tacit.rounds import differing, overlapping
from tacit.rounds.grouping import clashes
from tacit.selection.claim import claimed
from tacit.selection.table import CLIENT_LOSSES

if TYPE_CHECKING:
    from tacit.aggregation.stage import Stage
    from tacit.federation import Federation
    from tacit.selection.cohort import Sampling

ELEMENTWISE = (
    F.mse_loss,
    F.l1_loss,
    F.smooth_l1_loss,
    F.huber_loss,
    F.binary_cross_entropy,
    F.binary_cross_entropy_with_logits,
)
"""Torch's losses that compare output and target number by number."""
ELEMENTWISE_MODULES = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss)
LENGTHS = ("lr", "batch_size", "epochs", "steps")
STAGE = ("bind", "init", "broadcast", "encode", "decode")
RULE = ("done",)
CALLBACK = ("on_start", "on_round_start", "on_round_end", "on_end")


def check(federation: Federation, population: Population, stages: Sequence[Stage]) -> None:
    """Checks the parts of a federation against each other.

    Raises:
        UsageError: with every problem of choices (DataError where all of them are about data).
    """
    settings = Problems("the federation cannot run", UsageError)
    task = federation.task
    reachable = settings.check(
        isinstance(population, Population),
        f"population is a {type(population).__name__}: make one with Population.from_arrays({{client_id: (x, y)}})",
    )
    learnable = settings.check(isinstance(task, Task), f"task is a {type(task).__name__}: give a tacit.Task")
    solvable = _check_method(federation.algorithm, settings)
    settings.extend(_choices(federation, len(population) if reachable else None))
    if federation.aggregation is not None:
        sampled = reachable and offers(federation.selection, "sampling") and not settings.found
        sampled = sampled and federation.robust is None and not isinstance(federation.closing, FedAsync)
        sampling = _sampling(federation, len(population)) if sampled else None
        settings.extend(problems_of_sum(federation.aggregation, sampling))
    if federation.robust is not None:
        settings.extend(problems_of_rule(federation.robust))
    settings.extend(unfitting(federation.fleet, federation.closing, population.ids if reachable else None))
    parts_in("stages", stages, STAGE, "[tacit.NormBound(1.0)]", settings)
    data = Problems("the data cannot be learned from", DataError)
    if reachable:
        data.extend(population.problems())
    if reachable and learnable and not data.found:
        cast = population.cast(task.dtype)
        data.extend(_dry_run(task, cast))
        if solvable and not data.found:
            settings.extend(_single_example_batches(task, federation.algorithm, cast))
    if settings.found:
        settings.extend(data.found)
        settings.raise_if_any()
    data.raise_if_any()
    with Problems("the stages cannot stand here", IncompatibleOptions) as refused:
        options = {name: getattr(federation, name) for name in ("aggregation", "privacy", "robust")}
        refused.extend(stages_against(stages, **options))
    with Problems("work cannot differ by tier here", IncompatibleOptions) as problems:
        problems.extend(differing.clashes(federation))
    with Problems("rounds cannot overlap here", IncompatibleOptions) as problems:
        problems.extend(overlapping.clashes(federation, len(population)))
    if federation.robust is not None:
        _check_robust(federation, len(population), stages)
    if federation.privacy is not None:
        _check_privacy(federation, len(population), stages)
    if federation.record_privacy is not None:
        _check_records(federation, population)


def _clear_losses(federation: Federation) -> Iterator[PrivacyError]:
    """A selection that asks every client for its loss, where the run promises that nothing exact is told of any."""
    if CLIENT_LOSSES in getattr(federation.selection, "uses", ()):
        yield PrivacyError(
            f"{federation.selection!r} asks each client for its loss, a number that follows from its examples and has "
            "no noise: take tacit.Poisson or tacit.Uniform"
        )


def _check_robust(federation: Federation, clients: int, stages: Sequence[Stage]) -> None:
    """Raises what does not go together with the robust rule."""
    with Problems(f"{type(federation.robust).__name__} cannot stand here", IncompatibleOptions) as problems:
        if problems.check(
            offers(federation.selection, "sampling"),
            f"{federation.selection!r} does not say how it draws: give it sampling(clients)",
        ):
            problems.extend(clashes(federation, stages, _sampling(federation, clients)))


def _check_privacy(federation: Federation, clients: int, stages: Sequence[Stage]) -> None:
    """Raises what does not go together with privacy: the error itself where it is one, else all of them in one."""
    level: Any = federation.privacy
    if isinstance(level, RecordLevel):
        raise UsageError("privacy is a RecordLevel: give it as record_privacy, which may stand beside privacy")
    if not isinstance(level, UserLevel):
        raise UsageError(f"privacy is {level!r}: give tacit.UserLevel(epsilon=4.0, clip=1.0), say")
    with torch.random.fork_rng(devices=()):
        found = list(refusals(level, federation.task, federation.algorithm, stages, clients))
    if level.mechanism == SKELLAM and not isinstance(federation.aggregation, SecureSum):
        found.append(
            PrivacyError("mechanism 'skellam' is noise under the masks of a secure sum: give aggregation=SecureSum()")
        )
    elif level.mechanism == SKELLAM:
        trusting = ("insecure_unsigned", "insecure_honest_server")
        found.extend(
            PrivacyError(f"mechanism 'skellam' holds against the server, and {name} trusts it: leave it out")
            for name in trusting
            if getattr(federation.aggregation, name)
        )
    if not offers(federation.selection, "sampling"):
        found.append(SamplerMismatch(f"{federation.selection!r} does not say how it draws: give it sampling(clients)"))
    else:
        found.extend(_believed(federation.selection, clients))
    found.extend(_clear_losses(federation))
    _raise_all(found)


def _sampling(federation: Federation, clients: int) -> Sampling:
    return claimed(federation.selection.sampling(clients), federation.fleet, federation.closing)


def _believed(selection: Any, clients: int) -> Iterator[PrivacyError]:
    """Chance can be believed of tacit's own selections only: from the cohorts alone it cannot be told."""
    kind, innermost = selection.sampling(clients).kind, selection
    while type(innermost).__module__.startswith("tacit.") and hasattr(innermost, "inner"):
        innermost = innermost.inner
    if kind in ("poisson", "uniform") and not type(innermost).__module__.startswith("tacit."):
        yield SamplerMismatch(
            f"{selection!r} says that it draws cohorts by chance ({kind}), and privacy would rest on it: take "
            "tacit.Poisson or tacit.Uniform, or declare Sampling('arbitrary', ...), which claims no chance"
        )


def _check_records(federation: Federation, population: Population) -> None:
    """As `_check_privacy`, for the records of the clients."""
    level: Any = federation.record_privacy
    if not isinstance(level, RecordLevel):
        raise UsageError(f"record_privacy is {level!r}: give tacit.RecordLevel(epsilon=4.0, clip=1.0), say")
    first = population.cast(federation.task.dtype).examples(np.array([0]))
    with torch.random.fork_rng(devices=()):
        task = federation.task.settled(*first.of(0))
    found = [
        *level.problems(int(population.sizes.min())),
        *level.clashes(task, federation.algorithm, federation.privacy),
        *_clear_losses(federation),
    ]
    if not offers(federation.selection, "sampling"):
        found.append(SamplerMismatch(f"{federation.selection!r} does not say how it draws: give it sampling(clients)"))
    if federation.device != "cpu":
        found.append(PrivacyError(f"device is {federation.device!r}: private steps run on the CPU, device='cpu'"))
    _raise_all(found)


def _raise_all(found: list[PrivacyError]) -> None:
    """The error itself where it is one, else all of them in one."""
    if len(found) == 1:
        raise found[0]
    with Problems("the run cannot be private", PrivacyError) as problems:
        problems.extend(f"{type(error).__name__}: {error}" for error in found)


def _check_method(algorithm: Any, settings: Problems) -> bool:
    """Records what is wrong with the algorithm and its solver. Returns whether local runs can be laid out."""
    if not settings.check(
        isinstance(algorithm, Algorithm),
        f"algorithm is a {type(algorithm).__name__}: give one such as tacit.FedAvg(tacit.SGD(lr=0.1))",
    ):
        return False
    solver = getattr(algorithm, "solver", None)
    if not settings.check(
        offers(solver, "slots", "update", "norm") and all(hasattr(solver, name) for name in LENGTHS),
        f"the algorithm's solver is {solver!r}: give one such as tacit.SGD(lr=0.1)",
    ):
        return False
    found = problems_of(algorithm.solver)
    settings.extend(found + algorithm.problems())
    return not found


def parts_in(name: str, given: Any, methods: Sequence[str], example: str, problems: Problems) -> list[Any]:
    """The objects in an argument that takes several, each with `methods`; records what is something else."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        problems.add(f"{name} is {given!r}: give a list, such as {example}")
        return []
    found = list(given)
    problems.extend(f"{name} holds {one!r}: give {example}, say" for one in found if not offers(one, *methods))
    return found


def beginning(checkpoint: Any, resume: object, start: object, problems: Problems) -> Path | None:
    """The folder of a run's checkpoints, if it has one; records what is wrong with where the run is to begin."""
    problems.extend(_start_problems(start))
    placed = checkpoint is None or is_path(checkpoint)
    problems.check(placed, f"checkpoint is {checkpoint!r}: {PATH}")
    problems.check(not resume or checkpoint is not None, "resume=True needs checkpoint=FOLDER, the run's folder")
    problems.check(not (resume and start is not None), "resume=True goes on from a checkpoint: leave start out")
    folder = Path(checkpoint) if checkpoint is not None and placed else None
    problems.check(folder is None or folder.is_dir() or not folder.exists(), f"{checkpoint} is a file: give a folder")
    problems.check(
        folder is None or bool(resume) or not checkpoints.found(folder),
        f"{checkpoint} holds the checkpoints of a run: give resume=True to go on with it, or another folder",
    )
    return folder


def _start_problems(start: object) -> list[str]:
    """What is wrong with weights to start from, before they are held against the model."""
    if isinstance(start, nn.Module):
        return [f"start is a model ({type(start).__name__}): give its weights, start=model.state_dict()"]
    if isinstance(start, Mapping):
        kept = {name for name, v in start.items() if isinstance(v, Tensor) and not v.is_meta and not v.is_complex()}
        bad = [name for name in start if name not in kept]
        text = f"start holds no tensor of real numbers for {some(bad)}: give one for each, as model.state_dict()"
        return [text] if bad else []
    good = start is None or is_path(start)
    return [] if good else [f"start is {start!r}: give a mapping of tensors, or the path of a safetensors file"]


def _choices(federation: Federation, clients: int | None) -> Iterator[str]:
    """What is wrong with the federation's own arguments; `clients` is None where there is no population."""
    selection: Any = federation.selection
    minimum: Any = federation.minimum
    seed: Any = federation.seed
    engine: Any = federation.engine
    if offers(selection, "draw", "problems"):
        yield from [] if clients is None else selection.problems(clients)
    else:
        yield f"selection is {selection!r}: give one such as tacit.Uniform(10) or tacit.Everyone()"
    yield from count("workers", federation.workers)
    if not is_number(minimum) or not 0 <= minimum <= 1:
        yield f"minimum is {minimum!r}: give a share from 0 to 1"
    if not isinstance(engine, str) or engine not in ENGINES:
        yield f"engine is {engine!r}: give one of {', '.join(ENGINES)}"
    if federation.device != "cpu" and not has_device(federation.device):
        yield f"device is {federation.device!r}: torch finds no such accelerator here; give 'cpu'"
    if not is_whole(seed):
        yield f"seed is {seed!r}: give a whole number"


def has_device(name: str) -> bool:
    """Whether torch can compute on the device of that name."""
    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError, NotImplementedError, TypeError, ValueError):
        return False
    return True


def _single_example_batches(task: Task, algorithm: Algorithm, population: Population) -> list[str]:
    """BatchNorm has no statistics for a batch of one example that holds one value for each channel."""
    if not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in task.model.modules()):
        return []
    size = algorithm.solver.batch_size
    tails = (population.sizes - 1) % size + 1 if size else population.sizes
    lonely = np.flatnonzero(tails == 1)
    if not len(lonely) or _trains_on_one(task, population):
        return []
    names = some([population.ids[k] for k in lonely])
    return [
        f"the model has BatchNorm, and clients {names} end an epoch with a batch of one example "
        f"(batch_size={size}): choose another batch size, or GroupNorm"
    ]


def _trains_on_one(task: Task, population: Population) -> bool:
    """Whether the model runs on a batch of one example in training mode."""
    inputs = population.examples(np.array([0])).of(0)[0][:1].clone()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=()):
            task.bind().module.train()(inputs)
    except ValueError:
        return False
    return True


def _dry_run(task: Task, population: Population) -> list[str]:
    """Runs the model and the loss on two examples of the first client."""
    try:
        examples = population.examples(np.array([0]))
    except TacitError as error:
        return [str(error)]
    inputs, target = (t[:2].clone() for t in examples.of(0))  # a model may write into its input
    try:
        model = task.bind().module.eval()
    except Exception as error:  # a model of the user's may hold anything
        return [f"the model cannot be copied ({type(error).__name__}: {error}): keep no such thing in its attributes"]
    state = torch.get_rng_state()
    try:
        with torch.no_grad():
            output = model(inputs.clone())
            mixing = _mixing_problems(task.loss, model, inputs, target)
            loss: object = None if mixing else task.loss(output, target)
    except Exception as error:  # whatever the user's model or loss raises is the finding
        return [
            f"the model or the loss fails on examples of client {population.ids[0]!r} "
            f"(x {tuple(inputs.shape)} {inputs.dtype}, y {tuple(target.shape)} {target.dtype}): {error}"
        ]
    finally:
        torch.set_rng_state(state)
    if mixing:
        return mixing
    found = []
    if not isinstance(loss, Tensor) or loss.dim() != 0:
        shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        found.append(f"the loss returns {shape}, not a scalar: average it over the batch")
    for name, metric in task.metrics.items():
        found.extend(_metric_problems(name, metric, output, target))
    return found + _label_problems(task, output, population)


def _mixing_problems(loss: Any, model: nn.Module, inputs: Tensor, target: Tensor) -> list[str]:
    """An output and a target of which torch's elementwise losses would hold every example against every other.

    Where one has an axis more, broadcasting lays the examples of the one along another axis of the other, with a
    warning at most. Axes of the same number stay the user's choice, and so does every loss that is not torch's own.
    """
    function = loss.func if isinstance(loss, partial) else loss
    if function not in ELEMENTWISE and type(loss) not in ELEMENTWISE_MODULES:
        return []
    # One example may look like none where the model squeezes its output, so there are at least two.
    x, y = (torch.cat([t, t]) if len(t) == 1 else t.clone() for t in (inputs, target))
    output = model(x)
    if not isinstance(output, Tensor) or output.dim() == y.dim():
        return []
    name = getattr(function, "__name__", type(loss).__name__)
    shapes = f"the model gives {('n', *output.shape[1:])} and y is {('n', *y.shape[1:])} for n examples".replace(
        "'", ""
    )
    if tuple(output.shape) == (*y.shape, 1):
        remedy = "give y of shape (n, 1), as y[:, None], or target.unsqueeze(1) to the loss"
    elif (*output.shape, 1) == tuple(y.shape):
        remedy = "give y of shape (n,), as y[:, 0], or let the model keep its last axis"
    else:
        remedy = "give both the same shape"
    return [f"{shapes}: {name} would hold every example against every other; {remedy}"]


def _metric_problems(name: str, metric: object, output: Tensor, target: Tensor) -> list[str]:
    try:
        float(metric(output, target))  # type: ignore[operator]
    except Exception as error:  # as above
        return [f"metric {name!r} does not give a number: {error}"]
    return []


def _label_problems(task: Task, output: Tensor, population: Population) -> list[str]:
    """Class labels outside [0, classes) where the loss is a classification loss and the data are in memory."""
    from tacit.population.arrays import ArrayPopulation

    if not isinstance(population, ArrayPopulation):
        return []
    strange = strange_labels(task.loss, output, population.y)
    if strange is None:
        return []
    owners = np.unique(np.searchsorted(population.start, strange.rows, side="right") - 1)
    names, classes = some([population.ids[k] for k in owners]), strange.classes
    return [
        f"labels {list(strange.values)} of clients {names} are outside the model's {classes} classes: "
        f"number them 0 to {classes - 1}"
    ]

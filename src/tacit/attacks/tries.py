"""Inversion tried on several clients, side by side: what came back, and what another client's data would have given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tacit import keys
from tacit.attacks import inversion
from tacit.attacks.material import ANALYTIC, Material
from tacit.attacks.similarity import cosine, matched, overlap, psnr, share_of_top, ssim
from tacit.attacks.target import CLIPPED, SETTINGS
from tacit.learning.solver import SGD, lr_at

Real = NDArray[np.float64]

LOCAL = "local training"
MOST_SOUGHT = 10
"""Of more examples than this, so many are sought by optimisation."""
AT_CLIP = 0.999
MEASURES = ("cosine", "psnr", "ssim", "history", "labels")


@dataclass(frozen=True)
class Work:
    """What the client does: one step on its latest examples, or the run's own local training.

    Attributes:
        name: for people.
        examples: so many; None for all, and the run's own solver.
    """

    name: str
    examples: int | None


def works(batches: Sequence[int]) -> tuple[Work, ...]:
    """One step on so many examples each, and local training."""
    steps = (Work(f"one step, {count} example{'s' if count > 1 else ''}", count) for count in batches)
    return (*steps, Work(LOCAL, None))


@dataclass(frozen=True)
class Try:
    """One client attacked once.

    Attributes:
        material, work, method, setting: see there.
        client: its position.
        seed: of batches and attack.
        recovered: (r, F) what came back.
        true: (r, F) what each stands for.
        control: (r, F) examples of another client, each matched in the same way.
        found: each measure of `recovered`; `None` where it has no meaning.
        by_chance: the same of `control`.
    """

    material: str
    work: str
    method: str
    setting: str
    client: int
    seed: int
    recovered: Real
    true: Real
    control: Real
    found: dict[str, float | None]
    by_chance: dict[str, float | None]


@dataclass(frozen=True)
class Row:
    """Several tries of one kind, as numbers: the mean over them and their standard deviation.

    Attributes:
        material, work, method, setting: of which kind.
        tries: how many.
        mean, spread: of each measure; None where it has no meaning, or for a single try.
        control: the mean of each for another client's examples.
    """

    material: str
    work: str
    method: str
    setting: str
    tries: int
    mean: dict[str, float | None]
    spread: dict[str, float | None]
    control: dict[str, float | None]


def tried(
    material: Material, kinds: Sequence[Work], clients: int, seed: int, steps: int, told: Callable[[str], None]
) -> Iterator[Try]:
    """Attacks `clients` clients, drawn by `seed`, with every kind of work, setting and method."""
    population = material.target.federation.population
    drawn = keys.generator(seed, "attack", "clients").permutation(len(population))
    victims = drawn[: min(clients, len(population) // 2)].tolist()
    others = drawn[::-1][: len(victims)].tolist()
    for work in kinds:
        for setting in SETTINGS:
            for number, (client, other) in enumerate(zip(victims, others, strict=True)):
                told(f"inversion, {material.name}, {work.name}, {setting}")
                yield from _of_client(material, work, setting, client, other, seed + number, steps)


def _of_client(
    material: Material, work: Work, setting: str, client: int, other: int, seed: int, steps: int
) -> Iterator[Try]:
    target, most = material.target, work.examples
    solver = None if most is None else SGD(lr=lr_at(target.federation.algorithm.solver, 0), steps=1)
    update = target.message(setting, client, solver=solver, most=most, seed=seed)
    y = material.examples(client, most)[1]
    guessed = None
    if material.classes:
        gradient = -update / material.moved(client, most, solver)
        shrunk = setting == CLIPPED and float(update.norm()) >= AT_CLIP * (target.level.clip or 0.0)
        guessed = inversion.labels(target.federation.task, gradient, len(y), shrunk=shrunk)
    for method in material.methods:
        recovered = _recovered(material, method, update, guessed, seed, steps)
        if recovered is None:
            continue
        true, control = material.rows(client, most), material.rows(other, most)
        if method == ANALYTIC:
            true, control = true.mean(0, keepdims=True), control.mean(0, keepdims=True)
        control = control[: len(recovered)]
        mine, its = true[matched(recovered, true)], true[matched(control, true)]
        theirs = material.examples(other, most)[1]
        found = _measured(material, recovered, mine, guessed, y)
        chance = _measured(material, control, its, None if guessed is None else _numbers(theirs), y)
        yield Try(material.name, work.name, method, setting, client, seed, recovered, mine, control, found, chance)


def _recovered(
    material: Material, method: str, update: Tensor, guessed: NDArray[np.int64] | None, seed: int, steps: int
) -> Real | None:
    task, (low, high) = material.target.federation.task, material.span
    if method == ANALYTIC:
        found = inversion.analytic(task, update)
        return None if found is None else np.clip(found, low, high)[None]
    if guessed is None:
        return None
    y = torch.from_numpy(guessed[:MOST_SOUGHT])
    shape = material.shape
    made = inversion.optimised(task, update, y, shape, span=material.span, steps=steps, tv=material.tv, seed=seed)
    return made.reshape(len(y), -1)


def _measured(
    material: Material, recovered: Real, true: Real, guessed: NDArray[np.int64] | None, y: Tensor
) -> dict[str, float | None]:
    """Every measure of `MEASURES`, the mean over what was recovered."""
    pairs = list(zip(recovered, true, strict=True))
    found: dict[str, float | None] = dict.fromkeys(MEASURES)
    found["cosine"] = fmean(float(cosine(a[None], b[None])[0, 0]) for a, b in pairs)
    if material.images:
        flat = material.shape[1:]
        found["psnr"] = fmean(psnr(a, b, material.span[1] - material.span[0]) for a, b in pairs)
        found["ssim"] = fmean(ssim(a.reshape(flat), b.reshape(flat)) for a, b in pairs)
    if material.history:
        columns = list(material.history.values())
        found["history"] = fmean(share_of_top(a[columns], b[columns]) for a, b in pairs)
    if guessed is not None:
        found["labels"] = overlap(guessed, _numbers(y))
    return found


def _numbers(y: Tensor) -> NDArray[np.int64]:
    return np.asarray(y.numpy(), dtype=np.int64)


def rows(tries: Sequence[Try]) -> list[Row]:
    """The tries of each kind together, in the order in which they came."""
    kinds: dict[tuple[str, str, str, str], list[Try]] = {}
    for one in tries:
        kinds.setdefault((one.material, one.work, one.method, one.setting), []).append(one)
    return [
        Row(*kind, len(each), _over(fmean, each, 1), _over(stdev, each, 2), _over(fmean, each, 1, chance=True))
        for kind, each in kinds.items()
    ]


def _over(
    of: Callable[[Sequence[float]], float], tries: Sequence[Try], least: int, *, chance: bool = False
) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for measure in MEASURES:
        values = [v for one in tries if (v := (one.by_chance if chance else one.found)[measure]) is not None]
        found[measure] = of(values) if len(values) >= least else None
    return found

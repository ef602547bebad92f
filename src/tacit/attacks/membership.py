"""Membership inference on whole clients: offline LiRA ([Carlini22] arXiv:2112.03570) with shadow federations.

Federations are trained on random halves of the clients. Each of them is attacked in turn with the others as shadows:
from those of them in which a client was absent the attack learns how well a model does on that client without having
seen it, and asks whether the attacked model does better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from tacit import keys
from tacit.attacks.roc import Roc
from tacit.attacks.target import SETTINGS, Target
from tacit.learning.task import Task
from tacit.population.population import Population

Real = NDArray[np.float64]
Coins = NDArray[np.bool_]

CHUNK = 4096
"""Examples that go through a model at once."""
LEAST = 2
"""Shadows without a client that the attack needs to know how they scatter."""


@dataclass(frozen=True)
class Membership:
    """What the attack found.

    Attributes:
        rocs: setting -> its curve.
        shadows: how many federations were trained for each setting.
        clients: N.
        claim: "epsilon" and "delta" of the federations with DP.
    """

    rocs: Mapping[str, Roc]
    shadows: int
    clients: int
    claim: Mapping[str, float]


def attacked(target: Target, shadows: int, seed: int, told: Callable[[str], None]) -> Membership:
    """Trains `shadows` federations for every setting and attacks each.

    Args:
        target: of the run.
        shadows: at least 4.
        seed: of halves, cohorts and batches; the noise of DP is never seeded.
        told: called before every federation.
    """
    population, task = target.federation.population, target.federation.task
    members = keys.generator(seed, "attack", "members").random((shadows, len(population))) < 0.5
    halved, rocs = target.drawing_more(0.5), dict[str, Roc]()
    for setting in SETTINGS:
        scores = []
        for number in range(shadows):
            told(f"membership, {setting}, federation {number + 1} of {shadows}")
            model = halved.trained(setting, members[number], seed + number)
            scores.append(confidence(task, model, population))
        found = lira(np.array(scores), members)
        rocs[setting] = Roc.of(found, members, seed=seed)
    return Membership(rocs, shadows, len(population), halved.claim)


def lira(scores: Real, members: Coins) -> Real:
    """By how many standard deviations a model does better on a client than models do that never saw it, (M, N).

    NaN where fewer than `LEAST` of the other models are without the client. The standard deviation is one for all
    clients, as Carlini et al. advise below 64 shadows.

    Args:
        scores: (M, N) of M models on N clients; more is better.
        members: (M, N) which clients each model was trained on. Of the attacked model itself it is not looked at.
    """
    outside = (~members).astype(np.float64)
    counts = outside.sum(0) - outside
    usable = np.where(counts >= LEAST, counts, np.nan)
    total, squares = outside * scores, outside * scores**2
    mean = (total.sum(0) - total) / usable
    spread = (squares.sum(0) - squares) - usable * mean**2
    pooled = np.nansum(spread, axis=1) / np.maximum(np.nansum(usable - 1, axis=1), 1)
    z: Real = (scores - mean) / np.sqrt(np.maximum(pooled, 1e-30))[:, None]
    return z


def confidence(task: Task, model: Mapping[str, Tensor], population: Population) -> Real:
    """(N,) how well a model does on each client: the mean over its examples of `log p / (1 - p)`.

    p is the probability that the model gives the right class; where targets are no classes, the mean of minus the loss.
    """
    clients = np.arange(len(population), dtype=np.int64)
    found = np.empty(len(population))
    for part in np.array_split(clients, max(1, int(population.sizes.sum()) // CHUNK)):
        if not len(part):
            continue
        held = population.examples(part)
        pairs = [held.of(k) for k in range(len(part))]
        each = _each(task, model, torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs]))
        ends = np.cumsum(held.size)
        found[part] = np.add.reduceat(each, ends - held.size) / held.size
    return found


def _each(task: Task, model: Mapping[str, Tensor], x: Tensor, y: Tensor) -> Real:
    with torch.no_grad():
        output = functional_call(task.model, dict(model), (x,))
        if y.is_floating_point() or output.dim() != 2:
            losses = [float(task.loss(output[k : k + 1], y[k : k + 1])) for k in range(len(y))]
            return -np.array(losses)
        right = output.gather(1, y[:, None])[:, 0]
        others = output.scatter(1, y[:, None], -torch.inf).logsumexp(1)
        return np.asarray((right - others).double().numpy())

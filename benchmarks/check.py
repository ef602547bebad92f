"""Was the work done? Each engine's global model after round 1 beside the naive loop's.

Shuffles differ from engine to engine, so models agree closely, not exactly. An engine that trained nothing, a part of
the clients, too few steps or with another learning rate is found out by the length and the direction of its update and
by how much the loss over all clients' examples fell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import workloads
from benchmarks.workloads import Array, Workload

LENGTH = (0.9, 1.1)
DIRECTION = 0.95
FALL = (0.9, 1.1)


@dataclass(frozen=True)
class Check:
    """One engine's model after round 1 against the naive loop's, both from the same initial model x.

    Attributes:
        distance: ||y - naive|| / ||naive||, of the models.
        length: ||y - x|| / ||naive - x||, of the updates.
        direction: cosine of the angle between the updates.
        loss: over all clients' examples, after the round.
        fall: by how much that loss fell, relative to the naive loop's.
    """

    distance: float
    length: float
    direction: float
    loss: float
    fall: float

    @property
    def passed(self) -> bool:
        """Whether the same work was done, up to the shuffles."""
        return (
            LENGTH[0] <= self.length <= LENGTH[1]
            and self.direction >= DIRECTION
            and FALL[0] <= self.fall <= FALL[1]
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f"distance {self.distance:.1e}, update x{self.length:.3f} at cosine {self.direction:.4f}, "
            f"loss {self.loss:.4f}, fall x{self.fall:.3f}"
        )


def compare(workload: Workload, models: dict[str, Path]) -> dict[str, Check]:
    """Checks each engine's model file against that of the engine called "naive".

    Args:
        workload: what they were trained on.
        models: `.npz` files by engine; those that do not exist are left out.
    """
    vectors = {name: _vector(workload, path) for name, path in models.items() if path.exists()}
    if "naive" not in vectors:
        return {}
    start = _flat(workload, workloads.initial(workload))
    before = pooled_loss(workload, start)
    truth = vectors["naive"] - start
    fall = before - pooled_loss(workload, vectors["naive"])
    checks = {}
    for name, vector in vectors.items():
        update, loss = vector - start, pooled_loss(workload, vector)
        length = _norm(update)
        checks[name] = Check(
            _norm(vector - vectors["naive"]) / _norm(vectors["naive"]),
            length / _norm(truth),
            float(update @ truth) / (length * _norm(truth)) if length else 0.0,
            loss,
            (before - loss) / fall,
        )
    return checks


def pooled_loss(workload: Workload, vector: Array) -> float:
    """Mean loss of the flat model `vector` (d,) over all clients' examples."""
    import torch

    from benchmarks import models

    model, loss = models.architecture(workload).eval(), models.loss_of(workload)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(vector.astype(np.float32)), model.parameters())
    x, y = (torch.from_numpy(a) for a in workloads.pooled(workload))
    with torch.no_grad():
        parts = zip(torch.split(x, 1000), torch.split(y, 1000), strict=True)
        return float(sum(loss(model(a), b).double() * len(a) for a, b in parts) / len(x))


def _vector(workload: Workload, path: Path) -> Array:
    with np.load(path, allow_pickle=False) as stored:
        return _flat(workload, dict(stored))


def _flat(workload: Workload, parameters: dict[str, Array]) -> Array:
    """(d,) float64, in the order of `state_dict`."""
    return np.concatenate([parameters[name].astype(np.float64).ravel() for name, _ in workload.shapes])


def _norm(vector: Array) -> float:
    return float(np.linalg.norm(vector))

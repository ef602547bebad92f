"""What a report is made of: draws from public keys, order of batches, the grid, and the settings of a session."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import torch

from tacit import keys
from tacit.aggregation.fixed_point import FixedPoint, centred
from tacit.aggregation.secure.config import Config
from tacit.aggregation.secure.messages import Masked
from tacit.learning import batches
from tacit.learning.batches import Examples
from tacit.learning.layout import Layout
from tacit.learning.solver import SGD
from tacit.secret_draws import SecretDraws

PURPOSES = ((3, "batches", 0, "client-00"), (0, "batches", 12, "St. Anne's 医院"), (-1, "a", "b"), (-1, "ab"))
DRAWN = (
    # seed, round, client, examples, batch size, steps
    (3, 0, "client-00", 5, 2, 7),
    (3, 1, "client-00", 5, 2, 7),
    (3, 0, "client-01", 5, 5, 2),
    (2**63, 999, "医院", 3, 1, 4),
)
SUMS = (
    # largest weight, clients, range, bits as asked for
    (64.0, 5, 4.0, None),
    (1.0, 1000, 4.0, None),
    (1e6, 20, 4.0, None),
    (3.0, 7, 0.1, 64),
)
UPDATE = (0.5, -0.25, 1e-9, 3.75, -3.999, 0.1)
LOSS, EXAMPLES = 0.6931472, 20


def reports() -> dict[str, Any]:
    """See above."""
    return {
        "keys": [{"parts": list(parts), "digest": _digest(*parts)} for parts in PURPOSES],
        "batches": [_batches(*one) for one in DRAWN],
        "draws": [
            {"key": key.hex(), "words": [f"{word:016x}" for word in SecretDraws(key).words(5).tolist()]}
            for key in (bytes(32), bytes(range(32)))
        ],
        "sums": [_sum(*one) for one in SUMS],
    }


def _digest(seed: int, *parts: str | int) -> str:
    return keys.digest(seed, *parts).to_bytes(16, "little").hex()


def _batches(seed: int, round: int, client: str, examples: int, batch_size: int, steps: int) -> dict[str, Any]:
    none, size = torch.empty(examples), np.array([examples], dtype=np.int64)
    solver = SGD(0.1, batch_size=batch_size, steps=steps)
    found = batches.draw(solver, Examples(none, none, 0 * size, size), [client], seed, round)
    rows = [found.order[begin:end].tolist() for begin, end in zip(found.cut, found.cut[1:], strict=False)]
    given = {"seed": seed, "round": round, "client": client, "examples": examples}
    return {**given, "batch_size": batch_size, "steps": steps, "rows": rows}


def _sum(most: float, clients: int, range: float, bits: int | None) -> dict[str, Any]:
    """One report on the grid of a sum, and the session in which it goes."""
    grid = FixedPoint.fitting(range, most, clients, bits)
    grid.bind(Layout.of(update=(len(UPDATE),), loss=(), examples=(), weight=()))
    weight = min(float(EXAMPLES), most)
    update = [number * range / 4 for number in UPDATE]
    report = torch.tensor([[*update, LOSS, EXAMPLES / weight, 1.0]], dtype=torch.float32)
    weights = torch.tensor([weight])
    assert bool(grid.fits(report, weights, weights).all())
    words = centred(grid.encode(report, weights)[0], grid.bits).numpy()
    said = repr((grid.layout.names, grid.layout.shapes, grid, ()))
    layout = hashlib.sha256(said.encode()).digest()
    config = Config(bytes(16), 0, len(words), grid.bits, 5, layout)
    masked = Masked(config.digest, words.astype(f"<i{grid.bits // 8}").view(f"<u{grid.bits // 8}"))
    return {
        "most_weight": most,
        "clients": clients,
        "range": range,
        "bits": grid.bits,
        "point": grid.point,
        "report": {"update": report[0, : len(UPDATE)].tolist(), "loss": float(report[0, -3]), "examples": EXAMPLES},
        "weight": weight,
        "words": words.tolist(),
        "layout": said,
        "config": config.encode().hex(),
        "without_masks": masked.encode().hex(),
    }

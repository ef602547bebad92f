"""What every contestant of `benchmarks.dp_sgd` runs: the cases, and how a program of contestants is asked for turns.

A program lives through the whole measurement and answers one JSON line for each that it reads, so that contestants of
several programs can take turns of a fraction of a second. It uses one thread. Only torch, NumPy and the standard
library are imported here: this file runs in every peer's environment.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from benchmarks.models import opacus_cnn

CLIP, NOISE, LR = 1.0, 1.0, 0.1
POOL = 4096
"""Examples of which batches are made."""
WARM = 3
"""Steps before the first that are timed."""


@dataclass(frozen=True)
class Case:
    """A model and the size of its batches."""

    model: str
    batch: int

    @property
    def name(self) -> str:
        """As the command line has it."""
        return f"{self.model}-{self.batch}"

    def build(self) -> nn.Module:
        """The model, with the same initial weights for everyone."""
        torch.manual_seed(0)
        return opacus_cnn() if self.model == "cnn" else _mlp()

    def data(self) -> tuple[Tensor, Tensor]:
        """`POOL` examples, the same for everyone."""
        rng = torch.Generator().manual_seed(1)
        shape, classes = ((1, 28, 28), 10) if self.model == "cnn" else ((256,), 100)
        return torch.randn(POOL, *shape, generator=rng), torch.randint(0, classes, (POOL,), generator=rng)

    def rows(self, count: int) -> Tensor:
        """(count, batch) rows of the examples that each of `count` steps reads."""
        order = torch.randperm(POOL, generator=torch.Generator().manual_seed(2))
        needed = count * self.batch
        return order.repeat(-(-needed // POOL))[:needed].view(count, self.batch)


CASES = {case.name: case for case in (*(Case("mlp", b) for b in (32, 64, 256)), *(Case("cnn", b) for b in (64, 256)))}


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 100)
    )  # fmt: skip


class Runner(Protocol):
    """One contestant on one case.

    Attributes:
        note: how it is used.
    """

    note: str

    def run(self, count: int) -> None:
        """Takes `count` steps, the first one always on the same batch."""
        ...

    def parameters(self) -> Tensor:
        """(d,) after them."""
        ...


Maker = Callable[[Case, float], Runner]
"""From a case and a noise multiplier."""


def serve(makers: Mapping[str, Maker]) -> None:
    """Answers the questions on standard input until it ends; whatever else is printed goes to standard error."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(1)
    made: dict[tuple[str, str], Runner] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        maker, case = makers[asked["contestant"]], CASES[asked["case"]]
        try:
            answer = _check(maker, case) if asked["do"] == "check" else _time(maker, case, asked, made)
        except Exception as error:  # a contestant's own: it is its row in the results
            answer = {"failure": f"{type(error).__name__}: {error}".splitlines()[0]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _check(maker: Maker, case: Case) -> dict[str, Any]:
    """How far one step without noise goes: the Euclidean norm of the change, and of its first and second half."""
    runner = maker(case, 0.0)
    before = torch.cat([p.detach().flatten() for p in case.build().parameters()])
    runner.run(1)
    change = (runner.parameters() - before).double()
    halves = torch.chunk(change, 2)
    return {"norms": [float(torch.linalg.vector_norm(part)) for part in (change, *halves)], "note": runner.note}


def _time(maker: Maker, case: Case, asked: dict[str, Any], made: dict[tuple[str, str], Runner]) -> dict[str, Any]:
    key = asked["contestant"], case.name
    if key not in made:
        made[key] = maker(case, NOISE)
        made[key].run(WARM)
    wall, used = perf_counter(), process_time()
    made[key].run(asked["steps"])
    return {"cpu": (process_time() - used) / asked["steps"], "seconds": (perf_counter() - wall) / asked["steps"]}

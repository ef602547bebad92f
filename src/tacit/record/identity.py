"""What must be equal for a resumed run to be the same run, and how two that differ do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from tacit.errors import UsageError
from tacit.learning.task import Task
from tacit.population.population import Population
from tacit.record.description import array_digest, code_of, description, parts_of

SHOWN = 3
DIGEST = re.compile(r"[0-9a-f]{16,}")
IN_WORDS = {
    "population": "the data of the clients are others",
    "clients": "the clients are others, or have other numbers of examples",
    "constants": "the values of the model's frozen parameters, or of its buffers that no step moves, are others",
    "code": "the code of the model's classes is another, or another Python has compiled it",
    "loss": "the loss is another, or another Python has compiled its code",
}
"""What is said where the values themselves, digests or long texts, would say nothing."""


def identity(task: Task, population: Population, seed: int, **choices: object) -> dict[str, Any]:
    """Who a run is, as JSON values.

    Args:
        task, population, seed: of the run.
        choices: algorithm, selection and stages.

    Raises:
        UsageError: one of the choices, or the loss, has no text that is the same in every process; all of them.
    """
    told, problems = dict[str, str](), list[str]()
    for name, value in {**choices, "loss": task.loss}.items():
        try:
            told[name] = "; ".join([description(value), *(code_of(value) if name == "loss" else [])])
        except UsageError as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise UsageError(
            "with checkpoint=..., a run must be recognisable when it is resumed, and this one is not: "
            + "; ".join(problems)
        )
    constant: dict[str, Tensor] = {n: p for n, p in task.model.named_parameters() if not p.requires_grad}
    constant |= {n: b for n, b in task.model.named_buffers() if n not in task.buffer_layout}
    return {
        "seed": seed,
        **told,
        "dtype": str(task.dtype).removeprefix("torch."),
        "buffers": task.buffers,
        "model": list(_structure(task.model)),
        "code": code_of(task.model),
        "constants": {name: array_digest(value) for name, value in constant.items()},
        "clients": population.roster(),
        "population": population.fingerprint(),
    }


def _structure(model: nn.Module) -> Iterator[str]:
    """Every module with its class and settings, every parameter and buffer with its shape and type."""
    yield from parts_of(model)
    for kind, tensors in (("parameter", model.named_parameters()), ("buffer", model.named_buffers())):
        for name, tensor in tensors:
            state = "" if kind == "buffer" or tensor.requires_grad else ", frozen"
            yield f"{name}: {kind} {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}{state}"


def differences(saved: object, mine: Mapping[str, Any]) -> list[str]:
    """In what the run of a checkpoint, whose identity is `saved`, and this one differ, in words."""
    if not isinstance(saved, Mapping):
        return ["it does not say of which"]
    found = []
    for name, value in mine.items():
        before = saved.get(name)
        if before == value:
            continue
        if name == "model":
            found.append(_in_lines(before if isinstance(before, list) else [], value))
        elif name == "population" and saved.get("clients") != mine["clients"]:
            continue  # said of the clients already
        elif name in IN_WORDS:
            found.append(IN_WORDS[name])
        else:
            found.append(f"{name} was {before}, is {value}")
    return found


def _in_lines(before: Sequence[str], now: Sequence[str]) -> str:
    """How two models differ, part by part."""
    gone, new = ([line for line in a if line not in set(b)] for a, b in ((before, now), (now, before)))
    if not gone and not new:
        return "the model's parts are in another order"
    gone, new = ([DIGEST.sub("...", line) for line in lines] for lines in (gone, new))
    parts = [f"has no more {line!r}" for line in gone[:SHOWN]] + [f"now has {line!r}" for line in new[:SHOWN]]
    return f"the model {' and '.join(parts)}" + (" and more" if max(len(gone), len(new)) > SHOWN else "")

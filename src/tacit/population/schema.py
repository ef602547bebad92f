"""What the examples of every participant of a network look like: agreed before anybody trains, and known by a hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tacit.errors import DataError, MalformedMessage, Problems
from tacit.population.population import some

KINDS = ("float32", "float64", "int64", "bool")
LARGEST = 2**26
"""Most numbers in one example."""


@dataclass(frozen=True)
class Schema:
    """Names, types and order of what goes into the model and of what comes out.

    Attributes:
        inputs: names of the columns of one example's input, in order; empty where they have none (pictures).
        shape: of one example's input.
        kind: type of its numbers: float32, float64, int64 or bool.
        target_shape, target_kind: of its target.
        outputs: what the class numbers stand for, or names of the target's columns; empty where they have none.
        own: what a scenario needs beside it to make examples of a log: JSON values.
    """

    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    kind: str
    target_shape: tuple[int, ...]
    target_kind: str
    outputs: tuple[str, ...] = ()
    own: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, x: Any, y: Any, inputs: Sequence[str] = (), outputs: Sequence[str] = ()) -> Schema:
        """The schema of data like these: (n, ...) inputs and targets. Nothing of their values is in it."""
        first, second = (_tensor(part) for part in (x, y))
        kinds = (str(part.dtype).removeprefix("torch.") for part in (first, second))
        return cls(
            tuple(inputs), tuple(first.shape[1:]), next(kinds), tuple(second.shape[1:]), next(kinds), tuple(outputs)
        )

    def nobodys(self, count: int = 2) -> tuple[Tensor, Tensor]:
        """So many examples of zeros, (count, ...), for those who have none of their own."""
        return (
            torch.zeros(count, *self.shape, dtype=getattr(torch, self.kind)),
            torch.zeros(count, *self.target_shape, dtype=getattr(torch, self.target_kind)),
        )

    def problems(self) -> Iterator[str]:
        """What is wrong with the schema itself."""
        for name in ("kind", "target_kind"):
            if getattr(self, name) not in KINDS:
                yield f"{name} is {getattr(self, name)!r}: give one of {', '.join(KINDS)}"
        for name in ("shape", "target_shape"):
            shape = getattr(self, name)
            if any(not 0 < n <= LARGEST for n in shape) or int(np.prod(shape, dtype=object)) > LARGEST:
                yield f"{name} is {list(shape)!r}: give whole numbers from 1, with {LARGEST:,} numbers at most"
        if self.inputs and (len(self.shape) != 1 or len(self.inputs) != self.shape[0]):
            yield f"{len(self.inputs)} inputs are named, and an example has the shape {list(self.shape)}"
        for name in ("inputs", "outputs"):
            names = getattr(self, name)
            twice = sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
            if twice:
                yield f"{name} hold {some(twice)} more than once"

    def check(self, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        """The data as tensors, once they are as the schema says.

        Raises:
            DataError: with everything in which they are not.
        """
        given = {"x": _tensor(x), "y": _tensor(y)}
        told = {"x": (self.shape, self.kind), "y": (self.target_shape, self.target_kind)}
        with Problems("the data are not as the schema of this run says", DataError) as problems:
            for name, tensor in given.items():
                shape, kind = told[name]
                problems.check(
                    tensor.dim() > 0 and tuple(tensor.shape[1:]) == shape,
                    f"{name} has the shape {list(tensor.shape)}: give (n, {', '.join(map(str, shape)) or '-'})",
                )
                problems.check(_fits(tensor, kind), f"{name} is of type {tensor.dtype}: give {kind}")
                finite = not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
                problems.check(finite, f"{name} holds NaN or Inf: fill or drop those examples")
            lengths = [len(tensor) if tensor.dim() else 0 for tensor in given.values()]
            problems.check(lengths[0] == lengths[1] > 0, f"x has {lengths[0]} examples and y {lengths[1]}")
            y = given["y"]
            if self.outputs and self.target_kind == "int64" and not self.target_shape and y.numel():
                low, high = int(y.min()), int(y.max())
                good = low >= 0 and high < len(self.outputs)
                problems.check(good, f"classes reach from {low} to {high}, and there are {len(self.outputs)}")
        return given["x"].to(getattr(torch, self.kind)), given["y"].to(getattr(torch, self.target_kind))

    @property
    def document(self) -> dict[str, Any]:
        """Itself as JSON values."""
        return {
            "inputs": list(self.inputs),
            "shape": list(self.shape),
            "kind": self.kind,
            "target_shape": list(self.target_shape),
            "target_kind": self.target_kind,
            "outputs": list(self.outputs),
            "own": dict(self.own),
        }

    @property
    def hash(self) -> str:
        """sha256 of the document as canonical JSON, 64 hexadecimal digits."""
        text = json.dumps(self.document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @classmethod
    def read(cls, document: Any) -> Schema:
        """The schema in JSON values.

        Raises:
            MalformedMessage: they hold none.
        """
        names = {"inputs", "shape", "kind", "target_shape", "target_kind", "outputs", "own"}
        if not isinstance(document, dict) or set(document) != names:
            raise MalformedMessage(f"a schema has {', '.join(sorted(names))}")
        texts, numbers = ("inputs", "outputs"), ("shape", "target_shape")
        good = all(isinstance(document[n], list) and all(isinstance(t, str) for t in document[n]) for n in texts)
        good &= all(isinstance(document[n], list) and all(type(k) is int for k in document[n]) for n in numbers)
        good &= all(isinstance(document[n], str) for n in ("kind", "target_kind")) and isinstance(document["own"], dict)
        if not good:
            raise MalformedMessage("a part of the schema is of another type than it should be")
        given: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in document.items()}
        found = cls(**given)
        for problem in found.problems():
            raise MalformedMessage(f"no data can be like this: {problem}")
        return found


def _tensor(values: Any) -> Tensor:
    from tacit.population.population import as_tensor

    return as_tensor(values)


def _fits(tensor: Tensor, kind: str) -> bool:
    """Whether numbers of a tensor may be taken for those of a kind, none lost but digits of a fraction."""
    return str(tensor.dtype) == f"torch.{kind}" or (kind.startswith("float") and tensor.is_floating_point())

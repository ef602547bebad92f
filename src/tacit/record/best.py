"""The best model so far, as early stopping sees it: what is kept when `Patience` ends a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from torch import Tensor

from tacit.errors import StorageError
from tacit.record.stopping import Patience, Stopping

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """A model as it stood after a round.

    Attributes:
        round: from 1.
        x: (d,) parameters.
        buffers: (b,) the buffers that travel.
    """

    round: int
    x: Tensor
    buffers: Tensor


class Best:
    """The best model by each `Patience(keep="best")`; one x and b for each metric and direction.

    Args:
        rules: the stopping rules of a run.
    """

    def __init__(self, rules: Sequence[Stopping]) -> None:
        self._rules = {rule.key: rule for rule in rules if _keeps(rule)}
        self._kept: dict[str, Kept] = {}
        self._since = dict.fromkeys(self._rules, 0)

    def look(self, rows: Sequence[Row], x: Tensor, buffers: Tensor) -> None:
        """Keeps the model after the last of `rows` where that is the best round."""
        for key, rule in self._rules.items():
            best = rule.best(rows[self._since[key] :])
            if best is not None and best + self._since[key] == len(rows) - 1:
                self._kept[key] = Kept(len(rows), x.clone(), buffers.clone())

    def of(self, rules: Sequence[Stopping]) -> Kept | None:
        """What the first of these rules that keeps the best model has kept; None where none has."""
        return next((self._kept[rule.key] for rule in rules if _keeps(rule) and rule.key in self._kept), None)

    def state(self) -> dict[str, list[int | None]]:
        """For each rule, the round since which it has looked, and the round of what it keeps; for a checkpoint."""
        return {k: [self._since[k], self._kept[k].round if k in self._kept else None] for k in self._rules}

    def tensors(self) -> dict[str, Tensor]:
        """The models that are kept, for a checkpoint."""
        named = {f"best.{key}.x": kept.x for key, kept in self._kept.items()}
        return named | {f"best.{key}.buffers": kept.buffers for key, kept in self._kept.items()}

    def restore(self, state: Any, tensors: Mapping[str, Tensor], x: Tensor, buffers: Tensor, rounds: int) -> None:
        """Puts back what `state` and `tensors` gave, for the rules of this run.

        A rule that the checkpoint does not know looks at the rounds from here on only.

        Args:
            state, tensors: of the checkpoint.
            x, buffers: of the run, whose shapes and types they must have.
            rounds: how many are done.

        Raises:
            StorageError: the checkpoint is damaged.
        """
        known = state if isinstance(state, dict) else {}
        self._since = dict.fromkeys(self._rules, rounds)
        for key in self._rules.keys() & known.keys():
            damaged = StorageError(f"the checkpoint is damaged in best.{key}: go on from an earlier one")
            if not _is_pair(known[key], rounds):
                raise damaged
            self._since[key], round = known[key]
            if round is not None:
                mine = tensors.get(f"best.{key}.x"), tensors.get(f"best.{key}.buffers")
                if not _like(mine[0], x) or not _like(mine[1], buffers):
                    raise damaged
                assert mine[0] is not None and mine[1] is not None
                self._kept[key] = Kept(round, mine[0], mine[1])


def _keeps(rule: Stopping) -> TypeGuard[Patience]:
    return isinstance(rule, Patience) and rule.keep == "best"


def _like(tensor: Tensor | None, other: Tensor) -> bool:
    return tensor is not None and tensor.shape == other.shape and tensor.dtype == other.dtype


def _is_pair(value: Any, rounds: int) -> bool:
    """Whether it is what `state` gives: a number of rounds from 0, and a round from 1 or None."""
    if not isinstance(value, list) or len(value) != 2 or not all(v is None or type(v) is int for v in value):
        return False
    since, round = value
    return since is not None and 0 <= since <= rounds and (round is None or 1 <= round <= rounds)

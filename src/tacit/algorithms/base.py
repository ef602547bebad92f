"""What a federated method is, and nothing else.

Every method here is one weighted mean: a client sends the message `m_k` with weight `w_k`, the server learns
`mean = sum w_k m_k / sum w_k` and takes one step. What happens between the two (stages, workers, networks) is not
known here.

All hooks act on tensors whose leading axis is K, the clients of a block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tacit.checks import make_plain
from tacit.learning.layout import Layout, Parts
from tacit.learning.solver import Correction, Solver

WEIGHTS = ("examples", "uniform", "auto")
"""How clients count: by their examples, alike, or by their examples unless a run is private."""


@dataclass(frozen=True)
class Done:
    """What K clients did in their local run.

    Attributes:
        examples: (K,) n_k, in the task's dtype.
        steps: (K,) local steps taken.
        a: (K,) FedNova's `||a||_1`, or None where the method does not ask for it.
        lr: the local learning rate of this round.
        gradient: (K, d) full local gradient at x, or None where the method does not ask for it.
    """

    examples: Tensor
    steps: Tensor
    a: Tensor | None
    lr: float
    gradient: Tensor | None = None


class Algorithm(ABC):
    """A federated method: `broadcast` goes down, `message` comes up, `apply` takes one step from one mean.

    The defaults are those of federated averaging; a method overrides what differs.
    """

    solver: Solver
    weights: str = "auto"
    asks_norm: ClassVar[bool] = False
    """Whether `message` reads `Done.a`."""

    @property
    def asks_gradient(self) -> bool:
        """Whether `message` reads `Done.gradient`."""
        return False

    @property
    def proximal(self) -> float:
        """The proximal coefficient mu of every local step, 0 without."""
        return 0.0

    def __post_init__(self) -> None:
        """Makes the settings of a method that is a dataclass Python's own, so that equal ones print alike."""
        make_plain(self)

    def problems(self) -> list[str]:
        """Everything that is wrong with the method's own settings, and with its solver for this method."""
        ok = self.weights in WEIGHTS
        return [] if ok else [f"weights is {self.weights!r}: give one of {', '.join(map(repr, WEIGHTS))}"]

    def init(self, x: Tensor) -> Parts:
        """Server state from the initial model x (d,). It always has the entry "x"."""
        return {"x": x.clone()}

    def broadcast(self, state: Parts) -> Parts:
        """What goes down once per round. It always has the entry "x"."""
        return {"x": state["x"]}

    def memory(self, d: int) -> int:
        """How many numbers each client remembers between rounds."""
        return 0

    def correction(self, down: Parts, memory: Tensor | None) -> Correction:
        """What every local gradient gets added; `memory` is (K, s)."""
        return Correction(self.proximal)

    def parts(self, d: int) -> Layout:
        """Layout of the message."""
        return Layout.of(update=(d,))

    def public(self, lr: float) -> Parts:
        """Parts of the mean message that follow from public numbers; under user-level privacy nobody sends them.

        Args:
            lr: the local learning rate of the round.
        """
        return {}

    def exposes(self) -> list[str]:
        """What of this method follows from the data and cannot be sent under user-level privacy, with the remedy."""
        return []

    def message(self, update: Tensor, down: Parts, memory: Tensor | None, done: Done) -> tuple[Parts, Tensor | None]:
        """What K clients send, and what they will remember if they are counted.

        Args:
            update: (K, d) `y - x`; may be changed in place and returned as a part.
            down: the broadcast.
            memory: (K, s), or None. Not to be changed.
            done: what the clients did.

        Returns:
            The parts, each `(K, *shape)`, and the new memory (K, s) or None.
        """
        return {"update": update}, None

    @abstractmethod
    def apply(self, state: Parts, mean: Parts, counted: float, clients: int) -> Parts:
        """One server step.

        Args:
            state: the server's state; not changed.
            mean: the weighted mean of the messages, float64.
            counted: how many clients it is the mean of; on average, in a private run.
            clients: N, how many there are.

        Returns:
            The new state, with the same entries, shapes and dtypes.
        """


def stepped(x: Tensor, step: Tensor) -> Tensor:
    """`x + step`, computed in float64 and kept in the dtype of x."""
    return (x.to(torch.float64) + step).to(x.dtype)

"""What the fused engine runs: a chain of dense layers with pointwise activations, and a loss."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Refused(Exception):
    """The fused engine cannot run a task; the message says why."""


class Activation(IntEnum):
    """Pointwise functions; the numbers are what the compiled code switches on."""

    IDENTITY = 0
    RELU = 1
    LEAKY_RELU = 2
    TANH = 3
    SIGMOID = 4
    GELU = 5
    GELU_TANH = 6
    SILU = 7
    ELU = 8
    SOFTPLUS = 9


class Criterion(IntEnum):
    """Losses, each a mean over the batch; the numbers are what the compiled code switches on."""

    MSE = 0
    L1 = 1
    HUBER = 2
    SMOOTH_L1 = 3
    CROSS_ENTROPY = 4
    BCE_WITH_LOGITS = 5


@dataclass(frozen=True)
class Dense:
    """`activation(x W^T + bias)`.

    Attributes:
        inputs, outputs: widths.
        weight, bias: names in the task's layout; bias is None where there is none.
        activation: with its parameters `p` (slope, alpha or beta) and `q` (Softplus's threshold).
    """

    inputs: int
    outputs: int
    weight: str
    bias: str | None
    activation: Activation = Activation.IDENTITY
    p: float = 0.0
    q: float = 0.0


@dataclass(frozen=True)
class Chain:
    """A recognised task.

    Attributes:
        layers: from the input to the output.
        flattened: the model flattens its inputs to (B, inputs) itself.
        squeezed: the model drops its output's last axis, of length 1.
        criterion: the loss, with its parameter `delta` (Huber's delta, smooth L1's beta).
    """

    layers: tuple[Dense, ...]
    flattened: bool
    squeezed: bool
    criterion: Criterion
    delta: float = 1.0

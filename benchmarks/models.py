"""The models and losses of the workloads in PyTorch, for every engine that trains `torch.nn.Module`s."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import workloads
from benchmarks.workloads import Workload

Loss = Callable[[Tensor, Tensor], Tensor]


class ResidualBlock(nn.Module):
    """x + outer(relu(inner(x)))."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, width)."""
        out: Tensor = x + self.outer(functional.relu(self.inner(x)))
        return out


class ResidualMLP(nn.Module):
    """A multilayer perceptron with skip connections, of about the size of workload A's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(100, 128)
        self.blocks = nn.Sequential(ResidualBlock(128, 96), ResidualBlock(128, 96))
        self.head = nn.Linear(128, 50)

    def forward(self, x: Tensor) -> Tensor:
        """x: (B, 100) -> (B, 50)."""
        out: Tensor = self.head(functional.relu(self.blocks(functional.relu(self.stem(x)))))
        return out


class NextToken(nn.Module):
    """Embedding, one LSTM layer, logits of the next token at every place."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(workloads.VOCABULARY, workloads.EMBEDDING)
        self.lstm = nn.LSTM(workloads.EMBEDDING, workloads.HIDDEN, batch_first=True)
        self.head = nn.Linear(workloads.HIDDEN, workloads.VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens: (B, T) -> (B, T, vocabulary)."""
        states, _ = self.lstm(self.embedding(tokens))
        out: Tensor = self.head(states)
        return out


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(100, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 50))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 8 * 8, 512), nn.ReLU(), nn.Linear(512, 10),
    )  # fmt: skip


def tanh_cnn() -> nn.Module:
    """The layers of the MNIST example of Opacus, 26,010 parameters, with tanh, which suits private training better.

    Bounded activations keep gradients short: [Papernot21] arXiv:2007.14191.
    """
    return opacus_cnn(nn.Tanh)


def opacus_cnn(activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Module:
    """The layers of the MNIST example of Opacus: (B, 1, 28, 28) -> (B, 10), 26,010 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 8, 2, padding=3), activation(), nn.MaxPool2d(2, 1),
        nn.Conv2d(16, 32, 4, 2), activation(), nn.MaxPool2d(2, 1),
        nn.Flatten(), nn.Linear(32 * 4 * 4, 32), activation(), nn.Linear(32, 10),
    )  # fmt: skip


_MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp": _mlp,
    "residual_mlp": ResidualMLP,
    "cnn": _cnn,
    "lstm": NextToken,
}


def architecture(workload: Workload) -> nn.Module:
    """The workload's model, with parameters as PyTorch draws them."""
    return _MODELS[workload.model]()


def build(workload: Workload) -> nn.Module:
    """The workload's model with the initial parameters that all engines share."""
    model = architecture(workload)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in workloads.initial(workload).items()})
    return model


def token_cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    """Mean over examples and places. output: (B, T, V), target: (B, T)."""
    return functional.cross_entropy(output.flatten(0, 1), target.flatten())


def loss_of(workload: Workload) -> Loss:
    """The workload's loss, a mean over the batch."""
    if workload.model == "lstm":
        return token_cross_entropy
    return functional.mse_loss if workload.loss == "mse" else functional.cross_entropy

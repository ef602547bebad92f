"""The workloads that every engine runs: sizes, seeded synthetic data, initial parameters, operation counts.

Only NumPy is imported here, so that each peer's environment can make the same data and start from the same parameters.
Parameters are named and shaped as `torch.nn.Module.state_dict` has them (see `models.py`).

`python -m benchmarks.workloads` prints the table of workloads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Examples = tuple[Array, Array]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]

SEED = 20240607


@dataclass(frozen=True)
class Workload:
    """One round of federated averaging over everyone: what is trained, by whom and how much.

    Attributes:
        model: which architecture of `models.py`.
        loss: "mse" or "cross_entropy", each a mean over the batch (and over outputs or positions).
        sizes: examples of each client.
        shapes: the parameters, named and shaped as in `state_dict`.
        macs: multiply-accumulates of one example's forward pass, layer by layer. The first entry needs no gradient of
            its input.
    """

    name: str
    title: str
    model: str
    loss: str
    sizes: tuple[int, ...]
    batch_size: int
    epochs: int
    lr: float
    shapes: Shapes
    macs: tuple[int, ...]

    @property
    def clients(self) -> int:
        """How many clients take part in a round: all of them."""
        return len(self.sizes)

    @property
    def steps_per_round(self) -> int:
        """Local SGD steps of all clients together. The last partial batch of an epoch is a step."""
        return self.epochs * sum(ceil(n / self.batch_size) for n in self.sizes)

    @property
    def examples_per_round(self) -> int:
        """Examples that all clients go through in a round, counted once per epoch."""
        return self.epochs * sum(self.sizes)

    @property
    def flops_per_round(self) -> int:
        """Floating-point operations of matrix products and convolutions in a round.

        A forward pass is 2 per multiply-accumulate; so is the gradient of the weights, and so is the gradient of the
        input, which the first layer does not need. Activations, losses and updates are not counted.
        """
        return self.examples_per_round * 2 * (3 * sum(self.macs) - self.macs[0])

    @property
    def parameters(self) -> int:
        """Length of the model as one flat vector."""
        return sum(prod(shape) for _, shape in self.shapes)

    def quick(self) -> Workload:
        """The same workload with few clients: to try everything, not to measure."""
        few = {"cnn": 4, "lstm": 4}.get(self.model, 40)
        return replace(self, title=f"QUICK, first {few} clients of {self.title}", sizes=self.sizes[:few])


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return ((f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,)))


def _ragged(clients: int) -> tuple[int, ...]:
    """Lognormal sizes between 10 and 200, of the same mean as the even ones up to a few per cent."""
    drawn = np.random.default_rng([SEED, 2]).lognormal(np.log(43.0), 0.6, clients)
    return tuple(int(n) for n in np.clip(np.round(drawn), 10, 200))


MLP_SHAPES = _linear("0", 100, 256) + _linear("2", 256, 128) + _linear("4", 128, 50)
MLP_MACS = (100 * 256, 256 * 128, 128 * 50)

RESIDUAL_SHAPES = (
    _linear("stem", 100, 128)
    + _linear("blocks.0.inner", 128, 96) + _linear("blocks.0.outer", 96, 128)
    + _linear("blocks.1.inner", 128, 96) + _linear("blocks.1.outer", 96, 128)
    + _linear("head", 128, 50)
)  # fmt: skip
RESIDUAL_MACS = (100 * 128, *(128 * 96, 96 * 128) * 2, 128 * 50)

CNN_SHAPES = (
    ("0.weight", (32, 3, 3, 3)),
    ("0.bias", (32,)),
    ("3.weight", (64, 32, 3, 3)),
    ("3.bias", (64,)),
    *_linear("7", 64 * 8 * 8, 512),
    *_linear("9", 512, 10),
)
CNN_MACS = (3 * 9 * 32 * 32 * 32, 32 * 9 * 64 * 16 * 16, 64 * 8 * 8 * 512, 512 * 10)

VOCABULARY, EMBEDDING, HIDDEN, SEQUENCE = 2000, 64, 128, 20
LSTM_SHAPES = (
    ("embedding.weight", (VOCABULARY, EMBEDDING)),
    ("lstm.weight_ih_l0", (4 * HIDDEN, EMBEDDING)),
    ("lstm.weight_hh_l0", (4 * HIDDEN, HIDDEN)),
    ("lstm.bias_ih_l0", (4 * HIDDEN,)),
    ("lstm.bias_hh_l0", (4 * HIDDEN,)),
    *_linear("head", HIDDEN, VOCABULARY),
)
# The embedding is the first layer: a table look-up, no product. All the others need the gradient of their input.
LSTM_MACS = (0, SEQUENCE * 4 * HIDDEN * (EMBEDDING + HIDDEN), SEQUENCE * HIDDEN * VOCABULARY)

WORKLOADS = {
    w.name: w
    for w in (
        Workload("A", "MLP 100-256-128-50, 1000 clients x 50, batch 10, 5 epochs, MSE",
                 "mlp", "mse", (50,) * 1000, 10, 5, 0.5, MLP_SHAPES, MLP_MACS),
        Workload("A2", "A with ragged clients of 10 to 200 examples",
                 "mlp", "mse", _ragged(1000), 10, 5, 0.5, MLP_SHAPES, MLP_MACS),
        Workload("A-residual", "A with a residual MLP (100-128, two blocks 128-96-128, 50)",
                 "residual_mlp", "mse", (50,) * 1000, 10, 5, 0.5, RESIDUAL_SHAPES, RESIDUAL_MACS),
        Workload("B", "CNN of 2.12 M parameters on 32x32x3, 50 clients x 50, batch 10, 1 epoch, cross-entropy",
                 "cnn", "cross_entropy", (50,) * 50, 10, 1, 0.01, CNN_SHAPES, CNN_MACS),
        Workload("C", "LSTM next token (64, 128, vocabulary 2000, sequence 20), 50 clients x 64, batch 16, 1 epoch",
                 "lstm", "cross_entropy", (64,) * 50, 16, 1, 0.5, LSTM_SHAPES, LSTM_MACS),
    )
}  # fmt: skip


def find(name: str, quick: bool = False) -> Workload:
    """The workload called `name`, cut to few clients where `quick`."""
    workload = WORKLOADS[name]
    return workload.quick() if quick else workload


@lru_cache(maxsize=2)
def population(workload: Workload) -> dict[str, Examples]:
    """Every client's examples, by client id. Client k's data do not depend on how many clients there are."""
    draw = _DATA[workload.model]
    return {f"client-{k:04d}": draw(np.random.default_rng([SEED, 3, k]), size) for k, size in enumerate(workload.sizes)}


def pooled(workload: Workload) -> Examples:
    """All clients' examples as one data set, in client order."""
    xs, ys = zip(*population(workload).values(), strict=True)
    return np.concatenate(xs), np.concatenate(ys)


def initial(workload: Workload) -> dict[str, Array]:
    """The parameters from which every engine starts: uniform in +-1/sqrt(fan in), an embedding standard normal."""
    rng = np.random.default_rng([SEED, 4])
    shapes = dict(workload.shapes)
    parameters = {}
    for name, shape in shapes.items():
        if name.startswith("embedding"):
            parameters[name] = rng.standard_normal(shape).astype(np.float32)
            continue
        weight = shapes[name.replace("bias", "weight")] if name.endswith("bias") else shape
        bound = 1.0 / np.sqrt(HIDDEN if name.startswith("lstm") else prod(weight[1:]))
        parameters[name] = rng.uniform(-bound, bound, shape).astype(np.float32)
    return parameters


@lru_cache
def _teacher(*shape: int) -> Array:
    """What the labels of all clients have in common."""
    return np.random.default_rng([SEED, 5]).standard_normal(shape).astype(np.float32)


def _regression(rng: np.random.Generator, n: int) -> Examples:
    """x (n, 100), y (n, 50): a common smooth teacher, shifted per client, and noise."""
    x = rng.standard_normal((n, 100), dtype=np.float32)
    shift = 0.3 * rng.standard_normal(50, dtype=np.float32)
    noise = 0.1 * rng.standard_normal((n, 50), dtype=np.float32)
    return x, (np.tanh(x @ _teacher(100, 50) / 10) + shift + noise).astype(np.float32)


def _images(rng: np.random.Generator, n: int) -> Examples:
    """x (n, 3, 32, 32), y (n,): a common picture per class under noise; each client has its own mix of classes."""
    y = rng.choice(10, n, p=rng.dirichlet(np.full(10, 0.5)))
    x = 0.5 * _teacher(10, 3, 32, 32)[y] + rng.standard_normal((n, 3, 32, 32), dtype=np.float32)
    return x.astype(np.float32), y.astype(np.int64)


def _text(rng: np.random.Generator, n: int) -> Examples:
    """x (n, 20), y (n, 20): tokens, and the same one place on; a Zipf law, and every other token told by the last."""
    weights = 1.0 / np.arange(1, VOCABULARY + 1)
    tokens = rng.choice(VOCABULARY, (n, SEQUENCE + 1), p=weights / weights.sum())
    for place in range(1, SEQUENCE + 1, 2):
        tokens[:, place] = (7 * tokens[:, place - 1] + 1) % VOCABULARY
    return tokens[:, :-1].astype(np.int64), tokens[:, 1:].astype(np.int64)


_DATA: dict[str, Callable[[np.random.Generator, int], Examples]] = {
    "mlp": _regression,
    "residual_mlp": _regression,
    "cnn": _images,
    "lstm": _text,
}


def main() -> None:
    """Prints the workloads."""
    for w in WORKLOADS.values():
        print(
            f"{w.name:11s} {w.title}\n{'':11s} {w.parameters:,} parameters, {w.examples_per_round:,} examples, "
            f"{w.steps_per_round:,} steps, {w.flops_per_round / 1e9:.1f} GFLOP per round"
        )


if __name__ == "__main__":
    main()

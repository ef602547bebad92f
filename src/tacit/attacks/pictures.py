"""Small images for inversion to show something: MNIST where it is at hand, else digits drawn by matplotlib."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tacit import keys
from tacit.errors import DataError
from tacit.learning.task import Task
from tacit.population.population import Population
from tacit.scenarios import datasets

SIDE = 28
HOLDS = 10
"""Images of a client."""
FONTS = ("DejaVu Sans", "DejaVu Serif", "DejaVu Sans Mono")
"""They come with matplotlib."""
Images = NDArray[np.float32]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Pictures:
    """Images (n, 1, 28, 28) in [0, 1] with their digits (n,), and where they come from."""

    x: Images
    y: Int
    source: str

    def population(self) -> Population:
        """Clients of `HOLDS` images each, in a random order that is always the same."""
        order = keys.generator(0, "pictures", "clients").permutation(len(self.y))
        rows = order[: len(order) // HOLDS * HOLDS].reshape(-1, HOLDS)
        made = Population.from_arrays({f"client-{k}": (self.x[r], self.y[r]) for k, r in enumerate(rows)})
        made.synthetic = True
        return made


def pictures(clients: int) -> Pictures:
    """Images for `clients` clients: of the test part of MNIST where `tacit data` finds it, else drawn ones."""
    count = clients * HOLDS
    if datasets.status("mnist").missing:
        return drawn(count)
    files = datasets.locate("mnist")
    x = idx(files["t10k-images-idx3-ubyte"], (10_000, SIDE, SIDE))
    y = idx(files["t10k-labels-idx1-ubyte"], (10_000,))
    return Pictures(
        (x[:count, None] / np.float32(255)).astype(np.float32), y[:count].astype(np.int64), "MNIST, test part"
    )


def idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The bytes of a file in the IDX format, plain or gzip'd, of which the shape is known beforehand.

    Raises:
        DataError: the file holds something else.
    """
    head = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    length = len(head) + prod(shape)
    with path.open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        content = gzip.GzipFile(fileobj=raw).read(length + 1) if packed else raw.read(length + 1)
    if not content.startswith(head) or len(content) != length:
        raise DataError(f"{path} holds no {' x '.join(map(str, shape))} bytes in the IDX format: fetch it again")
    return np.frombuffer(content, dtype=np.uint8, offset=len(head)).reshape(shape)


def drawn(count: int, seed: int = 0) -> Pictures:
    """Digits in three fonts, each image turned, sheared, scaled and moved a little of its own."""
    from scipy.ndimage import affine_transform

    glyphs = np.stack([_glyph(str(digit), font) for font in FONTS for digit in range(10)])
    rng = keys.generator(seed, "pictures", "drawn")
    which = rng.integers(len(glyphs), size=count)
    angle, shear = rng.normal(0, 0.15, count), rng.normal(0, 0.15, count)
    size, moved = rng.uniform(0.85, 1.2, count), rng.normal(0, 1.2, (count, 2))
    x, middle = np.empty((count, 1, SIDE, SIDE), np.float32), np.full(2, (SIDE - 1) / 2)
    for k in range(count):
        turn = np.array([[np.cos(angle[k]), -np.sin(angle[k])], [np.sin(angle[k]), np.cos(angle[k])]])
        matrix = turn @ np.array([[1.0, shear[k]], [0.0, 1.0]]) * size[k]
        x[k, 0] = affine_transform(glyphs[which[k]], matrix, middle - matrix @ (middle + moved[k]), order=1)
    return Pictures(np.clip(x, 0, 1), (which % 10).astype(np.int64), "digits drawn by matplotlib")


def _glyph(digit: str, font: str) -> Images:
    """One digit (28, 28) in the middle."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=SIDE)
    canvas = FigureCanvasAgg(figure)
    figure.text(0.5, 0.46, digit, ha="center", va="center", fontsize=54, family=font, weight="bold")
    canvas.draw()  # type: ignore[no-untyped-call]
    grey: Any = np.asarray(canvas.buffer_rgba())[..., 0]  # type: ignore[no-untyped-call]
    return np.asarray(1 - grey / 255, dtype=np.float32)


def perceptron(seed: int) -> Task:
    """A multilayer perceptron on images, of 784, 128 and 10 units: its first layer is linear, with a bias."""
    return _task(lambda: [nn.Flatten(), nn.Linear(SIDE * SIDE, 128), nn.ReLU(), nn.Linear(128, 10)], seed)


def convolutional(seed: int) -> Task:
    """Two convolutions and a linear layer: no layer from which the image could be read off."""

    def layers() -> list[nn.Module]:
        first, second = nn.Conv2d(1, 16, 5, 2, 2), nn.Conv2d(16, 16, 3, 1, 1)
        return [first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(16 * (SIDE // 2) ** 2, 10)]

    return _task(layers, seed)


def _task(layers: Callable[[], list[nn.Module]], seed: int) -> Task:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Task(nn.Sequential(*layers()), nn.functional.cross_entropy)

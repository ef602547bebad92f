"""Federated least squares that can be solved by hand: the problems and closed forms that the oracles share.

Client k holds A_k (n_k, p) and b_k (n_k,) and has the loss f_k(w) = ||A_k w - b_k||^2 / n_k, so its gradient is
H_k w - r_k with H_k = 2 A_k' A_k / n_k and r_k = 2 A_k' b_k / n_k. A local step is affine, so S of them are the S-th
power of one matrix.
Nothing here is shared with the package: only NumPy, the definitions of the papers, and matrix powers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

import tacit
from tacit.selection.cohort import Uniform

P = 3


@dataclass(frozen=True)
class Quadratics:
    """A federated quadratic: A[k] (n_k, p), b[k] (n_k,), start x0 (p,)."""

    A: list[np.ndarray]
    b: list[np.ndarray]
    x0: np.ndarray

    @property
    def n(self) -> np.ndarray:
        return np.array([len(b) for b in self.b], dtype=float)

    @property
    def H(self) -> list[np.ndarray]:
        return [2 * A.T @ A / len(A) for A in self.A]

    @property
    def r(self) -> list[np.ndarray]:
        return [2 * A.T @ b / len(A) for A, b in zip(self.A, self.b, strict=True)]

    def gradient(self, k: int, w: np.ndarray) -> np.ndarray:
        return self.H[k] @ w - self.r[k]

    def optimum(self, weights: np.ndarray) -> np.ndarray:
        H = sum(w * H for w, H in zip(weights, self.H, strict=True))
        r = sum(w * r for w, r in zip(weights, self.r, strict=True))
        return np.linalg.solve(H, r)

    def local(self, k, x, steps, lr, *, mu=0.0, offset=0.0, momentum=0.0):
        """y after `steps` steps of m <- momentum m + (H y - r + mu (y - x) + offset), y <- y - lr m, from x and 0."""
        p = len(x)
        M = self.H[k] + mu * np.eye(p)
        v = self.r[k] + mu * x - offset
        step = np.zeros((2 * p + 1, 2 * p + 1))
        step[p : 2 * p, :p], step[p : 2 * p, p : 2 * p], step[p : 2 * p, -1] = M, momentum * np.eye(p), -v
        step[:p] = -lr * step[p : 2 * p]
        step[:p, :p] += np.eye(p)
        step[-1, -1] = 1.0
        return (np.linalg.matrix_power(step, steps) @ np.concatenate([x, np.zeros(p), [1.0]]))[:p]

    def population(self, dtype=np.float64, order=None):
        order = range(len(self.b)) if order is None else order
        return tacit.Population.from_arrays(
            {f"c{k}": (self.A[k].astype(dtype), self.b[k][:, None].astype(dtype)) for k in order}
        )

    def task(self, dtype=torch.float64):
        model = torch.nn.Linear(len(self.x0), 1, bias=False, dtype=dtype)
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(self.x0)[None])
        return tacit.Task(model, torch.nn.functional.mse_loss)

    def federation(self, algorithm, *, dtype=torch.float64, order=None, **options):
        population = self.population({torch.float64: np.float64, torch.float32: np.float32}[dtype], order)
        options.setdefault("engine", "eager")
        options.setdefault("workers", 1)
        return tacit.Federation(self.task(dtype), population, algorithm, **options)

    def trained(self, algorithm, rounds, **options):
        """The weights (p,) that tacit ends with."""
        run = self.federation(algorithm, **options).run(rounds, progress=False)
        return run.tensors["weight"].double().numpy()[0]


def full_rank(clients: int = 5, seed: int = 0, spread: float = 1.0) -> Quadratics:
    """Clients of unequal size (4, 6, 8, ...) with H_k of full rank and unlike optima."""
    rng = np.random.default_rng(seed)
    sizes = [4 + 2 * k for k in range(clients)]
    truth = [rng.normal(size=P) * spread for _ in sizes]
    A = [rng.normal(size=(n, P)) for n in sizes]
    return Quadratics(A, [a @ t for a, t in zip(A, truth, strict=True)], rng.normal(size=P))


def well_conditioned(clients: int = 4, seed: int = 0) -> Quadratics:
    """Like `full_rank`, with the eigenvalues of every H_k in [0.5, 1.5], unlike for each client: it converges soon."""
    rng = np.random.default_rng(seed)
    sizes = [4 + 2 * k for k in range(clients)]
    A = [np.linalg.qr(rng.normal(size=(n, P)))[0] * np.sqrt(n / 2 * rng.uniform(0.5, 1.5, size=P)) for n in sizes]
    return Quadratics(A, [a @ rng.normal(size=P) * 2 for a in A], rng.normal(size=P))


def repeated(clients: int = 5, seed: int = 0) -> Quadratics:
    """Clients of sizes 1, 4, 7, ... whose examples are all equal, so that no shuffle and no batch size changes a step.

    With batch_size=2 their steps are unequal and end in tail batches, and still have a closed form.
    """
    rng = np.random.default_rng(seed)
    sizes = [1 + 3 * k for k in range(clients)]
    A = [np.repeat(rng.normal(size=(1, P)), n, axis=0) for n in sizes]
    return Quadratics(A, [np.repeat(rng.normal(size=1), n) for n in sizes], rng.normal(size=P))


def steps_of(problem: Quadratics, batch_size: int, epochs: int) -> list[int]:
    """Local steps of each client; the last partial batch of an epoch counts."""
    return [epochs * int(np.ceil(n / batch_size)) for n in problem.n]


def cohorts(clients: int, size: int, seed: int, rounds: int) -> list[np.ndarray]:
    """Who takes part in each round."""
    return [Uniform(size).draw(clients, seed, t).clients for t in range(rounds)]


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference relative to the largest entry of b."""
    return float(np.abs(a - b).max() / np.abs(b).max())

"""FedDyn against an independent NumPy form of [Acar21] Algorithm 1, which stores gradients and not their negatives."""

from __future__ import annotations

import numpy as np
import pytest

import tacit
from tests.oracles.quadratics import cohorts, full_rank, relative, repeated, steps_of, well_conditioned


def feddyn(problem, rounds, steps, lr, alpha, drawn=None):
    """Clients minimise L_k(w) - <g_k, w> + alpha / 2 ||w - x||^2 in `steps` steps; g_k <- g_k - alpha (w_k - x)."""
    m, x = len(problem.n), problem.x0
    h, g = np.zeros_like(x), [np.zeros_like(x) for _ in range(m)]
    for t in range(rounds):
        who = range(m) if drawn is None else drawn[t]
        models = {k: problem.local(k, x, steps[k], lr, mu=alpha, offset=-g[k]) for k in who}
        for k, w in models.items():
            g[k] = g[k] - alpha * (w - x)
        h = h - alpha / m * sum(w - x for w in models.values())
        x = sum(models.values()) / len(models) - h / alpha
    return x


def test_feddyn_matches_algorithm_1(engine, dtype, tolerance):
    problem = repeated()
    mine = problem.trained(
        tacit.FedDyn(tacit.SGD(lr=0.03, batch_size=2, epochs=2), alpha=0.4), 7, engine=engine, dtype=dtype
    )
    assert relative(mine, feddyn(problem, 7, steps_of(problem, 2, 2), 0.03, 0.4)) < tolerance


def test_feddyn_with_partial_participation_matches_algorithm_1(engine):
    problem = full_rank(6)
    mine = problem.trained(
        tacit.FedDyn(tacit.SGD(lr=0.05, epochs=3), alpha=0.3), 10, selection=tacit.Uniform(2), seed=1, engine=engine
    )
    assert relative(mine, feddyn(problem, 10, [3] * 6, 0.05, 0.3, cohorts(6, 2, 1, 10))) < 1e-10


def test_feddyn_reaches_the_optimum_where_fedavg_stays_a_hundred_times_further_away():
    problem = well_conditioned()
    optimum = problem.optimum(np.ones(4))
    solver = tacit.SGD(lr=0.3, epochs=5)
    mine = np.linalg.norm(problem.trained(tacit.FedDyn(solver, alpha=0.5), 80) - optimum)
    other = np.linalg.norm(problem.trained(tacit.FedAvg(solver, weights="uniform"), 80) - optimum)
    assert mine < 1e-8
    assert other > 100 * mine
    assert other > 1e-3


def test_at_the_optimum_with_the_right_memory_nothing_moves():
    """x = w*, g_k = grad f_k(w*), h = 0 (the optimum's mean gradient) is a fixed point of clients and server."""
    import torch

    problem = full_rank(spread=2.0)
    optimum = problem.optimum(np.ones(5))
    method = tacit.FedDyn(tacit.SGD(lr=0.05), alpha=0.5)
    memory = torch.from_numpy(np.stack([problem.gradient(k, optimum) for k in range(5)]))
    down = {"x": torch.from_numpy(optimum)}
    correction = method.correction(down, memory)
    for k in range(5):
        g = torch.from_numpy(problem.gradient(k, optimum))
        stays = type(correction)(correction.proximal, correction.offset[k])(g, down["x"].clone(), down["x"])
        assert float(stays.abs().max()) == pytest.approx(0.0, abs=1e-12)
    update = torch.zeros(5, 3, dtype=torch.float64)
    message, renewed = method.message(update, down, memory, None)
    assert torch.equal(renewed, memory)
    state = method.apply(method.init(down["x"]), {"update": message["update"].mean(0)}, 5, 5)
    assert torch.equal(state["x"], down["x"])

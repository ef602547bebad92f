"""Server optimisers against an independent NumPy form of [Reddi21] Algorithm 2 and of server momentum [Hsu19]."""

from __future__ import annotations

import numpy as np
import pytest

import tacit
from tests.oracles.quadratics import cohorts, full_rank, relative, repeated, steps_of


def adaptive(problem, rounds, steps, lr, kind, *, eta, beta1, beta2, tau, corrected=False, drawn=None, weights=None):
    x, weights = problem.x0, problem.n if weights is None else weights
    m, v = np.zeros_like(x), np.full_like(x, 0.0 if corrected else tau**2)
    for t in range(rounds):
        who = range(len(problem.n)) if drawn is None else drawn[t]
        total = sum(weights[k] for k in who)
        delta = sum(weights[k] / total * (problem.local(k, x, steps[k], lr) - x) for k in who)
        m = beta1 * m + (1 - beta1) * delta
        if kind == "adagrad":
            v = v + delta**2
        elif kind == "yogi":
            v = v - (1 - beta2) * delta**2 * np.sign(v - delta**2)
        else:
            v = beta2 * v + (1 - beta2) * delta**2
        m_used, v_used = m, v
        if corrected:
            m_used = m / (1 - beta1 ** (t + 1))
            v_used = v if kind == "adagrad" else v / (1 - beta2 ** (t + 1))
        x = x + eta * m_used / (np.sqrt(v_used) + tau)
    return x


METHODS = {
    "adam": (tacit.FedAdam, {"beta1": 0.8, "beta2": 0.9}),
    "yogi": (tacit.FedYogi, {"beta1": 0.8, "beta2": 0.9}),
    "adagrad": (tacit.FedAdagrad, {"beta1": 0.0}),
    "adagrad with momentum": (tacit.FedAdagrad, {"beta1": 0.6}),
}


@pytest.mark.parametrize("corrected", [False, True], ids=["as published", "bias corrected"])
@pytest.mark.parametrize("name", METHODS)
def test_adaptive_servers_match_algorithm_2(name, corrected, dtype, tolerance):
    method, betas = METHODS[name]
    problem = repeated()
    algorithm = method(
        tacit.SGD(lr=0.03, batch_size=2, epochs=2), server_lr=0.2, tau=1e-2, bias_correction=corrected, **betas
    )
    mine = problem.trained(algorithm, 9, dtype=dtype)
    settings = {"eta": 0.2, "tau": 1e-2, "beta2": 0.0, "corrected": corrected, **betas}
    truth = adaptive(problem, 9, steps_of(problem, 2, 2), 0.03, name.split()[0], **settings)
    assert relative(mine, truth) < tolerance


def test_adaptive_servers_take_cohorts_and_uniform_weights():
    problem = full_rank(6)
    drawn = cohorts(6, 2, seed=9, rounds=8)
    algorithm = tacit.FedYogi(tacit.SGD(lr=0.05, epochs=2), weights="uniform")
    mine = problem.trained(algorithm, 8, selection=tacit.Uniform(2), seed=9)
    settings = {"eta": 0.1, "beta1": 0.9, "beta2": 0.99, "tau": 1e-3}
    truth = adaptive(problem, 8, [2] * 6, 0.05, "yogi", drawn=drawn, weights=np.ones(6), **settings)
    assert relative(mine, truth) < 1e-10


def test_fedavgm_matches_heavy_ball_on_the_mean_update(engine, dtype, tolerance):
    problem = repeated()
    steps, x, v = steps_of(problem, 2, 2), problem.x0, np.zeros(3)
    for _ in range(8):
        delta = sum(n / problem.n.sum() * (problem.local(k, x, steps[k], 0.03) - x) for k, n in enumerate(problem.n))
        v = 0.7 * v + delta
        x = x + 0.5 * v
    algorithm = tacit.FedAvgM(tacit.SGD(lr=0.03, batch_size=2, epochs=2), server_lr=0.5, momentum=0.7)
    assert relative(problem.trained(algorithm, 8, engine=engine, dtype=dtype), x) < tolerance

"""FedNova against [Wang20] eqs. 8-10 with independently computed normalisers."""

from __future__ import annotations

import numpy as np
import pytest

import tacit
from tests.oracles.quadratics import Quadratics, cohorts, relative, repeated, steps_of


def normaliser(tau, lr, *, mu=0.0, momentum=0.0):
    """||a||_1 by the definition of [Wang20]: how much each of the tau gradients weighs in the local change."""
    total = 0.0
    for unit in range(tau):
        y, m = 0.0, 0.0
        for s in range(tau):
            m = momentum * m + (1.0 if s == unit else 0.0) + mu * y
            y -= lr * m
        total += abs(-y / lr)
    return total


def nova(problem, rounds, steps, lr, *, drawn=None, weights=None, **local):
    x, weights = problem.x0, problem.n if weights is None else weights
    a = [normaliser(tau, lr, **local) for tau in steps]
    for t in range(rounds):
        who = range(len(problem.n)) if drawn is None else drawn[t]
        p = {k: weights[k] / sum(weights[j] for j in who) for k in who}
        tau_eff = sum(p[k] * a[k] for k in who)
        x = x + tau_eff * sum(p[k] * (problem.local(k, x, steps[k], lr, **local) - x) / a[k] for k in who)
    return x


@pytest.mark.parametrize(
    "local", [{}, {"momentum": 0.7}, {"mu": 0.6}, {"mu": 0.6, "momentum": 0.4}], ids=["plain", "momentum", "mu", "both"]
)
def test_fednova_matches_its_equations_with_unequal_local_steps(engine, dtype, tolerance, local):
    problem = repeated()
    solver = tacit.SGD(lr=0.03, batch_size=2, epochs=3, momentum=local.get("momentum", 0.0))
    algorithm = tacit.FedNova(solver, mu=local.get("mu", 0.0))
    mine = problem.trained(algorithm, 5, engine=engine, dtype=dtype)
    assert relative(mine, nova(problem, 5, steps_of(problem, 2, 3), 0.03, **local)) < tolerance


def test_fednova_with_partial_participation_and_uniform_weights():
    problem = repeated(7)
    drawn = cohorts(7, 3, seed=2, rounds=6)
    algorithm = tacit.FedNova(tacit.SGD(lr=0.03, batch_size=2, epochs=2), weights="uniform")
    mine = problem.trained(algorithm, 6, selection=tacit.Uniform(3), seed=2)
    truth = nova(problem, 6, steps_of(problem, 2, 2), 0.03, drawn=drawn, weights=np.ones(7))
    assert relative(mine, truth) < 1e-10


@pytest.mark.parametrize("tau", [1, 2, 7, 40])
def test_normalisers_match_the_closed_forms_of_the_paper(tau):
    rho, lr, mu = 0.9, 0.05, 0.3
    assert tacit.SGD(lr=lr).norm(tau, lr, 0.0) == tau
    momentum = (tau - rho * (1 - rho**tau) / (1 - rho)) / (1 - rho)
    assert tacit.SGD(lr=lr, momentum=rho).norm(tau, lr, 0.0) == pytest.approx(momentum, rel=1e-12)
    proximal = (1 - (1 - lr * mu) ** tau) / (lr * mu)
    assert tacit.SGD(lr=lr).norm(tau, lr, mu) == pytest.approx(proximal, rel=1e-12)


def test_fednova_reaches_the_optimum_of_the_objective_where_fedavg_does_not():
    """Small steps, very unequal counts: FedAvg solves another problem, FedNova the stated one ([Wang20], theorem 1)."""
    rng = np.random.default_rng(1)
    sizes = (1, 3, 9)
    problem = Quadratics(
        [np.full((n, 1), a) for n, a in zip(sizes, rng.uniform(0.8, 1.2, 3), strict=True)],
        [np.full(n, b) for n, b in zip(sizes, (5.0, -3.0, 1.0), strict=True)],
        np.zeros(1),
    )
    solver = tacit.SGD(lr=4e-3, batch_size=1, epochs=1)
    optimum = problem.optimum(problem.n)
    nova_gap, avg_gap = (
        np.linalg.norm(problem.trained(method(solver), 150) - optimum) for method in (tacit.FedNova, tacit.FedAvg)
    )
    assert avg_gap > 10 * nova_gap

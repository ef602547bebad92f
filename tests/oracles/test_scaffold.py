"""SCAFFOLD against Algorithm 1 of [Karimireddy20], both options, with clients that come and go."""

from __future__ import annotations

import numpy as np
import pytest

import tacit
from tests.oracles.quadratics import cohorts, relative, repeated, steps_of, well_conditioned


def scaffold(problem, rounds, steps, lr, option, *, server_lr=1.0, drawn=None):
    N, x = len(problem.n), problem.x0
    c, own = np.zeros_like(x), [np.zeros_like(x) for _ in range(N)]
    for t in range(rounds):
        who = range(N) if drawn is None else drawn[t]
        dx, dc = np.zeros_like(x), np.zeros_like(x)
        for k in who:
            y = problem.local(k, x, steps[k], lr, offset=c - own[k])
            renewed = problem.gradient(k, x) if option == 1 else own[k] - c + (x - y) / (steps[k] * lr)
            dx, dc, own[k] = dx + (y - x) / len(who), dc + (renewed - own[k]) / len(who), renewed
        x, c = x + server_lr * dx, c + len(who) / N * dc
    return x


@pytest.mark.parametrize("option", [1, 2])
def test_scaffold_matches_algorithm_1(engine, dtype, tolerance, option):
    problem = repeated()
    solver = tacit.SGD(lr=0.03, batch_size=2, epochs=2)
    mine = problem.trained(tacit.Scaffold(solver, option=option, server_lr=0.8), 7, engine=engine, dtype=dtype)
    assert relative(mine, scaffold(problem, 7, steps_of(problem, 2, 2), 0.03, option, server_lr=0.8)) < tolerance


@pytest.mark.parametrize("option", [1, 2])
def test_scaffold_with_partial_participation_matches_algorithm_1(engine, option):
    problem = repeated(7)
    drawn = cohorts(7, 3, seed=4, rounds=12)
    solver = tacit.SGD(lr=0.03, batch_size=2, epochs=2)
    mine = problem.trained(tacit.Scaffold(solver, option=option), 12, selection=tacit.Uniform(3), seed=4, engine=engine)
    assert relative(mine, scaffold(problem, 12, steps_of(problem, 2, 2), 0.03, option, drawn=drawn)) < 1e-10


@pytest.mark.parametrize("option", [1, 2])
def test_scaffold_reaches_the_optimum_where_fedavg_stays_a_hundred_times_further_away(option):
    problem = well_conditioned()
    solver = tacit.SGD(lr=0.2, epochs=3)
    optimum = problem.optimum(np.ones(4))
    mine = np.linalg.norm(problem.trained(tacit.Scaffold(solver, option=option), 80) - optimum)
    other = np.linalg.norm(problem.trained(tacit.FedAvg(solver, weights="uniform"), 80) - optimum)
    assert mine < 1e-8
    assert other > 100 * mine
    assert other > 1e-3


def test_scaffold_with_momentum_divides_by_the_norm_of_a_and_still_reaches_the_optimum():
    problem = well_conditioned()
    solver = tacit.SGD(lr=0.1, epochs=3, momentum=0.5)
    mine = problem.trained(tacit.Scaffold(solver), 120)
    assert np.linalg.norm(mine - problem.optimum(np.ones(4))) < 1e-8

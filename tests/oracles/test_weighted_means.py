"""FedAvg and FedProx against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import tacit
from tests.oracles.quadratics import cohorts, full_rank, relative, repeated, steps_of


def averaged(problem, rounds, weights, steps, lr, *, server_lr=1.0, drawn=None, **local):
    x = problem.x0
    for t in range(rounds):
        rate = lr(t) if callable(lr) else lr
        who = range(len(problem.n)) if drawn is None else drawn[t]
        total = sum(weights[k] for k in who)
        x = x + server_lr * sum(weights[k] / total * (problem.local(k, x, steps[k], rate, **local) - x) for k in who)
    return x


def test_fedavg_with_full_batches_matches_matrix_powers(engine, dtype, tolerance):
    problem = full_rank()
    mine = problem.trained(tacit.FedAvg(tacit.SGD(lr=0.05, epochs=4), server_lr=0.7), 6, engine=engine, dtype=dtype)
    truth = averaged(problem, 6, problem.n, [4] * 5, 0.05, server_lr=0.7)
    assert relative(mine, truth) < tolerance


def test_fedavg_with_unequal_local_steps_and_tail_batches_matches_matrix_powers(engine, dtype, tolerance):
    problem = repeated()
    steps = steps_of(problem, 2, 3)
    assert len(set(steps)) == 5
    mine = problem.trained(tacit.FedAvg(tacit.SGD(lr=0.03, batch_size=2, epochs=3)), 5, engine=engine, dtype=dtype)
    assert relative(mine, averaged(problem, 5, problem.n, steps, 0.03)) < tolerance


def test_fedavg_with_a_given_number_of_steps_takes_that_many(engine):
    problem = repeated()
    mine = problem.trained(tacit.FedAvg(tacit.SGD(lr=0.03, batch_size=2, steps=5)), 4, engine=engine)
    assert relative(mine, averaged(problem, 4, problem.n, [5] * 5, 0.03)) < 1e-10


def test_uniform_weights_count_every_client_once(engine):
    problem = repeated()
    algorithm = tacit.FedAvg(tacit.SGD(lr=0.03, batch_size=2, epochs=3), weights="uniform")
    mine = problem.trained(algorithm, 5, engine=engine)
    assert relative(mine, averaged(problem, 5, np.ones(5), steps_of(problem, 2, 3), 0.03)) < 1e-10
    assert relative(mine, averaged(problem, 5, problem.n, steps_of(problem, 2, 3), 0.03)) > 1e-3


def test_partial_participation_averages_the_cohort_alone(engine):
    problem = full_rank(7)
    drawn = cohorts(7, 3, seed=5, rounds=8)
    mine = problem.trained(
        tacit.FedAvg(tacit.SGD(lr=0.05, epochs=2)), 8, selection=tacit.Uniform(3), seed=5, engine=engine
    )
    assert relative(mine, averaged(problem, 8, problem.n, [2] * 7, 0.05, drawn=drawn)) < 1e-10


def test_local_momentum_starts_at_zero_in_every_round(engine, dtype, tolerance):
    problem = repeated()
    algorithm = tacit.FedAvg(tacit.SGD(lr=0.02, batch_size=2, epochs=2, momentum=0.8))
    mine = problem.trained(algorithm, 5, engine=engine, dtype=dtype)
    truth = averaged(problem, 5, problem.n, steps_of(problem, 2, 2), 0.02, momentum=0.8)
    assert relative(mine, truth) < tolerance


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_fedprox_matches_matrix_powers(engine, dtype, tolerance, momentum):
    problem = repeated()
    algorithm = tacit.FedProx(tacit.SGD(lr=0.03, batch_size=2, epochs=3, momentum=momentum), mu=0.7, server_lr=0.9)
    mine = problem.trained(algorithm, 5, engine=engine, dtype=dtype)
    truth = averaged(problem, 5, problem.n, steps_of(problem, 2, 3), 0.03, server_lr=0.9, mu=0.7, momentum=momentum)
    assert relative(mine, truth) < tolerance


@pytest.mark.parametrize(
    ("schedule", "rate"),
    [
        (tacit.Exponential(0.05, 0.7), lambda t: 0.05 * 0.7**t),
        (tacit.StepDecay(0.05, every=2, factor=0.5), lambda t: 0.05 * 0.5 ** (t // 2)),
        (tacit.Cosine(0.05, rounds=4, final=0.01), lambda t: 0.01 + 0.02 * (1 + np.cos(np.pi * min(t / 4, 1)))),
        (tacit.Warmup(0.05, rounds=3), lambda t: 0.05 * min((t + 1) / 3, 1)),
    ],
    ids=["exponential", "step", "cosine", "warmup"],
)
def test_a_schedule_gives_every_round_its_own_rate(schedule, rate):
    problem = full_rank()
    mine = problem.trained(tacit.FedAvg(tacit.SGD(lr=schedule, epochs=3)), 6)
    assert relative(mine, averaged(problem, 6, problem.n, [3] * 5, rate)) < 1e-10


def test_the_recorded_loss_is_the_mean_loss_along_the_way(engine):
    problem = full_rank()
    run = problem.federation(tacit.FedAvg(tacit.SGD(lr=0.05, epochs=3)), engine=engine).run(1, progress=False)
    losses = []
    for k in range(5):
        ways = [problem.local(k, problem.x0, s, 0.05) for s in range(3)]
        losses.append(np.mean([np.mean((problem.A[k] @ y - problem.b[k]) ** 2) for y in ways]))
    assert run.history["loss"][0] == pytest.approx(np.average(losses, weights=problem.n), rel=1e-10)
    assert run.history["examples"][0] == problem.n.sum()

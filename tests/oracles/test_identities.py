"""Identities between methods, and what must not change a result: workers, blocks, the order of clients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tacit
from tacit.venue import block
from tests.oracles.quadratics import full_rank, relative, repeated, well_conditioned

METHODS = {
    "fedavg": lambda s: tacit.FedAvg(s),
    "fedprox": lambda s: tacit.FedProx(s, mu=0.3),
    "fednova": lambda s: tacit.FedNova(s, mu=0.2),
    "scaffold1": lambda s: tacit.Scaffold(s, option=1),
    "scaffold2": lambda s: tacit.Scaffold(s, option=2),
    "fedadam": lambda s: tacit.FedAdam(s),
    "feddyn": lambda s: tacit.FedDyn(s),
}


CASES = [(name, "eager") for name in METHODS]
CASES += [(name, engine) for name in ("fedavg", "feddyn") for engine in ("fused", "traced")]
"""Every method on the eager engine; on the others a method without correction, and one with all of them."""


def ragged(seed=0, clients=9):
    """Nonlinear data of unequal sizes, for batches that are really shuffled."""
    rng = np.random.default_rng(seed)
    return {
        f"client {k}": (rng.normal(size=(3 + 2 * k, 4)), rng.integers(0, 3, size=3 + 2 * k)) for k in range(clients)
    }


def network(dtype=torch.float64, dropout=0.0, seed=0):
    torch.manual_seed(seed)
    layers = [torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(8, 3)]
    return torch.nn.Sequential(*(layers if dropout else layers[:2] + layers[3:])).to(dtype)


def trained(algorithm, data, rounds=3, model=None, **options):
    options = {"engine": "eager", "workers": 1} | options
    task = tacit.Task(model or network(), torch.nn.functional.cross_entropy)
    run = tacit.Federation(task, tacit.Population.from_arrays(data), algorithm, **options).run(rounds, progress=False)
    return torch.cat([t.flatten() for t in run.tensors.values()])


def test_fedprox_without_pull_is_fedavg_bit_for_bit(engine):
    solver = tacit.SGD(lr=0.1, batch_size=4, epochs=2)
    one, other = (trained(a, ragged(), engine=engine) for a in (tacit.FedProx(solver, mu=0.0), tacit.FedAvg(solver)))
    assert torch.equal(one, other)


def test_fednova_with_equal_local_steps_is_fedavg(engine):
    solver = tacit.SGD(lr=0.1, batch_size=4, steps=5)
    one, other = (trained(a, ragged(), engine=engine) for a in (tacit.FedNova(solver), tacit.FedAvg(solver)))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_scaffold_in_its_first_round_is_uniform_fedavg():
    solver = tacit.SGD(lr=0.1, batch_size=4)
    one = trained(tacit.Scaffold(solver), ragged(), rounds=1)
    assert torch.equal(one, trained(tacit.FedAvg(solver, weights="uniform"), ragged(), rounds=1))


def test_server_momentum_of_zero_is_fedavg_bit_for_bit():
    solver = tacit.SGD(lr=0.1, batch_size=4)
    one, other = (trained(a, ragged()) for a in (tacit.FedAvgM(solver, momentum=0.0), tacit.FedAvg(solver)))
    assert torch.equal(one, other)


def test_one_full_batch_of_everyone_is_a_gradient_step_on_the_pooled_data(engine):
    data = ragged()
    mine = trained(tacit.FedAvg(tacit.SGD(lr=0.3)), data, rounds=4, engine=engine)
    model = network()
    x = torch.from_numpy(np.concatenate([x for x, _ in data.values()]))
    y = torch.from_numpy(np.concatenate([y for _, y in data.values()]))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(4):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimiser.step()
    pooled = torch.cat([t.detach().flatten() for t in model.state_dict().values()])
    torch.testing.assert_close(mine, pooled, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}],
    ids=["plain", "momentum", "nesterov with decay"],
)
def test_one_client_is_a_loop_over_torch_sgd(engine, settings):
    rng = np.random.default_rng(3)
    row, label = rng.normal(size=(1, 4)), np.array([2])
    data = {"only": (np.repeat(row, 7, axis=0), np.repeat(label, 7))}
    mine = trained(tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=3, epochs=2, **settings)), data, rounds=2, engine=engine)
    model = network()
    x, y = torch.from_numpy(data["only"][0]), torch.from_numpy(data["only"][1])
    for _ in range(2):
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1, **settings)
        for rows in [slice(0, 3), slice(3, 6), slice(6, 7)] * 2:
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
            optimiser.step()
    alone = torch.cat([t.detach().flatten() for t in model.state_dict().values()])
    torch.testing.assert_close(mine, alone, rtol=1e-10, atol=1e-12)


def test_one_client_with_local_adam_is_a_loop_over_torch_adam(engine):
    rng = np.random.default_rng(3)
    data = {"only": (rng.normal(size=(6, 4)), rng.integers(0, 3, size=6))}
    mine = trained(tacit.FedAvg(tacit.Adam(lr=0.05, epochs=4, weight_decay=0.1)), data, rounds=2, engine=engine)
    model = network()
    x, y = (torch.from_numpy(v) for v in data["only"])
    for _ in range(2):
        optimiser = torch.optim.Adam(model.parameters(), lr=0.05, weight_decay=0.1)
        for _ in range(4):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()
    alone = torch.cat([t.detach().flatten() for t in model.state_dict().values()])
    torch.testing.assert_close(mine, alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_the_number_of_workers_changes_no_bit(name, engine):
    """One worker is a thread of this process; several are processes or threads, as the engine asks."""
    algorithm = METHODS[name](tacit.SGD(lr=0.1, batch_size=4, epochs=2))
    results = [trained(algorithm, ragged(), workers=w, engine=engine, selection=tacit.Uniform(7)) for w in (1, 2, 3)]
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("name", ["fedavg", "scaffold1"])
def test_the_number_of_workers_changes_no_bit_of_a_model_with_dropout_and_batch_norm(name):
    rng = np.random.default_rng(0)
    data = {k: (rng.normal(size=(4 + 2 * k, 4)), rng.integers(0, 3, size=4 + 2 * k)) for k in range(6)}
    results = []
    for workers in (1, 2):
        torch.manual_seed(workers)
        state = network(dropout=0.5, seed=1)
        model = torch.nn.Sequential(torch.nn.BatchNorm1d(4, dtype=torch.float64), *state)
        torch.manual_seed(100 + workers)
        results.append(
            trained(METHODS[name](tacit.SGD(lr=0.1, batch_size=2)), data, model=model, workers=workers, rounds=3)
        )
    assert torch.equal(*results)


@pytest.mark.parametrize("name", METHODS)
def test_permuting_the_clients_agrees(name):
    algorithm, data = METHODS[name](tacit.SGD(lr=0.1, batch_size=4, epochs=2)), ragged()
    keys = list(data)
    np.random.default_rng(1).shuffle(keys)
    one, other = trained(algorithm, data), trained(algorithm, {k: data[k] for k in keys})
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_another_block_size_agrees(name, monkeypatch, engine):
    algorithm = METHODS[name](tacit.SGD(lr=0.1, batch_size=4, epochs=2))
    one = trained(algorithm, ragged(), engine=engine)
    monkeypatch.setattr(block, "BLOCKS", 2)
    other = trained(algorithm, ragged(), engine=engine)
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)


def test_another_seed_gives_other_batches_and_the_same_seed_the_same_bits():
    algorithm = tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=4))
    one, same, other = (trained(algorithm, ragged(), seed=s) for s in (7, 7, 8))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, rtol=1e-9)


def test_float32_stays_near_float64():
    problem = full_rank()
    algorithm = tacit.Scaffold(tacit.SGD(lr=0.05, epochs=3))
    single, double = (problem.trained(algorithm, 10, dtype=d) for d in (torch.float32, torch.float64))
    assert relative(single, double) < 1e-5


def test_the_user_stays_owner_of_the_model_and_the_global_generator():
    model = network()
    before = {n: t.clone() for n, t in model.state_dict().items()}
    data, algorithm = ragged(), tacit.FedAvg(tacit.SGD(lr=0.5, batch_size=2))
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    trained(algorithm, data, model=model)
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(before[n], t) for n, t in model.state_dict().items())


def test_ragged_clients_pull_fedavg_away_from_the_optimum_of_the_objective():
    """The gap that the drift corrections close is real: it does not shrink with more rounds."""
    problem = well_conditioned()
    optimum = problem.optimum(problem.n)
    gaps = [np.linalg.norm(problem.trained(tacit.FedAvg(tacit.SGD(lr=0.2, epochs=3)), r) - optimum) for r in (40, 80)]
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-3)
    assert gaps[1] > 1e-2


def test_examples_weigh_a_client_by_its_size():
    """With one step each the mean over examples is exact: repeating a client's examples is giving it more weight."""
    problem = repeated()
    x = problem.x0 - 0.05 * sum(n / problem.n.sum() * problem.gradient(k, problem.x0) for k, n in enumerate(problem.n))
    assert relative(problem.trained(tacit.FedAvg(tacit.SGD(lr=0.05)), 1), x) < 1e-12

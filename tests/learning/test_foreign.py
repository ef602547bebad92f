"""Training functions of one's own: they get copies, are told what they ask for, and what they return is looked at."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import tacit
from tacit.errors import DataError, IncompatibleOptions, UsageError
from tacit.learning import foreign
from tacit.learning.batches import Examples, draw
from tacit.learning.eager import EagerEngine
from tacit.learning.foreign import ForeignEngine
from tacit.learning.solver import SGD, Correction
from tacit.learning.step import LocalRun, Perturbation
from tacit.learning.task import Task
from tacit.population.population import Population
from tacit.rounds.opening import work_of
from tacit.rounds.server import Server
from tacit.venue.block import Block
from tacit.venue.work import Worker

SIZES = [7, 1, 12]
SOLVER = SGD(0.05, 4, epochs=2)


@pytest.fixture
def task():
    torch.manual_seed(0)
    return Task(nn.Linear(3, 1).double(), mse_loss)


@pytest.fixture
def normalised():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()
    task = Task(model, mse_loss)
    return task.settled(torch.randn(5, 3).double(), torch.randn(5, 1).double())


def job_for(task, correction=None, perturbation=None):
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(sum(SIZES), 3, generator=draws, dtype=task.dtype)
    y = torch.randn(sum(SIZES), 1, generator=draws, dtype=task.dtype)
    start = np.cumsum([0, *SIZES[:-1]]).astype(np.int64)
    examples = Examples(x, y, start, np.array(SIZES, dtype=np.int64))
    batches = draw(SOLVER, examples, ["a", "b", "c"], seed=3, round=0)
    correction = correction or Correction()
    return LocalRun(*task.initial(), examples, batches, correction, 0.05, (1, 2, 3), perturbation)


def run(engine, task, job):
    rows = torch.full((3, task.d + 5), torch.nan, dtype=task.dtype)  # rows that lie apart, as those of reports do
    update, buffers = rows[:, 2 : 2 + task.d], torch.empty(3, task.buffer_layout.size, dtype=task.dtype)
    loss = torch.empty(3, dtype=task.dtype)
    moved = engine.run(job, update, buffers, loss)
    assert rows[:, :2].isnan().all()
    assert rows[:, 2 + task.d :].isnan().all()
    return update, buffers, loss, moved


def descent(parameters, x, y, *, lr, batches):
    """Linear regression by gradient descent, in NumPy: what the eager engine does with nn.Linear and mse_loss."""
    weight, bias, total = parameters["weight"], parameters["bias"], 0.0
    for rows in batches:
        error = x[rows] @ weight.T + bias - y[rows]
        total += float((error**2).mean()) * len(rows)
        weight -= lr * 2 * error.T @ x[rows] / error.size
        bias -= lr * 2 * error.sum(0) / error.size
    return {"weight": weight, "bias": bias}, total / sum(map(len, batches))


def test_the_same_steps_in_numpy_give_what_the_eager_engine_gives(task):
    job = job_for(task)
    mine, theirs = run(ForeignEngine(descent, task), task, job), run(EagerEngine(task, SOLVER), task, job)
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


def test_it_takes_the_place_of_an_engine_in_a_worker(task):
    job = job_for(task)
    data = {name: job.examples.of(k) for k, name in enumerate("abc")}
    federation = tacit.Federation(task, Population.from_arrays(data), tacit.FedAvg(SOLVER), seed=3)
    server = Server(federation.task, federation.algorithm, federation.chain, 3)
    totals = []
    for make in (
        foreign.make(descent, federation.task, federation.algorithm),
        lambda: EagerEngine(federation.task, SOLVER),
    ):
        work = work_of(federation, server, make, records=None, chance=None, uplink=None)
        totals.append(Worker(work).run(Block(np.arange(3), None), server.broadcast()[1], 0))
    assert totals[0].counted.tolist() == [0, 1, 2]
    torch.testing.assert_close(totals[0].total, totals[1].total, rtol=1e-12, atol=1e-14)


def test_it_gets_copies_and_what_it_asks_for(task):
    job, seen = job_for(task), []
    x0, inputs = job.x.clone(), job.examples.x.clone()

    def train(parameters, x, y, *, lr, seed, steps, batches):
        seen.append((lr, seed, steps, [rows.tolist() for rows in batches], x.shape, y.shape))
        result = {name: array + 1 for name, array in parameters.items()}
        x[:], y[:] = np.nan, np.nan
        for array in parameters.values():
            array[:] = np.nan
        return result

    update, _, _, moved = run(ForeignEngine(train, task), task, job)
    assert torch.equal(job.x, x0)
    assert torch.equal(job.examples.x, inputs)
    torch.testing.assert_close(update, torch.ones_like(update))
    torch.testing.assert_close(moved, torch.full((3,), 2.0, dtype=task.dtype))  # of four parameters
    assert [entry[:3] for entry in seen] == [(0.05, 1, 4), (0.05, 2, 2), (0.05, 3, 6)]
    assert [sorted(row for rows in entry[3][: len(entry[3]) // 2] for row in rows) for entry in seen] == [
        list(range(n)) for n in SIZES
    ]
    assert [entry[4] for entry in seen] == [(7, 3), (1, 3), (12, 3)]


@pytest.mark.parametrize(
    "train",
    [
        lambda parameters, x, y: parameters,
        lambda parameters, x, y, lr=1.0: parameters,
        lambda parameters, x, y, *, seed: parameters,
        lambda parameters, x, y, **rest: parameters,
        lambda *arguments: arguments[0],
        lambda parameters, x, y, *, lr, own=5: parameters,
    ],
)
def test_it_need_not_ask_for_everything(task, train):
    update, _, loss, moved = run(ForeignEngine(train, task), task, job_for(task))
    assert not update.any()
    assert not moved.any()
    assert (loss > 0).all()


@pytest.mark.parametrize(
    "train",
    [
        5,
        dict,
        lambda parameters: parameters,
        lambda parameters, x: parameters,
        lambda parameters, x, y, z: parameters,
        lambda parameters, x, y, *, rate: parameters,
    ],
)
def test_what_cannot_be_called_so_is_refused_before_anything_runs(task, train):
    with pytest.raises(UsageError, match="train is"):
        foreign.make(train, task, tacit.FedAvg(SOLVER))


def test_a_function_that_tells_no_loss_has_that_of_the_broadcast_model(task):
    job = job_for(task)
    _, _, loss, _ = run(ForeignEngine(lambda parameters, x, y: parameters, task), task, job)
    module = task.install(job.x, job.b)
    expected = [mse_loss(module(x), y).item() for x, y in (job.examples.of(k) for k in range(3))]
    assert loss.tolist() == pytest.approx(expected, rel=1e-12)


def test_buffers_go_there_and_come_back(normalised):
    task, seen = normalised, []

    def train(parameters, x, y):
        seen.append(list(parameters))
        return parameters | {"1.running_mean": parameters["1.running_mean"] + 3}

    assert task.buffer_layout.size
    job = job_for(task)
    update, buffers, _, _ = run(ForeignEngine(train, task), task, job)
    place = task.buffer_layout["1.running_mean"]
    torch.testing.assert_close(buffers[:, place], (job.b[place] + 3).expand(3, -1))
    assert not update.any()
    here = {*task.layout.names, *task.buffer_layout.names}
    assert seen[0] == [name for name in task.model.state_dict() if name in here]


def wrong(change):
    return lambda parameters, x, y: change(parameters)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: None, "returned NoneType: let it return the parameters by name"),
        (lambda p: list(p.values()), "returned list"),
        (lambda p: {"weight": p["weight"]}, "'bias' is missing"),
        (lambda p: p | {"more": p["bias"]}, "'more' was not given"),
        (lambda p: p | {"weight": p["weight"].T}, r"'weight' has the shape \(3, 1\): return \(1, 3\)"),
        (lambda p: p | {"weight": p["weight"][0]}, r"'weight' has the shape \(3,\)"),
        (lambda p: p | {"bias": p["bias"].astype(complex)}, "'bias' is of type complex128"),
        (lambda p: p | {"bias": np.array(["a"])}, "'bias' is of type"),
        (lambda p: p | {"bias": np.array([object()])}, "'bias' is of type object"),
        (lambda p: p | {"bias": np.array([True])}, "'bias' is of type bool"),
        (lambda p: (p, float("nan")), "returned nan as its loss"),
        (lambda p: (p, "small"), "returned 'small' as its loss"),
    ],
)
def test_what_is_no_model_is_refused_by_name(task, change, said):
    with pytest.raises(UsageError, match=said):
        run(ForeignEngine(wrong(change), task), task, job_for(task))


def test_all_that_is_wrong_is_told_at_once(task):
    change = wrong(lambda p: {"weight": p["weight"].T, "more": p["bias"]})
    with pytest.raises(UsageError, match="3 problems"):
        run(ForeignEngine(change, task), task, job_for(task))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_the_datas_fault_and_named(task, value):
    change = wrong(lambda p: p | {"bias": np.full_like(p["bias"], value)})
    with pytest.raises(DataError, match="NaN or Inf in 'bias'"):
        run(ForeignEngine(change, task), task, job_for(task))


def test_other_numbers_become_those_of_the_task(task):
    change = wrong(lambda p: {"weight": np.full((1, 3), 2, np.int32), "bias": np.full(1, 0.5, np.float32)})
    job = job_for(task)
    update, _, _, _ = run(ForeignEngine(change, task), task, job)
    torch.testing.assert_close(job.x + update[0], torch.tensor([2.0, 2.0, 2.0, 0.5], dtype=torch.float64))


def test_steps_that_are_to_be_corrected_or_private_are_refused(task):
    engine = ForeignEngine(descent, task)
    for correction in (Correction(0.1), Correction(offset=torch.zeros(3, task.d))):
        with pytest.raises(IncompatibleOptions, match="cannot be corrected"):
            run(engine, task, job_for(task, correction))
    with pytest.raises(IncompatibleOptions, match="record_privacy"):
        run(engine, task, job_for(task, perturbation=Perturbation(1.0, [1.0] * 3, [1.0] * 3, [])))


@pytest.mark.parametrize(
    "algorithm",
    [
        tacit.FedProx(SOLVER, mu=0.1),
        tacit.Scaffold(SOLVER),
        tacit.Scaffold(SOLVER, option=1),
        tacit.FedDyn(SOLVER),
        tacit.FedNova(SOLVER),
        tacit.FedNova(SOLVER, mu=0.1),
    ],
    ids=repr,
)
def test_methods_that_look_between_two_steps_are_refused(task, algorithm):
    with pytest.raises(IncompatibleOptions, match=type(algorithm).__name__):
        foreign.make(descent, task, algorithm)


def test_methods_that_read_the_update_alone_are_welcome(task):
    for algorithm in (tacit.FedAvg(SOLVER), tacit.FedAdam(SOLVER), tacit.FedProx(SOLVER, mu=0.0)):
        assert foreign.make(descent, task, algorithm)().name == "own"
    assert foreign.make(descent, task, tacit.FedNova(SOLVER), follows_solver=True)().name == "own"
    with pytest.raises(IncompatibleOptions):
        foreign.make(descent, task, tacit.FedNova(SOLVER, mu=0.1), follows_solver=True)


def test_what_the_function_raises_is_its_own(task):
    def train(parameters, x, y):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(ForeignEngine(train, task), task, job_for(task))

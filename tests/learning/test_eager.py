"""The eager engine, held against a plain loop over torch's optimisers."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import mse_loss

from tacit.learning.batches import Examples, draw
from tacit.learning.eager import EagerEngine, full_gradient
from tacit.learning.solver import SGD, Adam, Correction
from tacit.learning.step import LocalRun
from tacit.learning.task import Task

SIZES = [7, 1, 12]
OFFSETS = torch.linspace(-1, 1, 3)

MODELS = {
    "linear": lambda: nn.Linear(4, 2),
    "perceptron": lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.4), nn.Linear(6, 2)),
    "normalised": lambda: nn.Sequential(nn.Linear(4, 6), nn.GroupNorm(2, 6), nn.Linear(6, 2)),
}
SOLVERS = {
    "sgd": (SGD(0.05, 5, epochs=2), lambda p: torch.optim.SGD(p, lr=0.05)),
    "full batch": (SGD(0.05, steps=3), lambda p: torch.optim.SGD(p, lr=0.05)),
    "momentum": (
        SGD(0.05, 5, epochs=2, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adam": (Adam(0.01, 5, epochs=2), lambda p: torch.optim.Adam(p, lr=0.01)),
}


def job_for(task, solver, sizes=SIZES, correction=None, round=0):
    draws = torch.Generator().manual_seed(1)
    total = sum(sizes)
    x = torch.randn(total, 4, generator=draws, dtype=task.dtype)
    y = torch.randn(total, 2, generator=draws, dtype=task.dtype)
    start = np.cumsum([0, *sizes[:-1]]).astype(np.int64)
    examples = Examples(x, y, start, np.array(sizes, dtype=np.int64))
    batches = draw(solver, examples, [f"c{k}" for k in range(len(sizes))], seed=3, round=round)
    seeds = tuple(100 + k for k in range(len(sizes)))
    return LocalRun(*task.initial(), examples, batches, correction or Correction(), solver.lr, seeds)


def run(engine, job):
    K, task = len(job.seeds), engine.task
    y, buffers = torch.empty(K, task.d, dtype=task.dtype), torch.empty(K, task.buffer_layout.size, dtype=task.dtype)
    loss = torch.empty(K, dtype=torch.float64)
    engine.run(job, y, buffers, loss)
    return job.x + y, buffers, loss


def plain(task, optimiser_of, job, k):
    """The k-th client's local run as anyone would write it: final model and mean loss over the examples read."""
    model = copy.deepcopy(task.model).train()
    optimiser = optimiser_of(model.parameters())
    torch.manual_seed(job.seeds[k])
    total = 0.0
    for s in range(job.batches.client[k], job.batches.client[k + 1]):
        rows = torch.from_numpy(job.batches.order[job.batches.cut[s] : job.batches.cut[s + 1]])
        optimiser.zero_grad()
        loss = task.loss(model(job.examples.x[rows]), job.examples.y[rows])
        loss.backward()
        optimiser.step()
        total += loss.item() * len(rows)
    return model, total / job.batches.visited[k]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", SOLVERS)
def test_each_client_ends_where_a_plain_loop_ends(model, name):
    torch.manual_seed(0)
    solver, optimiser_of = SOLVERS[name]
    task = Task(MODELS[model]().double(), mse_loss)
    job = job_for(task, solver)
    y, _, loss = run(EagerEngine(task, solver), job)
    for k in range(len(SIZES)):
        expected, expected_loss = plain(task, optimiser_of, job, k)
        parameters = task.layout.pack(dict(expected.named_parameters()))
        torch.testing.assert_close(y[k], parameters.detach(), rtol=1e-10, atol=1e-12)
        assert loss[k].item() == pytest.approx(expected_loss, rel=1e-12)


def test_float32_runs_match_the_plain_loop_bit_for_bit():
    torch.manual_seed(0)
    solver, optimiser_of = SOLVERS["momentum"]
    task = Task(MODELS["dropout"](), mse_loss)
    job = job_for(task, solver)
    y, _, _ = run(EagerEngine(task, solver), job)
    for k in range(len(SIZES)):
        expected, _ = plain(task, optimiser_of, job, k)
        update = task.layout.pack(dict(expected.named_parameters())).detach() - job.x
        assert torch.equal(y[k], job.x + update)


def test_the_statistics_of_batch_normalisation_start_from_the_broadcast_ones_at_each_client():
    torch.manual_seed(0)
    task = Task(nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2)), mse_loss)
    task.model[1].running_mean.fill_(0.5)
    solver, optimiser_of = SGD(0.05, 4, epochs=2), lambda p: torch.optim.SGD(p, lr=0.05)
    job = job_for(task, solver, sizes=[8, 12, 6])
    _, buffers, _ = run(EagerEngine(task, solver), job)
    for k in range(3):
        expected, _ = plain(task, optimiser_of, job, k)
        for name, part in task.buffer_layout.unpack(buffers[k]).items():
            torch.testing.assert_close(part, dict(expected.named_buffers())[name].to(part.dtype))
    assert len({row.sum().item() for row in buffers}) == 3


def test_an_engine_forgets_one_block_before_the_next():
    torch.manual_seed(0)
    solver, _ = SOLVERS["momentum"]
    task = Task(MODELS["dropout"](), mse_loss)
    used, first = EagerEngine(task, solver), job_for(task, solver)
    run(used, job_for(task, solver, round=1))
    for again, fresh in zip(run(used, first), run(EagerEngine(task, solver), first), strict=True):
        assert torch.equal(again, fresh)


def test_the_users_model_is_left_alone():
    solver, _ = SOLVERS["sgd"]
    task = Task(MODELS["normalised"](), mse_loss)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    run(EagerEngine(task, solver), job_for(task, solver))
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())


@settings(max_examples=15)
@given(st.floats(0, 1), st.booleans())
def test_a_corrected_run_is_the_run_on_the_corrected_objective(proximal, with_offset):
    # g + mu (y - x) + c is the gradient of  loss + mu/2 |y - x|^2 + c.y, which autograd can differentiate itself.
    torch.manual_seed(0)
    solver = SGD(0.05, 5, epochs=2)
    task = Task(MODELS["linear"]().double(), mse_loss)
    offset = torch.outer(OFFSETS, torch.arange(task.d)).double() if with_offset else None
    job = job_for(task, solver, correction=Correction(proximal, offset))
    y, _, loss = run(EagerEngine(task, solver), job)
    for k in range(len(SIZES)):
        point, x = job.x.clone().requires_grad_(), job.x
        losses, lengths = [], job.batches.lengths[job.batches.client[k] : job.batches.client[k + 1]]
        for s in range(job.batches.client[k], job.batches.client[k + 1]):
            rows = torch.from_numpy(job.batches.order[job.batches.cut[s] : job.batches.cut[s + 1]])
            parts = task.layout.unpack(point)
            output = torch.func.functional_call(task.model, parts, (job.examples.x[rows],))
            plain_loss = mse_loss(output, job.examples.y[rows])
            linear = offset[k] @ point if with_offset else 0.0
            (g,) = torch.autograd.grad(plain_loss + 0.5 * proximal * (point - x).square().sum() + linear, point)
            point = (point - 0.05 * g).detach().requires_grad_()
            losses.append(plain_loss.item())
        torch.testing.assert_close(y[k], point.detach(), rtol=1e-9, atol=1e-12)
        assert loss[k].item() == pytest.approx(np.average(losses, weights=lengths), rel=1e-9)


def test_a_client_without_steps_stays_where_it_started():
    solver = SGD(0.05, 5)
    task = Task(MODELS["linear"](), mse_loss)
    job = job_for(task, solver)
    batches = draw(solver, job.examples, ["c0", "c1", "c2"], seed=3, round=0, budget=[0, None, 1])
    y, _, loss = run(
        EagerEngine(task, solver), LocalRun(job.x, job.b, job.examples, batches, Correction(), 0.05, job.seeds)
    )
    assert torch.equal(y[0], job.x)
    assert loss[0] == 0.0
    assert not torch.equal(y[2], job.x)


@pytest.mark.parametrize("model", ["linear", "dropout"])
def test_the_full_gradient_is_that_over_all_examples_of_each_client(model):
    torch.manual_seed(0)
    task = Task(MODELS[model]().double(), mse_loss)
    solver = SGD(0.05, 5)
    job, engine = job_for(task, solver), EagerEngine(task, solver)
    run(engine, job)
    gradients = full_gradient(engine, job)
    for k in range(len(SIZES)):
        torch.manual_seed(job.seeds[k])
        model_k = copy.deepcopy(task.model).train()
        inputs, target = job.examples.of(k)
        mse_loss(model_k(inputs), target).backward()
        expected = task.layout.pack({name: p.grad for name, p in model_k.named_parameters()})
        torch.testing.assert_close(gradients[k], expected)

"""The vmapped engine against the eager one, on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import TacitWarning, UsageError
from tacit.learning.batches import draw
from tacit.learning.ladder import TOLERANCE, choose
from tacit.learning.solver import SGD, Adam, Solver
from tacit.learning.task import Task
from tacit.learning.vmapped import VmappedEngine, schedule
from tests.learning.models import CASES, RANDOM, Case, Chooser, assert_agree, local_run, outcome, population

PLAIN = SGD(0.1, batch_size=4, epochs=2)
SOLVERS = {
    "full batch": SGD(0.1, epochs=2),
    "momentum": SGD(0.1, batch_size=4, epochs=2, momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": Adam(0.01, batch_size=4, epochs=2, weight_decay=0.1),
}
SIZES = (10, 4, 7)


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_with_the_eager_engine_on_every_kind_of_model(name: str) -> None:
    task, examples = CASES[name].task(), population(CASES[name], SIZES, torch.float64)
    assert VmappedEngine.accepts(task, PLAIN, examples, "cpu") is None
    assert_agree(VmappedEngine(task, PLAIN, "cpu"), local_run(task, PLAIN, examples), task, PLAIN, 1e-10)


@pytest.mark.parametrize("name", CASES)
def test_it_agrees_in_single_precision(name: str) -> None:
    task, examples = CASES[name].task(torch.float32), population(CASES[name], SIZES, torch.float32)
    assert_agree(VmappedEngine(task, PLAIN, "cpu"), local_run(task, PLAIN, examples), task, PLAIN, 1e-5)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize(("proximal", "offset"), [(0.0, False), (0.5, False), (0.5, True)])
def test_solvers_and_corrections_agree(solver: Solver, proximal: float, offset: bool) -> None:
    task, examples = CASES["norms"].task(), population(CASES["norms"], SIZES, torch.float64)
    job = local_run(task, solver, examples, proximal, offset)
    assert_agree(VmappedEngine(task, solver, "cpu"), job, task, solver, 1e-9)


@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    batch=st.one_of(st.none(), st.integers(1, 10)),
    steps=st.integers(1, 7),
    solver=st.sampled_from([SGD, Adam]),
)
def test_ragged_clients_and_tail_batches_agree(sizes: list[int], batch: int | None, steps: int, solver: type) -> None:
    rule = solver(0.1, batch_size=batch, steps=steps)
    task, examples = CASES["residual"].task(), population(CASES["residual"], sizes, torch.float64)
    assert_agree(VmappedEngine(task, rule, "cpu"), local_run(task, rule, examples), task, rule, 1e-9)


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    batch=st.one_of(st.none(), st.integers(1, 10)),
    epochs=st.integers(1, 3),
    aligned=st.booleans(),
)
def test_a_schedule_takes_every_step_once_and_in_order(
    sizes: list[int], batch: int | None, epochs: int, aligned: bool
) -> None:
    solver, examples = SGD(0.1, batch_size=batch, epochs=epochs), population(CASES["residual"], sizes, torch.float64)
    batches = draw(solver, examples, [str(k) for k in range(len(sizes))], 0, 0)
    ticks, rows = schedule(batches, aligned)
    taken = np.zeros(len(sizes), dtype=np.int64)
    for tick in ticks:
        block = rows[tick.place : tick.place + len(tick.clients) * tick.length].reshape(-1, tick.length)
        for client, mine in zip(tick.clients, block, strict=True):
            step = batches.client[client] + taken[client]
            np.testing.assert_array_equal(mine, batches.order[batches.cut[step] : batches.cut[step + 1]])
            assert not aligned or taken[client] == tick.step
            taken[client] += 1
    np.testing.assert_array_equal(taken, batches.steps)


def test_equal_clients_go_in_step() -> None:
    examples = population(CASES["residual"], (6, 6, 6), torch.float64)
    batches = draw(PLAIN, examples, ["a", "b", "c"], 0, 0)
    ticks, _ = schedule(batches, aligned=False)
    assert [(len(t.clients), t.length) for t in ticks] == [(3, 4), (3, 2)] * 2


@pytest.mark.parametrize("name", RANDOM)
def test_random_masks_differ_between_clients_and_repeat_with_the_seed(name: str) -> None:
    task, examples = RANDOM[name].task(), population(RANDOM[name], (4, 4), torch.float64)
    examples.x[4:], examples.y[4:] = examples.x[:4], examples.y[:4]
    solver = SGD(0.1, epochs=1)
    assert VmappedEngine.accepts(task, solver, examples, "cpu") is None
    job = local_run(task, solver, examples)
    first, second = (outcome(VmappedEngine(task, solver, "cpu"), job)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.allclose(first[0], first[1])


def test_it_says_why_it_refuses_a_model() -> None:
    case = Case(Chooser, F.cross_entropy, CASES["norms"].x, CASES["norms"].y)
    found = VmappedEngine.accepts(case.task(), PLAIN, population(case, SIZES, torch.float64), "cpu")
    assert found is not None and ".item()" in found


def test_one_engine_serves_several_blocks_of_the_same_population() -> None:
    task, examples = CASES["batch norm"].task(), population(CASES["batch norm"], SIZES, torch.float64)
    engine = VmappedEngine(task, PLAIN, "cpu")
    for round in range(2):
        assert_agree(engine, local_run(task, PLAIN, examples, round=round), task, PLAIN, 1e-10)


def test_a_client_without_steps_stays_where_it_started() -> None:
    task, examples = CASES["batch norm"].task(), population(CASES["batch norm"], (4, 4, 4), torch.float64)
    job = local_run(task, PLAIN, examples, budget=[0, 1, None])
    assert_agree(VmappedEngine(task, PLAIN, "cpu"), job, task, PLAIN, 1e-10)


@pytest.mark.parametrize("sizes", [(7, 10, 15, 8), (8, 8, 8)])
@pytest.mark.parametrize("name", ["dropout", "attention dropout"])
def test_dropout_with_clients_of_unlike_sizes_is_taken_for_its_masks_are_as_good(name, sizes):
    case = RANDOM[name]
    task, examples = case.task(torch.float32), population(case, sizes, torch.float32)
    choice = choose(task, SGD(lr=0.1, batch_size=4), examples, 0.0, False, "vmapped")
    assert choice.name == "vmapped"
    assert choice.deviation <= TOLERANCE[torch.float32]


def test_a_wrong_step_is_not_excused_by_dropout(monkeypatch):
    case = RANDOM["dropout"]
    task, examples = case.task(torch.float32), population(case, (7, 10), torch.float32)
    right = VmappedEngine.run

    def wrong(self, job, y, buffers, loss):
        right(self, job, y, buffers, loss)
        y.add_(0.1)

    monkeypatch.setattr(VmappedEngine, "run", wrong)
    with pytest.raises(UsageError, match="differs from the eager engine"):
        choose(task, SGD(lr=0.1, batch_size=4), examples, 0.0, False, "vmapped")


def test_an_accelerator_that_is_not_used_is_said():
    """A loss that vmap refuses; the device is the CPU under the name of an accelerator, for there may be none here."""
    case = CASES["norms"]

    def loss(output, target):
        return F.cross_entropy(output, target) + (output.sum().item() > 0)

    task = Task(case.task(torch.float32).model, loss)
    examples = population(case, (8, 8), torch.float32)
    with pytest.warns(TacitWarning, match="device='cpu:0' is not used"):
        choice = choose(task, SGD(lr=0.1, batch_size=4), examples, 0.0, False, "auto", "cpu:0")
    assert choice.device == "cpu"
    assert "vmap refuses" in choice.declined["vmapped"]

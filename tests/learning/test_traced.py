"""The traced engine against the eager one."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tacit.errors import TacitError
from tacit.learning.batches import Examples
from tacit.learning.solver import SGD, Adam, Solver
from tacit.learning.task import Task
from tacit.learning.traced import TracedEngine, memory
from tests.learning.models import CASES, RANDOM, Case, Chooser, assert_agree, local_run, outcome, population

EVERY = {**CASES, **RANDOM}
PLAIN = SGD(0.1, batch_size=4, epochs=2)
SOLVERS = {
    "plain": PLAIN,
    "full batch": SGD(0.1, epochs=2),
    "decay": SGD(0.1, batch_size=4, epochs=2, weight_decay=0.1),
    "momentum": SGD(0.1, batch_size=4, epochs=2, momentum=0.9, weight_decay=0.1),
    "nesterov": SGD(0.1, batch_size=4, epochs=2, momentum=0.9, nesterov=True),
    "adam": Adam(0.01, batch_size=4, epochs=2, weight_decay=0.1),
}
SIZES = (10, 4)


@pytest.mark.parametrize("name", EVERY)
def test_it_agrees_with_the_eager_engine_on_every_kind_of_model(name: str) -> None:
    task, examples = EVERY[name].task(), population(EVERY[name], SIZES, torch.float64)
    assert TracedEngine.accepts(task, PLAIN, examples) is None
    assert_agree(TracedEngine(task, PLAIN), local_run(task, PLAIN, examples), task, PLAIN, 1e-10)


@pytest.mark.parametrize("name", ["residual", "batch norm", "lstm", "attention dropout", "convolutional dropout"])
def test_it_agrees_in_single_precision(name: str) -> None:
    task, examples = EVERY[name].task(torch.float32), population(EVERY[name], SIZES, torch.float32)
    assert_agree(TracedEngine(task, PLAIN), local_run(task, PLAIN, examples), task, PLAIN, 2e-5)


CORRECTIONS = [(0.0, False), (0.5, False), (0.0, True), (0.5, True)]


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize(("proximal", "offset"), CORRECTIONS)
def test_solvers_and_corrections_agree(solver: Solver, proximal: float, offset: bool) -> None:
    task, examples = EVERY["residual"].task(), population(EVERY["residual"], (6, 3), torch.float64)
    job = local_run(task, solver, examples, proximal, offset)
    assert_agree(TracedEngine(task, solver), job, task, solver, 1e-9)


@pytest.mark.parametrize("name", ["convolutional dropout", "lstm"])
@pytest.mark.parametrize("solver", [PLAIN, SOLVERS["adam"]], ids=["plain", "adam"])
def test_corrections_agree_where_the_layout_is_another_one(name: str, solver: Solver) -> None:
    task, examples = EVERY[name].task(), population(EVERY[name], (4, 4), torch.float64)
    job = local_run(task, solver, examples, 0.5, True)
    assert_agree(TracedEngine(task, solver), job, task, solver, 1e-9)


@settings(max_examples=6, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    batch=st.one_of(st.none(), st.integers(1, 10)),
    steps=st.integers(1, 7),
)
def test_ragged_clients_and_tail_batches_agree(sizes: list[int], batch: int | None, steps: int) -> None:
    solver = SGD(0.1, batch_size=batch, steps=steps)
    task, examples = CASES["residual"].task(), population(CASES["residual"], sizes, torch.float64)
    assert_agree(TracedEngine(task, solver), local_run(task, solver, examples), task, solver, 1e-10)


def test_an_engine_serves_one_round_after_another() -> None:
    task, examples = CASES["batch norm"].task(), population(CASES["batch norm"], SIZES, torch.float64)
    engine = TracedEngine(task, PLAIN)
    for round, proximal in enumerate((0.0, 0.3, 0.0)):
        assert_agree(engine, local_run(task, PLAIN, examples, proximal, round=round), task, PLAIN, 1e-10)


@pytest.mark.parametrize("name", ["residual", "batch norm", "convolutional dropout", "lstm"])
def test_the_bits_of_a_client_do_not_depend_on_its_block(name: str) -> None:
    task, examples = EVERY[name].task(torch.float32), population(EVERY[name], SIZES, torch.float32)
    job = local_run(task, PLAIN, examples)
    engine = TracedEngine(task, PLAIN)
    together = outcome(engine, job)
    for k in range(len(SIZES)):
        alone = outcome(engine, _only(job, k))
        for whole, part in zip(together, alone, strict=True):
            assert torch.equal(whole[k], part[0])


def _only(job, k):  # type: ignore[no-untyped-def]
    from tacit.learning.batches import Batches
    from tacit.learning.step import LocalRun

    first, last = job.batches.client[k], job.batches.client[k + 1]
    low, high = job.batches.cut[first], job.batches.cut[last]
    cut, client = job.batches.cut[first : last + 1] - low, job.batches.client[k : k + 2] - first
    examples = Examples(job.examples.x, job.examples.y, job.examples.start[[k]], job.examples.size[[k]])
    batches = Batches(job.batches.order[low:high], cut, client)
    return LocalRun(job.x, job.b, examples, batches, job.correction, job.lr, (job.seeds[k],))


WRITTEN = CASES["residual"].x, CASES["residual"].y


class _Writing(nn.Module):
    """Writes into its input."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.mul_(2.0).add_(1.0))


@pytest.mark.parametrize("case", [CASES["batch norm"], Case(_Writing, F.mse_loss, *WRITTEN)], ids=["plain", "writing"])
def test_the_examples_and_the_task_stay_as_they_were(case: Case) -> None:
    task, examples = case.task(), population(case, SIZES, torch.float64)
    before = [t.clone() for t in (examples.x, examples.y, *task.initial())]
    assert TracedEngine.accepts(task, PLAIN, examples) is None
    assert_agree(TracedEngine(task, PLAIN), local_run(task, PLAIN, examples), task, PLAIN, 1e-10)
    for old, new in zip(before, (examples.x, examples.y, *task.initial()), strict=True):
        assert torch.equal(old, new)


class _Custom(nn.Module):
    """A layer given by a function, between the same embedding and readout."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.layer, self.scale, self.function = nn.Linear(6, 3), nn.Parameter(torch.ones(3)), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def _case(function) -> Case:  # type: ignore[no-untyped-def]
    return Case(lambda: _Custom(function), F.cross_entropy, CASES["norms"].x, CASES["norms"].y)


UNUSUAL = {
    "a parameter without influence": lambda m, x: m.layer(x),
    "a weight used twice": lambda m, x: m.layer(torch.tanh(m.layer(x)).repeat(1, 2)),
    "a gradient that is a parameter": lambda m, x: m.layer(x) + (m.scale * m.layer.bias).sum(),
    "in-place activations": lambda m, x: F.relu(m.layer(x), inplace=True) * m.scale,
    "in-place arithmetic": lambda m, x: (m.layer(x) * 2.0).add_(m.scale).mul_(0.5),
    "indexing": lambda m, x: m.layer(x[:, torch.tensor([5, 4, 3, 2, 1, 0])])[:, [2, 0, 1]],
    "a constant": lambda m, x: m.layer(x) + torch.arange(3) * torch.ones(3, dtype=x.dtype),
    "concatenation": lambda m, x: m.layer(torch.cat([x[:, 3:], x[:, :3]], 1)).softmax(1),
    "noise": lambda m, x: m.layer(x + torch.randn_like(x)) + torch.rand(3),
}


@pytest.mark.parametrize("name", UNUSUAL)
@pytest.mark.parametrize("solver", [PLAIN, SOLVERS["decay"], SOLVERS["momentum"]], ids=["plain", "decay", "momentum"])
def test_unusual_models_agree(name: str, solver: Solver) -> None:
    case = _case(UNUSUAL[name])
    task, examples = case.task(), population(case, SIZES, torch.float64)
    assert TracedEngine.accepts(task, solver, examples) is None
    assert_agree(TracedEngine(task, solver), local_run(task, solver, examples), task, solver, 1e-10)


SQUARED = {
    "alone": F.mse_loss,
    "a sum of two": lambda o, t: F.mse_loss(o, t) + F.mse_loss(o, 2 * t),
    "twice the same": lambda o, t: F.mse_loss(o, t) + 0.5 * F.mse_loss(o, t),
    "scaled": lambda o, t: 3.0 * F.mse_loss(o, t),
    "with a penalty on the output": lambda o, t: F.mse_loss(o, t) + o.square().mean(),
    "of a transposed output": lambda o, t: F.mse_loss(o.t(), t.t()),
    "that broadcasts": lambda o, t: F.mse_loss(o, t[:, :1].expand(-1, 3)),
    "summed": lambda o, t: F.mse_loss(o, t, reduction="sum") / 100,
    "of a product that is the loss itself": lambda o, t: (torch.ones_like(o[:1]) @ (o - t).square().t()).mean(),
    "a single number from a product": lambda o, t: ((o - t).reshape(1, -1) @ (o - t).reshape(-1, 1)).view(()) / len(o),
}


@pytest.mark.parametrize("loss", SQUARED.values(), ids=SQUARED)
@pytest.mark.parametrize("solver", [PLAIN, SOLVERS["momentum"]], ids=["plain", "momentum"])
def test_squared_errors_of_every_kind_agree(loss, solver: Solver) -> None:  # type: ignore[no-untyped-def]
    case = Case(CASES["residual"].model, loss, CASES["residual"].x, CASES["residual"].y)
    task, examples = case.task(), population(case, SIZES, torch.float64)
    assert_agree(TracedEngine(task, solver), local_run(task, solver, examples), task, solver, 1e-10)


def test_large_and_small_results_agree(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Small results have memory of their own for all steps; large ones are made anew in each."""
    from tacit.learning.traced import emit

    task, examples = CASES["residual"].task(), population(CASES["residual"], SIZES, torch.float64)
    job = local_run(task, PLAIN, examples)
    kept = outcome(TracedEngine(task, PLAIN), job)
    monkeypatch.setattr(emit, "SMALL", 0)
    for mine, theirs in zip(kept, outcome(TracedEngine(task, PLAIN), job), strict=True):
        assert torch.equal(mine, theirs)


def test_frozen_and_tied_parameters_agree() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen, self.a, self.b = nn.Linear(6, 6).requires_grad_(False), nn.Linear(6, 6), nn.Linear(6, 6)
            self.b.weight, self.out = self.a.weight, nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.b(torch.relu(self.a(self.frozen(x)))))

    case = Case(Tied, F.cross_entropy, CASES["norms"].x, CASES["norms"].y)
    task, examples = case.task(), population(case, SIZES, torch.float64)
    assert_agree(TracedEngine(task, PLAIN), local_run(task, PLAIN, examples), task, PLAIN, 1e-10)


class _Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(6, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(x) * self.calls


class _Remembering(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.memory = nn.Linear(6, 3), torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        self.memory.add_(x.mean().detach().float())
        return self.layer(x) + self.memory


REFUSED = {
    "takes a value out of a tensor|value out of a tracing tensor": Chooser,
    "shape of what .*masked_select.* depends": lambda: _Custom(lambda m, x: m.layer(x) + x.masked_select(x > 0).sum()),
    "two captures of its step differ": _Counting,
    "not a registered buffer": _Remembering,
    "RuntimeError": lambda: _Custom(lambda m, x: m.layer(x[:, :5])),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_it_says_why_it_refuses_a_model(reason: str) -> None:
    case = Case(REFUSED[reason], F.cross_entropy, CASES["norms"].x, CASES["norms"].y)
    found = TracedEngine.accepts(case.task(), PLAIN, population(case, SIZES, torch.float64))
    assert found is not None
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found)


def test_it_refuses_too_many_batch_lengths() -> None:
    examples = population(CASES["residual"], range(1, 80), torch.float64)
    found = TracedEngine.accepts(CASES["residual"].task(), SGD(0.1), examples)
    assert found is not None and "79 different lengths" in found


def test_a_batch_that_cannot_be_captured_is_an_error_with_a_remedy() -> None:
    class Short(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if len(x) > 2 else self.layer(x).masked_select(x[:, :3] == x[:, :3]).view(-1, 3)

    task = Task(Short().double(), F.cross_entropy)
    job = local_run(task, PLAIN, population(CASES["norms"], (5,), torch.float64))
    with pytest.raises(TacitError, match=r"batches of 1 examples.*engine='eager'"):
        outcome(TracedEngine(task, PLAIN), job)


FAULTS = """
import ctypes, resource, runpy, sys
taken = runpy.run_path(sys.argv[1])["raise_malloc_thresholds"]()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(2**24)
    ctypes.memset(block, 1, 2**24)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
fill()
print(taken, fill())
"""


def test_raised_malloc_thresholds_keep_large_blocks_in_the_process() -> None:
    run = [sys.executable, "-c", FAULTS, memory.__file__]
    taken, faults = subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()
    assert taken == "False" or int(faults) < 100


def test_a_client_without_steps_stays_where_it_started() -> None:
    task, examples = CASES["batch norm"].task(), population(CASES["batch norm"], (4, 4), torch.float64)
    job = local_run(task, PLAIN, examples, budget=[0, 1])
    assert_agree(TracedEngine(task, PLAIN), job, task, PLAIN, 1e-10)

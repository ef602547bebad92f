"""Private local steps: every way to sum cut gradients is held against one backward pass for each example."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss

from tacit.errors import DataError
from tacit.learning.batches import Batches, Examples
from tacit.learning.dp_sgd.alone import Alone
from tacit.learning.dp_sgd.engine import PrivateEngine
from tacit.learning.dp_sgd.ghost import Ghost, Unsuited
from tacit.learning.dp_sgd.mapped import Mapped
from tacit.learning.dp_sgd.mixing import mixing
from tacit.learning.fused import FusedEngine
from tacit.learning.ladder import choose
from tacit.learning.solver import SGD, Adam, Correction
from tacit.learning.step import LocalRun, Perturbation
from tacit.learning.task import Task
from tacit.secret_draws import SecretDraws


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 6, padding_idx=0)
        self.scale = nn.LayerNorm(6)
        self.deep = nn.Linear(6, 5)
        self.out = nn.Linear(5, 4, bias=False)

    def forward(self, x):
        return self.out(torch.tanh(self.deep(self.scale(self.table(x)))).mean(1))


class Series(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(3, 6, 3, stride=2, groups=3), nn.ReLU(inplace=True), nn.Flatten())
        self.out = nn.Linear(6 * 4, 4)

    def forward(self, x):
        return self.out(self.net(x))


def images():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1, stride=2),
        nn.GroupNorm(4, 8),
        nn.ReLU(inplace=True),
        nn.Conv2d(8, 6, 3, dilation=2, bias=False),
        nn.Flatten(),
        nn.Linear(6, 4),
    )


def numbers(dtype=torch.float32):
    return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 4)).to(dtype)


def data(kind, n=6):
    rng = torch.Generator().manual_seed(3)
    y = torch.randint(0, 4, (n,), generator=rng)
    x = {
        "numbers": lambda: torch.randn(n, 5, generator=rng),
        "images": lambda: torch.randn(n, 2, 9, 9, generator=rng),
        "series": lambda: torch.randn(n, 3, 9, generator=rng),
        "words": lambda: torch.randint(0, 11, (n, 7), generator=rng),
    }[kind]()
    return x, y


MODELS = {"numbers": numbers, "images": images, "series": Series, "words": Words}


def task_of(kind):
    torch.manual_seed(1)
    return Task(MODELS[kind](), cross_entropy)


def by_hand(task, x, y, norm):
    """The definition."""
    total = torch.zeros(task.d, dtype=torch.float64)
    for i in range(len(y)):
        bound = task.bind()
        bound.module.train()
        task.loss(bound.module(x[i : i + 1]), y[i : i + 1]).backward()
        g = bound.g.double()
        total += g * min(1.0, norm / float(g.norm()))
    return total


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("way", [Alone, Mapped, Ghost])
@pytest.mark.parametrize("norm", [0.05, 0.7, 1e6])
def test_every_way_sums_the_cut_gradients_of_examples(kind, way, norm):
    task, (x, y) = task_of(kind), data(kind)
    found = way(task).total(x, y, norm)
    expected = by_hand(task, x, y, norm)
    assert torch.linalg.vector_norm(found.double() - expected) < 1e-5 * torch.linalg.vector_norm(expected)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("way", [Alone, Mapped, Ghost])
def test_one_example_moves_the_sum_by_no_more_than_the_norm(kind, way):
    task, (x, y) = task_of(kind), data(kind)
    sums = way(task)
    for i in range(len(y)):
        rest = [j for j in range(len(y)) if j != i]
        apart = sums.total(x, y, 0.03).clone() - sums.total(x[rest], y[rest], 0.03)
        assert float(torch.linalg.vector_norm(apart.double())) < 0.03 * (1 + 1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38])
@pytest.mark.parametrize("way", [Alone, Mapped, Ghost])
@pytest.mark.parametrize("kind", ["numbers", "images", "series"])
def test_an_example_without_a_finite_gradient_counts_as_nothing(kind, way, bad):
    task, (x, y) = task_of(kind), data(kind)
    x[2] = bad
    rest = [0, 1, 3, 4, 5]
    found, without = way(task).total(x, y, 0.5).clone(), way(task).total(x[rest], y[rest], 0.5)
    assert torch.isfinite(found).all()
    if not np.isfinite(bad):
        torch.testing.assert_close(found, without, rtol=1e-5, atol=1e-6)


def test_dense_layers_on_long_sequences_are_summed_by_gradients_and_on_short_ones_by_products():
    for positions in (1, 2, 40):
        model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Flatten(), nn.Linear(5 * positions, 4))
        task, x = Task(model, cross_entropy), torch.randn(5, positions, 3)
        y = torch.randint(0, 4, (5,))
        torch.testing.assert_close(Ghost(task).total(x, y, 0.2), Alone(task).total(x, y, 0.2), rtol=1e-4, atol=1e-6)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(5, 5)

    def forward(self, x):
        return self.one(self.one(x))


def accepted(task, shape=(5,)):
    x = torch.randn(6, *shape)
    return Ghost.accepts(task, Examples(x, torch.zeros(6), np.zeros(1, np.int64), np.array([6])))


def test_layers_that_ghost_norms_do_not_follow_are_refused():
    assert "BatchNorm1d" in accepted(Task(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)), mse_loss), (3,))
    assert "LSTM" in accepted(Task(nn.Sequential(nn.LSTM(3, 3)), mse_loss), (4, 3))
    frozen = nn.Linear(3, 3)
    frozen.weight.requires_grad_(False)
    assert "only some" in accepted(Task(frozen, mse_loss), (3,))
    for kind in MODELS:
        x, y = data(kind)
        assert Ghost.accepts(task_of(kind), Examples(x, y, np.zeros(1, np.int64), np.array([6]))) is None
    with pytest.raises(Unsuited, match="more than once"):
        Ghost(Task(Twice(), cross_entropy)).total(*data("numbers"), 1.0)


def job_of(task, x, y, lengths, noise=0.0, clip=0.3, correction=None, key=b"\7" * 32):
    """Two clients that share the rows; the first takes the steps given, the second one."""
    cut = np.concatenate([[0], np.cumsum([*lengths, 3])]).astype(np.int64)
    order = np.random.default_rng(0).integers(0, len(y), cut[-1])
    batches = Batches(order, cut, np.array([0, len(lengths), len(lengths) + 1], np.int64))
    start, size = np.zeros(2, np.int64), np.full(2, len(y), np.int64)
    draws = [SecretDraws(bytes([k]) + key[1:]) for k in range(2)]
    private = Perturbation(clip, (noise, noise), (4.0, 4.0), draws)
    start_at, b = task.initial()
    return LocalRun(start_at, b, Examples(x, y, start, size), batches, correction or Correction(), 0.1, (1, 2), private)


def run(engine, job, d):
    update, loss = torch.empty(2, d, dtype=job.x.dtype), torch.empty(2)
    moved = engine.run(job, update, torch.empty(2, len(job.b)), loss)
    torch.testing.assert_close(moved.double(), torch.linalg.vector_norm(update.double(), dim=1), rtol=1e-5, atol=0)
    return update


@pytest.mark.parametrize("solver", [SGD(0.1), SGD(0.1, momentum=0.9), SGD(0.1, weight_decay=0.1), Adam(0.01)])
def test_a_private_step_is_the_solver_s_step_on_the_noised_mean(solver):
    task, (x, y) = task_of("numbers"), data("numbers")
    job = job_of(task, x, y, [4, 0, 5], noise=0.8, correction=Correction(0.1, torch.full((2, task.d), 0.01)))
    update = run(PrivateEngine(task, solver, Alone), job, task.d)
    draws, at, slots = SecretDraws(b"\0" + b"\7" * 31), job.x.clone(), torch.zeros(solver.slots(), task.d)
    for s in range(3):
        rows = job.batches.order[job.batches.cut[s] : job.batches.cut[s + 1]]
        here = Task(task.install(at, job.b), task.loss)
        g = by_hand(here, x[rows], y[rows], 0.3 * (1 - 2**-8)) + 0.8 * 0.3 * torch.from_numpy(draws.normal(task.d))
        g = (g / 4.0).float() + 0.1 * (at - job.x) + 0.01
        solver.update(at, g, slots, 0.1, s)
    torch.testing.assert_close(update[0], at - job.x, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", [Mapped, Ghost])
def test_all_ways_make_the_same_noise_of_the_same_key(way):
    task, (x, y) = task_of("images"), data("images")
    expected = run(PrivateEngine(task, SGD(0.1), Alone), job_of(task, x, y, [4, 0, 5], noise=1.0), task.d)
    found = run(PrivateEngine(task, SGD(0.1), way), job_of(task, x, y, [4, 0, 5], noise=1.0), task.d)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@settings(max_examples=25)
@given(st.floats(1e-3, 1e3), st.floats(0.1, 50.0), st.integers(1, 500))
def test_noise_and_sum_lie_on_one_grid(clip, z, expected):
    from tacit.learning.perturb import grid, perturbed

    rng = np.random.default_rng(0)
    sums, noise = (rng.normal(size=200) * clip).astype(np.float64), rng.normal(size=200)
    scale = z * clip
    g = sums.copy()
    perturbed(g, noise, scale, float(expected))
    steps = g * expected / grid.py_func(scale)
    np.testing.assert_allclose(steps, np.rint(steps), rtol=1e-12, atol=1e-3)
    np.testing.assert_allclose(g, (sums + scale * noise) / expected, atol=3e-8 * scale)


def perceptron(dtype, loss):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 24), nn.GELU(), nn.Linear(24, 19, bias=False), nn.ReLU(), nn.Linear(19, 4))
    return Task(model.to(dtype), loss)


@pytest.mark.parametrize(
    "solver", [SGD(0.1), SGD(0.1, momentum=0.9, nesterov=True), SGD(0.1, momentum=0.5), Adam(0.01)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("clip", [0.05, 1.0, 1e6])
def test_the_fused_engine_takes_the_same_private_steps(solver, dtype, clip):
    task, (x, y) = perceptron(dtype, cross_entropy), data("numbers", 40)
    correction = Correction(0.05, torch.full((2, task.d), 0.01, dtype=dtype))
    job = job_of(task, x.to(dtype), y, [4, 0, 35, 1], noise=0.7, clip=clip, correction=correction)
    expected = run(PrivateEngine(task, solver, Alone), job, task.d)
    job = job_of(task, x.to(dtype), y, [4, 0, 35, 1], noise=0.7, clip=clip, correction=correction)
    found = run(FusedEngine(task, solver), job, task.d)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    assert torch.linalg.vector_norm(found - expected) < tolerance * torch.linalg.vector_norm(expected)


def test_the_fused_engine_takes_few_steps_at_a_time_where_noise_is_large(monkeypatch):
    task, (x, y) = perceptron(torch.float32, cross_entropy), data("numbers", 40)
    whole = run(FusedEngine(task, SGD(0.1, momentum=0.9)), job_of(task, x, y, [4, 0, 35, 1], noise=0.7), task.d)
    monkeypatch.setattr("tacit.learning.fused.engine.NOISE", 2 * task.d)
    pieces = run(FusedEngine(task, SGD(0.1, momentum=0.9)), job_of(task, x, y, [4, 0, 35, 1], noise=0.7), task.d)
    assert (whole == pieces).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38])
def test_in_the_fused_engine_an_example_without_a_finite_gradient_counts_as_nothing(bad):
    task, (x, y) = perceptron(torch.float32, mse_loss), data("numbers", 40)
    y = torch.randn(40, 4)
    x[7], y[9] = bad, float("nan")
    found = run(FusedEngine(task, SGD(0.1)), job_of(task, x, y, [20, 20]), task.d)
    assert torch.isfinite(found).all()
    assert float(found.abs().max()) > 0
    if not np.isfinite(bad):
        job = job_of(task, x, y, [20, 20])
        torch.testing.assert_close(found, run(PrivateEngine(task, SGD(0.1), Alone), job, task.d), rtol=1e-4, atol=1e-6)


def test_in_the_fused_engine_a_strange_label_is_named():
    task, (x, y) = perceptron(torch.float32, cross_entropy), data("numbers", 40)
    y[3] = 9
    with pytest.raises(DataError, match="example 3 has the class label 9"):
        run(FusedEngine(task, SGD(0.1)), job_of(task, x, y, [200]), task.d)


class Deciding(nn.Module):
    """Scales what looks like bytes: by what the whole batch holds."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(5, 4)

    def forward(self, x):
        return self.out(x / 255 if x.max() > 1.5 else x)


class Centring(nn.Module):
    def __init__(self, share) -> None:
        super().__init__()
        self.out, self.share = nn.Linear(5, 4), share

    def forward(self, x):
        return self.out(x - self.share * x.mean(0))


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(5, 4)

    def forward(self, x):
        return self.out(x.transpose(0, 1)).sum(0)


@pytest.mark.parametrize("model", [Deciding(), Centring(1.0), Centring(1e-3)])
@pytest.mark.parametrize("examples", [1, 6])
def test_ghost_norms_are_refused_where_examples_see_each_other(model, examples):
    x, y = data("numbers", examples)
    sample = Examples(x, y, np.zeros(1, np.int64), np.array([examples]))
    assert Ghost.accepts(Task(model, cross_entropy), sample) is not None


def test_axes_that_are_as_long_by_chance_are_told_apart():
    x, y = torch.randn(8, 8, 5), torch.zeros(8, dtype=torch.int64)
    sample = Examples(x, y, np.zeros(1, np.int64), np.array([8]))
    task = Task(TimeFirst(), cross_entropy)
    assert mixing(task, sample) is None, "each example is alone"
    assert "one row for each example" in (Ghost.accepts(task, sample) or ""), "but a layer reads another axis first"
    assert choose(task, SGD(0.1), sample, 0.0, False, clip=1.0).name == "vmapped"
    with pytest.raises(Unsuited, match="one row for each example"):
        Ghost(task).total(x[:5], y[:5], 1.0)


class Difference(nn.Module):
    """What two positions have in common cancels."""

    def __init__(self) -> None:
        super().__init__()
        self.deep, self.out = nn.Linear(32, 32), nn.Linear(32, 3)

    def forward(self, x):
        h = self.deep(x)
        return self.out(h[:, 0] - h[:, 1])


@pytest.mark.parametrize("size", [1.0, 1e4, 1.7e9])
def test_terms_that_cancel_leave_no_more_than_the_norm(size):
    torch.manual_seed(0)
    task = Task(Difference(), cross_entropy)
    x = size + torch.randn(4, 2, 32)
    y = torch.tensor([0, 1, 2, 0])
    for i in range(4):
        total = Ghost(task).total(x[i : i + 1], y[i : i + 1], 0.01)
        assert float(torch.linalg.vector_norm(total.double())) < 0.01 * (1 + 2**-8)


@pytest.mark.parametrize("way", ["fused", Ghost, Mapped, Alone])
@pytest.mark.parametrize("size", [1e15, 1.88e22, 1e30])
def test_an_absurd_example_adds_no_more_than_the_norm(way, size):
    torch.manual_seed(0)
    task = Task(nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 1)), mse_loss)
    x, y = torch.full((6, 5), size), torch.full((6, 1), 3.0)
    if way == "fused":
        job = job_of(task, x, y, [1], clip=1.0)
        update = run(FusedEngine(task, SGD(0.1)), job, task.d)
        assert float(update[0].norm()) * 4.0 / 0.1 <= 1.0
    else:
        assert float(way(task).total(x[:1], y[:1], 1.0).norm()) <= 1.0 + 1e-5

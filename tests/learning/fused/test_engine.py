"""The fused engine against autograd, and what it promises about bits, threads and bad input."""

from __future__ import annotations

import functools
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tacit.errors import DataError, IncompatibleOptions
from tacit.learning.batches import Examples
from tacit.learning.fused import FusedEngine
from tacit.learning.fused.kernel import compiled
from tacit.learning.solver import SGD, Adam
from tacit.learning.task import Task

from .jobs import assert_agree, examples, job_of, mlp, run

ACTIVATIONS = [
    nn.ReLU,
    functools.partial(nn.LeakyReLU, 0.2),
    functools.partial(nn.LeakyReLU, -0.3),
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    functools.partial(nn.GELU, approximate="tanh"),
    nn.SiLU,
    functools.partial(nn.ELU, 1.5),
    functools.partial(nn.Softplus, beta=2.0, threshold=1.0),
    nn.Identity,
]
LOSSES = [
    (F.mse_loss, "real"),
    (F.l1_loss, "real"),
    (nn.HuberLoss(delta=0.7), "real"),
    (nn.SmoothL1Loss(beta=0.4), "real"),
    (F.cross_entropy, "class"),
    (nn.CrossEntropyLoss(), "class"),
    (F.binary_cross_entropy_with_logits, "unit"),
]
LENGTHS = st.one_of(
    st.builds(dict, epochs=st.integers(1, 3), batch_size=st.one_of(st.none(), st.integers(1, 9))),
    st.builds(dict, steps=st.integers(1, 7), batch_size=st.one_of(st.none(), st.integers(1, 9))),
)
SOLVERS = st.one_of(
    st.builds(lambda run, decay: SGD(0.1, weight_decay=decay, **run), LENGTHS, st.sampled_from([0.0, 0.1])),
    st.builds(
        lambda run, decay, nesterov: SGD(0.05, momentum=0.8, weight_decay=decay, nesterov=nesterov, **run),
        LENGTHS,
        st.sampled_from([0.0, 0.1]),
        st.booleans(),
    ),
    st.builds(lambda run, decay: Adam(0.01, eps=1e-3, weight_decay=decay, **run), LENGTHS, st.sampled_from([0.0, 0.1])),
)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    dtype=st.sampled_from([torch.float32, torch.float64]),
    widths=st.lists(st.integers(1, 20), min_size=2, max_size=5),
    activation=st.sampled_from(ACTIVATIONS),
    last=st.sampled_from([None, nn.Tanh(), nn.ReLU(), nn.Softplus()]),
    bias=st.booleans(),
    loss=st.sampled_from(LOSSES),
    solver=SOLVERS,
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    proximal=st.sampled_from([0.0, 0.3]),
    offset=st.booleans(),
)
def test_it_agrees_with_autograd(dtype, widths, activation, last, bias, loss, solver, sizes, proximal, offset):
    task = Task(mlp(*widths, activation=activation, bias=bias, dtype=dtype, last=last), loss[0])
    data = examples(sizes, widths[0], widths[-1], dtype, loss[1])
    rng = torch.Generator().manual_seed(1)
    pushes = 0.1 * torch.randn(len(sizes), task.d, generator=rng, dtype=dtype) if offset else None
    assert_agree(task, solver, job_of(task, solver, data, proximal, pushes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("widths", "batch"), [((700, 300, 40), 10), ((40, 600, 130), 70), ((1100, 24, 900), 130)])
def test_products_cut_into_tiles_agree_with_autograd(dtype, widths, batch):
    task, solver = Task(mlp(*widths, dtype=dtype, activation=nn.Tanh), F.mse_loss), SGD(0.5, batch_size=batch, epochs=2)
    assert_agree(task, solver, job_of(task, solver, examples([2 * batch + 7], widths[0], widths[-1], dtype)))


def test_extreme_arguments_of_activations_agree_with_autograd():
    for activation in ACTIVATIONS:
        task = Task(mlp(3, 8, 2, activation=activation), F.mse_loss)
        data = examples([12], 3, 2)
        data.x[:] *= torch.logspace(-12, 4, 12, dtype=torch.float64)[:, None]
        solver = SGD(1e-6, batch_size=4)
        assert_agree(task, solver, job_of(task, solver, data))


def test_images_that_the_model_flattens_and_outputs_that_it_squeezes_agree_with_autograd():
    task = Task(nn.Sequential(nn.Flatten(), mlp(12, 5, 1), nn.Flatten(0)), F.mse_loss)
    data = examples([9, 4], 12, 1, target="column")
    data = replace(data, x=data.x.reshape(-1, 3, 2, 2))
    solver = SGD(0.1, batch_size=4)
    assert_agree(task, solver, job_of(task, solver, data))


def test_rows_of_the_result_may_lie_apart_and_what_lies_between_is_untouched():
    task, solver = Task(mlp(4, 6, 3), F.mse_loss), SGD(0.1, batch_size=4, epochs=2)
    wide = torch.full((3, task.d + 5), 7.0, dtype=torch.float64)
    assert_agree(task, solver, job_of(task, solver, examples([9, 1, 6], 4, 3)), wide[:, 2 : task.d + 2])
    assert (wide[:, :2] == 7).all()
    assert (wide[:, task.d + 2 :] == 7).all()


def sliced(data: Examples, k: int) -> Examples:
    return replace(data, start=data.start[k : k + 1], size=data.size[k : k + 1])


@pytest.mark.parametrize("solver", [SGD(0.1, batch_size=10, epochs=2), SGD(0.1, momentum=0.9, batch_size=7)])
def test_a_client_gets_the_same_bits_in_a_block_and_alone(solver):
    task = Task(mlp(30, 40, 20, dtype=torch.float32), F.mse_loss)
    data = examples([25, 3, 50, 31, 1, 10, 40, 22], 30, 20, torch.float32)
    offset = 0.01 * torch.randn(8, task.d)
    job = job_of(task, solver, data, 0.1, offset)
    block, engine = run(FusedEngine(task, solver), job), FusedEngine(task, solver)
    cut, client = job.batches.cut, job.batches.client
    for k in range(8):
        alone = replace(
            job.batches,
            order=job.batches.order[cut[client[k]] : cut[client[k + 1]]],
            cut=cut[client[k] : client[k + 1] + 1] - cut[client[k]],
            client=client[k : k + 2] - client[k],
        )
        correction = replace(job.correction, offset=offset[k : k + 1])
        single = run(engine, replace(job, examples=sliced(data, k), batches=alone, correction=correction))
        assert torch.equal(single.y[0], block.y[k])
        assert single.loss[0] == block.loss[k]


def test_two_threads_at_once_get_the_bits_of_one():
    task, solver = Task(mlp(100, 256, 50, dtype=torch.float32), F.mse_loss), SGD(0.05, batch_size=10, epochs=2)
    job = job_of(task, solver, examples([50] * 6, 100, 50, torch.float32))
    expected, found = run(FusedEngine(task, solver), job), []

    def work() -> None:
        engine = FusedEngine(task, solver)
        found.extend(run(engine, job) for _ in range(4))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert all(torch.equal(outcome.y, expected.y) for outcome in found)


FRESH = """
import sys
sys.path.insert(0, {folder!r})
import torch.nn.functional as F
from jobs import examples, job_of, mlp, run
from tacit.learning.fused import FusedEngine
from tacit.learning.fused.kernel import compiled
from tacit.learning.solver import SGD
from tacit.learning.task import Task
task, solver = Task(mlp(3, 2), F.mse_loss), SGD(0.1)
run(FusedEngine(task, solver), job_of(task, solver, examples([4], 3, 2)))
print(sum(compiled().stats.cache_hits.values()), sum(compiled().stats.cache_misses.values()))
"""


def test_a_fresh_process_reads_the_kernel_from_disk():
    task, solver = Task(mlp(3, 2), F.mse_loss), SGD(0.1)
    run(FusedEngine(task, solver), job_of(task, solver, examples([4], 3, 2)))
    if not hasattr(compiled().stats, "cache_path"):
        pytest.skip("no folder for compiled code is writable")
    program = FRESH.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["1", "0"]


def test_a_diverging_client_shows_nan_and_spares_its_neighbours():
    task, solver = Task(mlp(3, 8, 2), F.mse_loss), SGD(0.1, batch_size=2, epochs=3)
    data = examples([6, 6], 3, 2)
    calm = run(FusedEngine(task, solver), job_of(task, solver, data))
    data.x[2, 1] = float("nan")
    found = run(FusedEngine(task, solver), job_of(task, solver, data))
    assert found.y[0].isnan().any()
    assert found.loss[0].isnan()
    assert torch.equal(found.y[1], calm.y[1])


@pytest.mark.parametrize("label", [-1, 5, 2**40, -101])
def test_a_label_that_is_no_class_is_named_with_its_place_among_the_clients_examples(label):
    task, solver = Task(mlp(3, 5), F.cross_entropy), SGD(0.1)
    data = examples([4, 4], 3, 5, target="class")
    data.y[6] = label
    with pytest.raises(DataError, match=rf"its example 2 has the class label {label}: .* 5 outputs.* 0 to 4"):
        run(FusedEngine(task, solver), job_of(task, solver, data))


def test_labels_to_be_ignored_count_for_nothing_as_in_torch():
    task, solver = Task(mlp(3, 4, 5), F.cross_entropy), SGD(0.1, batch_size=3, epochs=2)
    data = examples([7, 5], 3, 5, target="class")
    data.y[[1, 4, 9]] = -100
    assert_agree(task, solver, job_of(task, solver, data))


def test_a_batch_of_nothing_but_ignored_labels_gives_a_loss_of_nan_and_no_step():
    task, solver = Task(mlp(3, 5), F.cross_entropy), SGD(0.1)
    data = examples([4, 4], 3, 5, target="class")
    data.y[:4] = -100
    job = job_of(task, solver, data)
    done = run(FusedEngine(task, solver), job)
    assert torch.isnan(done.loss).tolist() == [True, False]
    assert torch.equal(done.y[0], job.x)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: replace(d, x=d.x.float()), "inputs are torch.float32, the model is torch.float64"),
        (lambda d: replace(d, x=d.x[:, :2].contiguous()), r"inputs have shape \(8, 2\), the model takes \(R, 3\)"),
        (lambda d: replace(d, x=d.x.reshape(-1, 3, 1)), "inputs have shape"),
        (lambda d: replace(d, x=d.x.T.contiguous().T), "not contiguous"),
        (lambda d: replace(d, y=d.y[:, :1].contiguous()), "the loss takes torch.float64 of shape"),
        (lambda d: replace(d, y=d.y.long()), "the targets are torch.int64"),
    ],
)
def test_examples_of_another_kind_are_refused_before_anything_runs(change, words):
    task, solver = Task(mlp(3, 5), F.mse_loss), SGD(0.1)
    good = examples([4, 4], 3, 5)
    job = job_of(task, solver, good)
    assert FusedEngine.accepts(task, solver, good) is None
    assert FusedEngine.accepts(task, solver, change(good)) is not None
    with pytest.raises(IncompatibleOptions, match=words):
        run(FusedEngine(task, solver), replace(job, examples=change(good)))


def test_a_result_of_another_shape_is_refused():
    task, solver = Task(mlp(3, 5), F.mse_loss), SGD(0.1)
    job = job_of(task, solver, examples([4, 4], 3, 5))
    for y in (torch.zeros(2, task.d - 1).double(), torch.zeros(1, task.d).double(), torch.zeros(2, task.d)):
        with pytest.raises(ValueError, match="contiguous along its last axis"):
            run(FusedEngine(task, solver), job, y)
    with pytest.raises(ValueError, match=r"loss has shape \(3,\): give \(2,\)"):
        FusedEngine(task, solver).run(job, torch.zeros(2, task.d).double(), torch.zeros(2, 0), torch.zeros(3))


def test_a_client_without_steps_keeps_the_broadcast_model():
    task, solver = Task(mlp(3, 5), F.mse_loss), SGD(0.1, batch_size=2)
    job = job_of(task, solver, examples([4, 4], 3, 5))
    none = replace(job.batches, order=np.zeros(0, np.int64), cut=np.zeros(1, np.int64), client=np.zeros(3, np.int64))
    found = run(FusedEngine(task, solver), replace(job, batches=none))
    assert torch.equal(found.y, job.x.expand(2, -1))
    assert found.loss.tolist() == [0.0, 0.0]

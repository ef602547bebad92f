"""What every method owes to the rest of the package, and how little a new method needs. Numbers: tests/oracles."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

import tacit
from tacit.algorithms.base import Algorithm, Done, stepped
from tacit.learning.solver import Solver
from tests.faults.scenes import SOLVER, clean, federation, weights

METHODS = [
    tacit.FedAvg(SOLVER),
    tacit.FedProx(SOLVER),
    tacit.FedNova(SOLVER),
    tacit.Scaffold(SOLVER, option=1),
    tacit.Scaffold(SOLVER, option=2),
    tacit.FedAvgM(SOLVER),
    tacit.FedAdam(SOLVER),
    tacit.FedYogi(SOLVER),
    tacit.FedAdagrad(SOLVER),
    tacit.FedAdam(SOLVER, bias_correction=True),
    tacit.FedDyn(SOLVER),
]
everyone = pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
D, K = 5, 3


@everyone
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_keeps_the_form_of_the_state_and_leaves_the_old_one_alone(method, dtype):
    x = torch.linspace(-1, 1, D, dtype=dtype)
    state = method.init(x)
    before = {n: t.clone() for n, t in state.items()}
    mean = {n: torch.full(s, 0.1, dtype=torch.float64) for n, s in zip(*form(method), strict=True)}
    renewed = method.apply(state, mean, K, 2 * K)
    assert {n: (t.shape, t.dtype) for n, t in renewed.items()} == {n: (t.shape, t.dtype) for n, t in state.items()}
    assert all(torch.equal(before[n], t) for n, t in state.items())
    assert not torch.equal(renewed["x"], state["x"])


def form(method):
    layout = method.parts(D)
    return layout.names, layout.shapes


@everyone
def test_a_message_has_the_declared_parts_and_does_not_change_the_memory(method):
    x = torch.zeros(D)
    memory = torch.ones(K, method.memory(D)) if method.memory(D) else None
    done = Done(torch.full((K,), 6.0), torch.full((K,), 2.0), torch.full((K,), 2.0), 0.1, torch.ones(K, D))
    down = method.broadcast(method.init(x))
    message, renewed = method.message(torch.ones(K, D), down, memory, done)
    assert {n: tuple(t.shape) for n, t in message.items()} == {n: (K, *s) for n, s in zip(*form(method), strict=True)}
    assert next(iter(form(method)[0])) == "update"
    if memory is not None:
        assert torch.equal(memory, torch.ones_like(memory))
        assert renewed.shape == memory.shape


@everyone
def test_clients_that_do_not_move_leave_the_model_where_it_is(method):
    state = method.init(torch.linspace(-1, 1, D))
    mean = {n: torch.zeros(s, dtype=torch.float64) for n, s in zip(*form(method), strict=True)}
    assert torch.equal(method.apply(state, mean, K, K)["x"], state["x"])


@everyone
def test_a_method_is_a_value_with_a_telling_name(method):
    assert hash(method) == hash(type(method)(**method.__dict__))
    assert repr(method).startswith(type(method).__name__) and "lr=0.05" in repr(method)
    assert method.problems() == []


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_decays_outside_their_range_are_problems(beta):
    for method in (tacit.FedAdam, tacit.FedYogi, tacit.FedAdagrad):
        assert f"beta1 is {beta}" in method(SOLVER, beta1=beta).problems()[0]


def test_a_step_is_computed_in_double_precision_and_kept_in_the_models():
    x = torch.tensor([1.0, 1e8], dtype=torch.float32)
    assert stepped(x, torch.tensor([1e-9, 0.5], dtype=torch.float64)).dtype == torch.float32


def test_a_new_method_is_a_class_with_one_function():
    @dataclass(frozen=True)
    class SignMean(Algorithm):
        solver: Solver
        step: float = 0.25

        def apply(self, state, mean, counted, clients):
            return {"x": stepped(state["x"], self.step * mean["update"].sign())}

    run = federation(clean(), SignMean(SOLVER)).run(1, progress=False)
    start = torch.cat([p.flatten() for p in federation(clean()).task.model.parameters()])
    torch.testing.assert_close((weights(run) - start.detach()).abs(), torch.full((4,), 0.25))


NAMED = [
    (tacit.FedAvg, "server_lr"),
    (tacit.FedProx, "mu"),
    (tacit.FedProx, "server_lr"),
    (tacit.FedNova, "mu"),
    (tacit.Scaffold, "server_lr"),
    (tacit.Scaffold, "option"),
    (tacit.FedAvgM, "server_lr"),
    (tacit.FedAvgM, "momentum"),
    (tacit.FedAdam, "server_lr"),
    (tacit.FedAdam, "beta2"),
    (tacit.FedYogi, "tau"),
    (tacit.FedAdagrad, "beta1"),
    (tacit.FedDyn, "alpha"),
]


@pytest.mark.parametrize("value", ["0.1", None, True, float("inf"), float("nan"), [0.1]], ids=repr)
@pytest.mark.parametrize(("kind", "name"), NAMED, ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_setting_that_is_no_finite_number_is_a_problem_by_name(kind, name, value):
    (problem,) = kind(SOLVER, **{name: value}).problems()
    assert problem.startswith(f"{name} is {value!r}: give ")


def test_a_bias_correction_that_is_no_truth_value_is_a_problem():
    assert tacit.FedAdam(SOLVER, bias_correction="no").problems() == ["bias_correction is 'no': give True or False"]


def test_settings_from_numpy_print_like_those_of_python():
    import numpy as np

    assert repr(tacit.FedProx(SOLVER, mu=np.float64(0.5))) == repr(tacit.FedProx(SOLVER, mu=0.5))

from __future__ import annotations

import numpy as np
import pytest
import torch

import tacit
from tacit.evaluation import BATCH, Evaluation

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(BATCH + 37, 3)), RNG.integers(0, 2, BATCH + 37)


def accuracy(output, target):
    return (output.argmax(1) == target).double().mean()


@pytest.fixture
def task():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Dropout(0.5)).double()
    return tacit.Task(model, torch.nn.functional.cross_entropy, metrics={"accuracy": accuracy})


def expected(task, x=X, y=Y):
    with torch.no_grad():
        output = task.model[0](torch.from_numpy(x))
    target = torch.from_numpy(y)
    return {
        "test_loss": float(torch.nn.functional.cross_entropy(output, target)),
        "test_accuracy": float(accuracy(output, target)),
    }


def test_arrays_are_measured_in_evaluation_mode_as_one_mean_over_all_examples(task):
    """More examples than a batch, the last batch short: still the plain mean."""
    assert Evaluation(task, (X, Y))(*task.initial()) == pytest.approx(expected(task), rel=1e-12)


def test_a_population_is_measured_pooled(task):
    parts = np.split(np.arange(len(Y)), [5, 100, 101])
    population = tacit.Population.from_arrays({k: (X[p], Y[p]) for k, p in enumerate(parts)})
    assert Evaluation(task, population)(*task.initial()) == pytest.approx(expected(task), rel=1e-12)


def test_a_function_sees_the_model_in_evaluation_mode(task):
    def look(model):
        assert not model.training and not torch.is_grad_enabled()
        return {"norm": model[0].weight.norm(), "half": 0.5}

    x, b = task.initial()
    measured = Evaluation(task, look)(x * 2, b)
    assert measured == {"test_norm": pytest.approx(2 * task.model[0].weight.norm().item()), "test_half": 0.5}


def test_arrays_of_another_float_type_are_taken(task):
    assert Evaluation(task, (X.astype("f4"), Y))(*task.initial()) == pytest.approx(expected(task), rel=1e-5)


def test_evaluating_changes_neither_model_nor_generator(task):
    before = {n: t.clone() for n, t in task.model.state_dict().items()}
    state = torch.get_rng_state()
    x, b = task.initial()
    Evaluation(task, (X, Y))(x + 1, b)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[n], t) for n, t in task.model.state_dict().items())

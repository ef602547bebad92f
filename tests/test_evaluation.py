from __future__ import annotations

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import DataError, TacitError, UsageError
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


@pytest.mark.parametrize("row", [0, 1, 5, BATCH + 3])
def test_a_label_outside_the_classes_anywhere_in_the_test_set_is_seen_before_the_run(task, row):
    strange = Y.copy()
    strange[row] = 7
    parts = {"all": (X, strange)}
    for test in ((X, strange), tacit.Population.from_arrays(parts)):
        with pytest.raises(
            UsageError, match=rf"labels \[7\] in its rows {row} are outside the model's 2 classes.*0 to 1"
        ):
            Evaluation(task, test)


def test_labels_to_be_ignored_are_no_problem(task):
    ignored = np.where(np.arange(len(Y)) == 5, -100, Y)
    assert Evaluation(task, (X, ignored))(*task.initial())["test_loss"] > 0


def test_what_fails_later_in_the_test_set_names_it_and_its_rows():
    torch.manual_seed(0)
    task = tacit.Task(torch.nn.Sequential(torch.nn.Embedding(4, 2), torch.nn.Flatten()), torch.nn.functional.mse_loss)
    x, y = np.zeros((BATCH + 9, 1), dtype=np.int64), np.zeros((BATCH + 9, 2), dtype=np.float32)
    x[BATCH + 2] = 9
    evaluation = Evaluation(task, (x, y))
    with pytest.raises(
        DataError, match=rf"test cannot be evaluated: .* IndexError on its rows {BATCH} to {BATCH + 8}: "
    ):
        evaluation(*task.initial())


def test_a_metric_that_fails_in_a_run_ends_it_with_the_rows(task):
    def picky(output, target):
        if bool((target[-1] == 1).all()) and len(target) > 2:
            raise KeyError("no ones at the end")
        return output.sum()

    picked = tacit.Task(task.model, task.loss, metrics={"picky": picky})
    with pytest.raises(DataError, match="KeyError on its rows 0 to 3: 'no ones at the end'"):
        Evaluation(picked, (X[:4], np.array([0, 0, 0, 1])))(*task.initial())


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (None, "returned None: give a mapping of names to numbers"),
        (0.5, "returned 0.5: give"),
        ([("a", 1.0)], r"returned \[\('a', 1.0\)\]: give"),
        ({"a": None, "b": 1.0}, "returned 'a': None: give"),
        ({"a": "0.5"}, "returned 'a': '0.5': give"),
        ({1: 0.5}, "returned 1: 0.5: give"),
        ({"a": torch.zeros(3)}, r"returned 'a': tensor\(\[0., 0., 0.\]\): give"),
    ],
)
def test_a_function_that_gives_no_numbers_is_refused_before_the_run(task, returned, words):
    with pytest.raises(UsageError, match=f"test, a function of the model, {words}"):
        Evaluation(task, lambda model: returned)


def test_a_function_that_fails_is_told_as_its_failure_before_the_run_and_in_it(task):
    calls = []

    def fails(model):
        calls.append(len(calls))
        if len(calls) in told:
            raise ZeroDivisionError("a line of the user's")
        return {"a": float("nan")}

    told = {1}
    with pytest.raises(TacitError, match="test, a function of the model, raised ZeroDivisionError: a line") as caught:
        Evaluation(task, fails)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    calls.clear()
    told = {3}
    evaluation = Evaluation(task, fails)
    assert np.isnan(evaluation(*task.initial())["test_a"])
    with pytest.raises(TacitError, match="a line of the user's"):
        evaluation(*task.initial())


def test_trying_a_function_before_the_run_leaves_torchs_generator_alone(task):
    state = torch.get_rng_state()
    Evaluation(task, lambda model: {"chance": torch.rand(()).item()})
    assert torch.equal(torch.get_rng_state(), state)

"""Metrics."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.learning.metrics import accuracy, binary_accuracy, mean_absolute_error, mean_squared_error, top_k

SEEDS = st.integers(0, 10_000)


def scores(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def labels(seed, classes, *shape):
    return torch.from_numpy(np.random.default_rng(seed + 1).integers(0, classes, shape))


def test_accuracy_is_the_share_of_right_answers():
    output = torch.tensor([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    assert accuracy(output, torch.tensor([1, 0, 0, 0])).item() == 0.75


@given(SEEDS)
def test_the_class_axis_may_come_second_or_last(seed):
    output, target = scores(seed, 3, 5, 7), labels(seed, 5, 3, 7)
    expected = (output.argmax(1) == target).double().mean()
    assert accuracy(output, target) == accuracy(output.movedim(1, -1), target) == expected
    assert top_k(2)(output, target) == top_k(2)(output.movedim(1, -1), target)


@given(SEEDS, st.integers(1, 6))
def test_top_k_agrees_with_sorting_the_scores(seed, k):
    output, target = scores(seed, 9, 6), labels(seed, 6, 9)
    order = output.numpy().argsort(axis=1)[:, ::-1]
    expected = np.mean([target[i].item() in order[i, :k] for i in range(9)])
    assert top_k(k)(output, target).item() == pytest.approx(expected)


@given(SEEDS)
def test_top_1_is_the_accuracy_and_more_places_never_hit_less(seed):
    output, target = scores(seed, 8, 5), labels(seed, 5, 8)
    rates = [top_k(k)(output, target).item() for k in range(1, 6)]
    assert rates[0] == accuracy(output, target).item()
    assert rates == sorted(rates)
    assert rates[-1] == 1.0


def test_a_model_that_scores_all_alike_or_gives_nan_hits_nothing():
    target = torch.tensor([0, 1])
    for output in (torch.zeros(2, 4), torch.full((2, 4), torch.nan)):
        assert top_k(3)(output, target) == 0.0


def test_binary_accuracy_reads_logits():
    output = torch.tensor([[-2.0], [0.5], [3.0], [-0.1]])
    assert binary_accuracy(output, torch.tensor([[0.0], [1.0], [0.0], [0.0]])).item() == 0.75


@given(SEEDS)
def test_errors_of_regression_are_means_over_all_numbers(seed):
    output, target = scores(seed, 4, 3), scores(seed + 1, 4, 3)
    difference = (output - target).numpy()
    assert mean_absolute_error(output, target).item() == pytest.approx(np.abs(difference).mean())
    assert mean_squared_error(output, target).item() == pytest.approx((difference**2).mean())


@given(SEEDS, st.integers(1, 9))
def test_means_of_parts_weighted_with_their_examples_make_the_mean_of_the_whole(seed, cut):
    output, target = scores(seed, 10, 4), labels(seed, 4, 10)
    for metric in (accuracy, top_k(2)):
        parts = cut * metric(output[:cut], target[:cut]) + (10 - cut) * metric(output[cut:], target[cut:])
        assert (parts / 10).item() == pytest.approx(metric(output, target).item())


def test_metrics_can_be_sent_to_other_processes_and_vectorised_over_clients():
    metric = pickle.loads(pickle.dumps(top_k(2)))
    output, target = scores(0, 3, 8, 5), labels(0, 5, 3, 8)
    for each in (metric, accuracy):
        expected = torch.stack([each(o, t) for o, t in zip(output, target, strict=True)])
        assert torch.equal(torch.vmap(each)(output, target), expected)


@pytest.mark.parametrize("metric", [binary_accuracy, mean_absolute_error, mean_squared_error])
def test_shapes_that_would_be_broadcast_are_refused(metric):
    with pytest.raises(UsageError, match=r"the output is \(3, 1\) and the target \(3,\)"):
        metric(torch.zeros(3, 1), torch.zeros(3))


@pytest.mark.parametrize("metric", [accuracy, top_k(1)])
def test_scores_and_targets_that_do_not_fit_are_refused(metric):
    with pytest.raises(UsageError, match=r"an output \(3, 5\) holds no scores for a target \(4,\)"):
        metric(torch.zeros(3, 5), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(UsageError, match="give class numbers"):
        metric(torch.zeros(3, 5), torch.zeros(3))


def test_a_k_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match="k is 0"):
        top_k(0)
    with pytest.raises(UsageError, match=r"top_k\(9\) of 5 classes"):
        top_k(9)(torch.zeros(2, 5), torch.zeros(2, dtype=torch.int64))

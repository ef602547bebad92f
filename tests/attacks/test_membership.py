"""Membership inference: it names those whom a model remembers, and nobody where privacy is strong."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tacit
from tacit.attacks.membership import attacked, confidence, lira
from tacit.attacks.roc import area, bound
from tacit.attacks.target import PLAIN, PRIVATE
from tests.attacks.small import perceptron, population, target


def test_a_model_that_learns_by_heart_gives_its_clients_away_and_strong_privacy_hides_them() -> None:
    memorising = target(rounds=5, clients=36, examples=2, width=64, lr=1.0, epochs=5, epsilon=0.2, clip=1.0)
    told: list[str] = []
    found = attacked(memorising, 8, 0, told.append)
    assert len(told) == 24
    assert found.rocs[PLAIN].auc > 0.95
    assert found.rocs[PLAIN].at[0.01] > 0.3
    # About 280 scores: chance has a standard deviation of 0.04, and 0.2 allows at most 0.55 more or less.
    private = found.rocs[PRIVATE]
    assert abs(private.auc - 0.5) < 0.2
    # Thresholds are chosen after the fact: three standard deviations of a rate out of n leave room for that.
    slack = 4 * np.sqrt(0.25 / min(private.members, private.others))
    assert (private.tpr <= bound(private.fpr, found.claim["epsilon"], found.claim["delta"]) + slack).all()


def test_the_attack_does_not_look_at_whom_it_judges() -> None:
    rng = np.random.default_rng(0)
    members = rng.random((10, 30)) < 0.5
    scores = rng.normal(size=members.shape)
    turned = members.copy()
    turned[4] = ~turned[4]
    np.testing.assert_allclose(lira(scores, members)[4], lira(scores, turned)[4])


def test_a_score_is_standard_normal_for_those_that_were_absent_and_moved_for_members() -> None:
    rng = np.random.default_rng(1)
    members = rng.random((64, 300)) < 0.5
    hardness = 5 * rng.normal(size=300)
    scores = hardness + 0.5 * rng.normal(size=members.shape) + 1.0 * members
    z = lira(scores, members)
    assert z[~members].std() == pytest.approx(1.0, abs=0.05)
    assert z[~members].mean() == pytest.approx(0.0, abs=0.05)
    assert z[members].mean() == pytest.approx(2.0, abs=0.05)
    # Without the shadows a client's own difficulty would drown it.
    assert area(z.ravel(), members.ravel()) > 0.9 > area(scores.ravel(), members.ravel())


def test_who_is_absent_from_too_few_shadows_is_not_judged() -> None:
    members = np.array([[True, False], [True, False], [False, True], [True, False]])
    z = lira(np.random.default_rng(2).normal(size=(4, 2)), members)
    assert np.isnan(z[:, 0]).all()
    assert np.isfinite(z[:, 1]).all()


def test_confidence_is_the_mean_log_odds_of_the_right_class() -> None:
    task, clients = perceptron(), population(5, examples=3)
    model = dict(task.model.state_dict())
    found = confidence(task, model, clients)
    for k in range(5):
        x, y = clients.examples(np.array([k])).of(0)
        p = torch.softmax(task.model(x).double(), 1).gather(1, y[:, None])[:, 0]
        assert found[k] == pytest.approx(torch.log(p / (1 - p)).mean().item(), abs=1e-5)


def test_where_there_are_no_classes_confidence_is_minus_the_loss() -> None:
    model = torch.nn.Linear(2, 1)
    task = tacit.Task(model, torch.nn.functional.mse_loss)
    x = np.ones((2, 2), np.float32)
    clients = tacit.Population.from_arrays({"a": (x, np.zeros((2, 1), np.float32)), "b": (x, np.ones((2, 1), "f4"))})
    found = confidence(task, dict(model.state_dict()), clients)
    output = model(torch.ones(1, 2)).item()
    np.testing.assert_allclose(found, [-(output**2), -((output - 1) ** 2)], atol=1e-6)

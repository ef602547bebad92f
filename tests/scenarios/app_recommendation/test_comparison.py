from __future__ import annotations

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import UsageError
from tacit.scenarios.app_recommendation.comparison import METHODS, compare
from tacit.scenarios.app_recommendation.evaluation import evaluate, validation_metrics
from tacit.scenarios.app_recommendation.local import LocalRule, train_local
from tacit.scenarios.app_recommendation.logs import InteractionLog
from tacit.scenarios.app_recommendation.model import RecommendationModel, loss_named
from tacit.scenarios.app_recommendation.phones import Phones, PhonesRule, phones
from tacit.scenarios.app_recommendation.pooled import RULES, PooledRule, train_pooled
from tacit.scenarios.app_recommendation.ranking import METRICS

ALONE = LocalRule(epochs=(1, 3))


@pytest.fixture(scope="module")
def initial(small_phones: Phones) -> RecommendationModel:
    return RecommendationModel(small_phones.features, small_phones.apps, (16, 8))


def test_every_method_is_held_against_the_same_moments(small_phones: Phones, initial: RecommendationModel):
    found = compare(
        small_phones,
        initial,
        initial,
        pooled=lambda p, m: train_pooled(p, m, PooledRule(epochs=2)),
        local=lambda p, m: train_local(p, m, ALONE),
    )
    for part in (found.test, found.unseen):
        assert set(part) == set(METHODS)
        for summary in part.values():
            assert set(summary) == {*METRICS, "ci"}
            low, high = summary["ci"]
            assert 0 <= low <= summary["HR@10"] <= high <= 1
    assert set(found.chosen) == {"pooled_epochs", "local_epochs"}
    assert found.winner() in METHODS


def test_what_was_not_asked_for_is_null(small_phones: Phones, initial: RecommendationModel):
    found = compare(small_phones, initial, initial, pooled=None, local=None)
    assert found.test["pooled"] is None
    assert found.unseen["local"] is None
    assert found.chosen == {}


def test_pooled_training_learns_keeps_its_best_epoch_and_is_reproduced_by_the_seed(
    small_phones: Phones, initial: RecommendationModel
):
    one, same = (train_pooled(small_phones, initial, PooledRule(epochs=6), seed=5) for _ in range(2))
    untrained = evaluate(small_phones, initial, small_phones.validation).metrics()["NDCG@10"]
    best = evaluate(small_phones, one.model, small_phones.validation).metrics()["NDCG@10"]
    assert best == max(one.validation) == one.validation[one.epochs - 1] > untrained
    assert one.validation == same.validation
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), same.model.parameters(), strict=True))


def test_each_loss_has_a_pooled_rule_that_is_taken_where_none_is_given(
    small_log: InteractionLog, small_phones: Phones, initial: RecommendationModel
):
    interest = phones(small_log, rule=PhonesRule(loss="mse"), seed=3)
    for made, loss, other in ((small_phones, "cross_entropy", "mse"), (interest, "mse", "cross_entropy")):
        rules = (None, RULES[loss], RULES[other])
        taken, given, else_ = (train_pooled(made, initial, rule).validation for rule in rules)
        assert taken == given != else_


def test_local_training_does_not_depend_on_the_number_of_workers(small_phones: Phones, initial: RecommendationModel):
    one, two = (train_local(small_phones, initial, ALONE, seed=2, workers=w) for w in (1, 2))
    assert np.array_equal(one.test.ranks, two.test.ranks)
    assert np.array_equal(one.unseen.ranks, two.unseen.ranks)
    assert one.epochs == two.epochs == max(one.validation, key=lambda e: one.validation[e])


def test_a_local_model_learns_its_own_phone(small_phones: Phones, initial: RecommendationModel):
    trained = train_local(small_phones, initial, LocalRule(lr=0.05, epochs=(10,)))
    untrained = evaluate(small_phones, initial, small_phones.test)
    assert trained.test.metrics()["NDCG@10"] > untrained.metrics()["NDCG@10"]
    assert len(trained.test.ranks) == len(small_phones.test)


def test_what_is_measured_after_a_round_is_the_validation_part(small_phones: Phones, initial: RecommendationModel):
    measured = validation_metrics(small_phones)(initial)
    assert measured == evaluate(small_phones, initial, small_phones.validation).metrics()


def test_rules_that_cannot_be_followed_are_refused():
    with pytest.raises(UsageError, match="epochs"):
        LocalRule(epochs=(5, 2))
    with pytest.raises(UsageError, match="patience"):
        PooledRule(patience=0)


def test_a_federated_model_beats_the_popular_on_phones_it_never_saw(small_phones: Phones, initial: RecommendationModel):
    task = tacit.Task(initial, loss_named("cross_entropy"))
    method = tacit.FedAdam(tacit.SGD(0.05, 20, epochs=1), server_lr=0.005, beta2=0.99, tau=1e-5)
    run = tacit.Federation(task, small_phones.population, method, seed=1).run(25, progress=False)
    popular = compare(small_phones, run.model, initial, pooled=None, local=None).unseen
    assert popular["federated"]["NDCG@10"] > popular["most_popular"]["NDCG@10"] + 0.05

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacit.errors import UsageError
from tacit.scenarios.app_recommendation.model import RecommendationModel, interest, loss_named, scores_of


def test_the_model_is_a_perceptron_with_layers_of_256_and_128():
    model = RecommendationModel(30, 7)
    assert [tuple(p.shape) for p in model.parameters() if p.dim() == 2] == [(256, 30), (128, 256), (7, 128)]
    assert model(torch.zeros(5, 30)).shape == (5, 7)


def test_initial_weights_follow_the_seed_and_leave_torchs_generator_alone():
    torch.manual_seed(11)
    before = torch.get_rng_state()
    one, same, other = (
        RecommendationModel(4, 3, seed=1),
        RecommendationModel(4, 3, seed=1),
        RecommendationModel(4, 3, seed=2),
    )
    assert torch.equal(before, torch.get_rng_state())
    first = [next(m.parameters()) for m in (one, same, other)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_interest_fades_with_every_step_and_the_next_item_counts_most():
    target = interest(np.array([2, 0, 2, -1]), 3, horizon=3, fade=0.5)
    assert target.tolist() == [[0.5, 0.0, 1.0], [1.0, 0.0, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert interest(np.array([1]), 2).tolist() == [[0.0, 1.0]]


def test_scores_are_taken_in_evaluation_mode_and_the_mode_is_put_back():
    model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(3, 2)).train()
    x = np.ones((4, 3), dtype=np.float32)
    assert np.array_equal(scores_of(model, x), scores_of(model, x))
    assert model.training


def test_an_unknown_loss_names_the_known_ones():
    with pytest.raises(UsageError, match="'cross_entropy' or 'mse'"):
        loss_named("hinge")

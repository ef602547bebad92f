"""Inversion against messages of which it is known what is in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit
from tacit.attacks import inversion
from tacit.attacks.pictures import convolutional, drawn, perceptron
from tacit.attacks.similarity import cosine, overlap, psnr
from tacit.attacks.target import CLIPPED, PLAIN, PRIVATE
from tests.attacks.small import CLASSES, target

ONE = tacit.SGD(lr=0.1, steps=1)


@pytest.mark.parametrize("setting", [PLAIN, CLIPPED])
def test_one_example_behind_a_linear_layer_is_read_off_exactly(setting: str) -> None:
    attacked = target()
    for client in range(3):
        x, y = attacked.federation.population.examples(np.array([client])).of(0)
        update = attacked.message(setting, client, solver=ONE, most=1)
        found = inversion.analytic(attacked.federation.task, update)
        np.testing.assert_allclose(found, x[-1].numpy(), atol=1e-4)
        assert inversion.labels(attacked.federation.task, -update / 0.1, 1) == [int(y[-1])]


def test_with_privacy_no_more_comes_back_than_another_client_would_give() -> None:
    attacked = target(clients=40, width=64)
    found, chance = [], []
    for client in range(20):
        x = attacked.federation.population.examples(np.array([client])).of(0)[0][-1:].double().numpy()
        other = attacked.federation.population.examples(np.array([39 - client])).of(0)[0][-1:].double().numpy()
        update = attacked.message(PRIVATE, client, solver=ONE, most=1)
        recovered = inversion.analytic(attacked.federation.task, update)
        assert recovered is not None
        found.append(cosine(recovered[None], x)[0, 0])
        chance.append(cosine(other, x)[0, 0])
    # Both are means of 20 cosines of 12 numbers, of standard deviation 0.3 / sqrt(20); 0.3 is 4.5 of the mean's.
    assert abs(np.mean(found)) < 0.3
    assert np.mean(found) - np.mean(chance) < 0.45


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_the_scale_of_the_update_does_not_matter(seed: int, scale: float) -> None:
    task = perceptron(0)
    update = torch.from_numpy(np.random.default_rng(seed).normal(size=task.d))
    one, other = inversion.analytic(task, update), inversion.analytic(task, scale * update)
    assert one is not None
    assert other is not None
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-9)


def test_the_labels_of_a_batch_come_back_whatever_they_are() -> None:
    task = perceptron(1)
    x, x0, b0 = torch.rand(8, 1, 28, 28), *task.initial()
    for labels in ([0, 1, 2, 3, 4, 5, 6, 7], [3, 3, 3, 3, 8, 8, 1, 1], [9] * 8):
        _, g = task.gradient(x0, b0, x, torch.tensor(labels))
        found = inversion.labels(task, g, 8)
        assert found is not None
        assert overlap(found, np.array(labels)) >= 7 / 8
        shrunk = inversion.labels(task, 0.01 * g, 8, shrunk=True)
        assert shrunk is not None
        assert overlap(shrunk, np.array(labels)) >= 6 / 8


def test_an_image_behind_convolutions_comes_back_by_optimisation_and_only_from_its_own_update() -> None:
    task, images = convolutional(0), drawn(2)
    x, y = torch.from_numpy(images.x[:1]), torch.from_numpy(images.y[:1])
    _, g = task.gradient(*task.initial(), x, y)
    found = inversion.optimised(task, -g, y, (1, 28, 28), span=(0.0, 1.0), steps=60, tv=0.01)
    assert found.shape == (1, 1, 28, 28)
    assert found.min() >= 0
    assert found.max() <= 1
    assert psnr(found[0], images.x[0]) > psnr(images.x[1], images.x[0]) + 6
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=task.d)).float()
    nothing = inversion.optimised(task, noise, y, (1, 28, 28), span=(0.0, 1.0), steps=60, tv=0.01)
    assert psnr(nothing[0], images.x[0]) < psnr(images.x[1], images.x[0]) + 1


def test_models_without_such_layers_give_nothing_away_so_simply() -> None:
    task = convolutional(0)
    assert inversion.analytic(task, torch.zeros(task.d)) is None
    flat = tacit.Task(torch.nn.Linear(4, CLASSES, bias=False), torch.nn.functional.cross_entropy)
    assert inversion.labels(flat, torch.zeros(flat.d), 1) is None


def test_total_variation_is_that_of_pencil_and_paper() -> None:
    image = torch.tensor([[[[0.0, 1.0], [0.0, 1.0]]]])
    assert float(inversion.total_variation(image)) == 1.0
    assert float(inversion.total_variation(torch.full((2, 1, 5, 5), 0.3))) == 0.0

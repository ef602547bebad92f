"""What is attacked is what a run sends and releases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import tacit
from tacit.attacks.rules import Held
from tacit.attacks.target import CLIPPED, PLAIN, PRIVATE, SETTINGS, Target
from tests.attacks.small import federation, perceptron, population, target


def test_without_privacy_the_message_is_how_far_a_run_with_this_client_alone_moves() -> None:
    attacked, task, everybody = target(), perceptron(), population(20)
    alone = tacit.Population.from_arrays({"client-3": everybody["client-3"]})
    run = tacit.Federation(task, alone, attacked.federation.algorithm, engine="eager").run(1, progress=False)
    moved = task.layout.pack({n: run.tensors[n] for n in task.layout.names}) - task.initial()[0]
    torch.testing.assert_close(attacked.message(PLAIN, 3), moved, atol=1e-7, rtol=1e-4)


def test_clipping_only_shortens_the_message() -> None:
    attacked = target()
    plain, clipped = attacked.message(PLAIN, 3), attacked.message(CLIPPED, 3)
    assert float(plain.norm()) > 0.05
    assert float(clipped.norm()) == pytest.approx(0.05, rel=1e-4)
    torch.testing.assert_close(clipped / clipped.norm(), plain / plain.norm(), atol=1e-5, rtol=1e-4)


def test_with_privacy_the_message_is_the_clipped_one_and_noise_of_the_size_that_is_claimed() -> None:
    attacked = target(width=400)
    noise = (attacked.message(PRIVATE, 3) - attacked.message(CLIPPED, 3)).double()
    expected = attacked.claim["noise_multiplier"] * 0.05
    # Of d = 7205 normal draws the standard deviation is off by more than 5 % with probability 2e-9.
    assert float(noise.std()) == pytest.approx(expected, rel=0.05)
    assert abs(float(noise.mean())) < 6 * expected / len(noise) ** 0.5
    assert not torch.equal(attacked.message(PRIVATE, 3), attacked.message(PRIVATE, 3))


def test_a_client_with_fewer_examples_holds_its_latest_ones() -> None:
    held = Held(population(3), 1)
    x, y = held["client-1"]
    whole, labels = population(3)["client-1"]
    assert torch.equal(x, whole[-1:])
    assert torch.equal(y, labels[-1:])
    assert held.synthetic


def test_one_that_is_no_member_changes_nothing_in_a_run() -> None:
    attacked, members = target(clients=6, rounds=2), np.array([True, True, False, True, False, True])
    federation_of_members = tacit.Federation(
        perceptron(),
        tacit.Population.from_arrays({c: population(6)[c] for c in np.array(population(6).ids)[members]}),
        attacked.federation.algorithm,
        engine="eager",
        workers=1,
    )
    expected, found = federation_of_members.run(2, progress=False).tensors, attacked.trained(PLAIN, members, 0)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name])


def test_drawing_more_keeps_the_epsilon() -> None:
    base = federation(clients=200)
    base.selection = tacit.Uniform(30)
    attacked = Target.of(base, 5)
    more = attacked.drawing_more(0.5)
    assert more.federation.selection == tacit.Uniform(60)
    assert more.claim["epsilon"] == pytest.approx(attacked.claim["epsilon"], rel=0.02)
    assert more.plan.noise > attacked.plan.noise
    assert attacked.federation.selection == tacit.Uniform(30)


@pytest.mark.parametrize("setting", SETTINGS)
def test_an_attack_leaves_the_federation_as_it_was(setting: str) -> None:
    attacked = target()
    before = attacked.federation.task.initial()[0]
    attacked.message(setting, 0)
    assert torch.equal(before, attacked.federation.task.initial()[0])
    assert attacked.federation.audit is None


def test_what_cannot_be_switched_off_is_refused() -> None:
    plain = tacit.Federation(perceptron(), population(20), tacit.FedAvg(tacit.SGD(lr=0.1)))
    with pytest.raises(tacit.UsageError, match="UserLevel"):
        Target.of(plain, 5)
    adaptive = federation(clients=1000)
    adaptive.privacy = replace(adaptive.privacy, clip_quantile=0.5)  # type: ignore[type-var]
    with pytest.raises(tacit.UsageError, match="clip_quantile"):
        Target.of(adaptive, 5)

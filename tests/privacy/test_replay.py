"""The replay of private rounds on neighbouring populations: what it finds, and what it is not fooled by."""

from __future__ import annotations

import numpy as np
import pytest

import tacit
from tacit import errors
from tacit.privacy.clip import Clip
from tacit.privacy.noise import NoiseSource
from tacit.privacy.replay import ROUNDING, Leaving, differences, released, replay
from tests.privacy.test_private_runs import METHODS, arrays, federation, level


@pytest.mark.parametrize("name", ["FedAvg", "Scaffold"])
def test_one_client_changes_no_sum_by_more_than_the_clip_norm_in_any_round(name):
    made = federation(algorithm=METHODS[name], privacy=level(clip=0.05, loss_bound=2.0))
    assert 0.9 < replay(made, client=3, rounds=3) <= 1 + ROUNDING


def test_of_two_rounds_before_the_client_leaves_nothing_differs():
    made = federation(privacy=level(clip=0.05))
    there, gone = (released(made, p, 3) for p in (made.population, Leaving(made.population, 3, since=1)))
    first, second, _ = differences(made, there, gone)
    assert first == 0
    assert 0.9 < second <= 1 + ROUNDING


def test_the_federation_is_left_as_it_was():
    data = arrays()
    made, alike = federation(data), federation(data)
    replay(made, rounds=1)
    assert not made.population.synthetic
    assert made.audit is None
    expected = alike.run(1).tensors
    assert all((made.run(1).tensors[name] == tensor).all() for name, tensor in expected.items())


def test_it_needs_noise_that_can_be_repeated():
    with pytest.raises(errors.UsageError, match="insecure_seed"):
        replay(federation(privacy=level(insecure_seed=None)))
    plain = tacit.Federation(federation().task, tacit.Population.from_arrays(arrays()), METHODS["FedAvg"])
    with pytest.raises(errors.UsageError, match="insecure_seed"):
        replay(plain)


def test_reports_that_are_longer_than_the_clip_norm_are_found(monkeypatch):
    encode = Clip.encode
    monkeypatch.setattr(Clip, "encode", lambda *given: encode(*given) * 2)
    assert replay(federation(privacy=level(clip=0.05)), rounds=1) > 1.5


def test_noise_that_is_not_what_the_seed_says_is_found(monkeypatch):
    normal = NoiseSource.normal
    fresh = np.random.default_rng(0)
    monkeypatch.setattr(NoiseSource, "normal", lambda *given: normal(*given) + fresh.normal())
    assert replay(federation(privacy=level(clip=0.05)), rounds=1) > 1 + ROUNDING


def test_what_one_client_leaves_for_the_next_is_found(monkeypatch):
    """The report of every client holds that of the one before."""
    encode, before = Clip.encode, {}

    def leaking(clip, report, layout, down):
        integers = encode(clip, report, layout, down)
        if len(integers):
            mine = integers[-1].clone()
            integers += before.get("report", 0)
            before["report"] = mine
        return integers

    monkeypatch.setattr(Clip, "encode", leaking)
    assert replay(federation(privacy=level(clip=0.05)), client=3, rounds=1) > 1.5

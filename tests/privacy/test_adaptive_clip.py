"""The adaptive clip norm: it goes the right way, settles at its quantile, and costs what is said."""

from __future__ import annotations

import math

import pytest
import torch

import tacit
from tacit import errors
from tacit.learning.layout import Layout
from tacit.privacy.bound import WITHIN
from tacit.privacy.guard import Guard
from tacit.privacy.plan import PrivacyPlan
from tests.privacy.test_private_runs import arrays, federation, level


@pytest.mark.parametrize("start", [0.003, 30.0])
def test_it_settles_at_the_quantile_from_far_below_and_from_far_above(start):
    """Norms of local updates at a fixed model (a server that never moves) are what it is to find the median of."""
    data = arrays(clients=200)
    still = tacit.FedAvg(tacit.SGD(lr=0.3, batch_size=4, steps=4), server_lr=1e-12)
    settings = tacit.UserLevel(noise_multiplier=0.01, clip=start, clip_quantile=0.5, insecure_seed=1)
    run = federation(data, still, settings).run(150)
    norms = []

    class Watching:
        def plant(self, clients, update):
            norms.extend(torch.linalg.vector_norm(update, dim=1).tolist())

        def see(self, round, mean):
            pass

    watched = federation(data, still, settings)
    watched.audit = Watching()
    watched.run(1)
    assert run.history["clip"].iloc[-1] == pytest.approx(float(torch.tensor(norms).median()), rel=0.15)
    way = run.history["clip"].diff().dropna()[:20]
    assert (way > 0).all() if start < 1 else (way < 0).all()


def test_the_noise_of_a_round_is_that_of_the_norm_with_which_it_was_clipped(monkeypatch):
    seen, release = [], Guard.release

    def spying(guard, round, total, *others):
        bound, before = guard.bounds()[0], total.clone()
        noised = release(guard, round, total, *others)
        place = guard._clip.places[bound.name]
        seen.append(((noised - before)[place].double().std() * bound.grid, bound.norm))
        return noised

    monkeypatch.setattr(Guard, "release", spying)
    settings = tacit.UserLevel(noise_multiplier=0.5, clip=5.0, clip_quantile=0.5)
    run = federation(arrays(clients=40), privacy=settings, task=wide()).run(6)
    z = {r["name"]: r["noise_multiplier"] for r in run.facts["privacy"]["releases"]}["update"]
    assert seen[0][1] > seen[-1][1], "the norm fell"
    for scatter, norm in seen:
        assert float(scatter) == pytest.approx(z * norm, rel=0.06), "within five standard errors"


def wide():
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(5, 400), torch.nn.ReLU(), torch.nn.Linear(400, 3))
    return tacit.Task(model, torch.nn.functional.cross_entropy)


def test_its_cost_is_taken_from_the_update_s_share():
    sampling = tacit.Poisson(100).sampling(4000)
    plan = PrivacyPlan.of(tacit.UserLevel(noise_multiplier=1.0, clip=1.0, clip_quantile=0.5), sampling, 10)
    shares = plan.noises()
    assert shares[WITHIN] == 10.0
    assert shares["update"] == pytest.approx(1 / math.sqrt(1 - 0.01)), "1.005, as in [Andrew21], table 1's setting"
    assert sum(z**-2 for z in shares.values()) ** -0.5 == pytest.approx(1.0)


def test_a_share_that_would_take_the_whole_budget_is_refused():
    settings = level(epsilon=None, noise_multiplier=2.0, clip_quantile=0.5)
    with pytest.raises(errors.AdaptiveClipTooNoisy, match="more than 20 clients"):
        federation(arrays(clients=15), privacy=settings).run(1)


def test_a_quantile_outside_zero_and_one_is_refused():
    with pytest.raises(errors.PrivacyError, match=r"clip_quantile is 1\.5"):
        federation(privacy=level(clip_quantile=1.5))


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_and_a_resumed_run_clip_alike(workers, tmp_path):
    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == 2

    settings = level(epsilon=None, noise_multiplier=0.2, clip_quantile=0.5)
    data = arrays(clients=20)
    whole = federation(data, privacy=settings).run(5)
    federation(data, privacy=settings, workers=workers).run(5, checkpoint=tmp_path, callbacks=[Stop()])
    resumed = federation(data, privacy=settings, workers=workers).run(5, checkpoint=tmp_path, resume=True)
    assert resumed.history["clip"].tolist() == whole.history["clip"].tolist()
    assert all(torch.equal(whole.tensors[name], tensor) for name, tensor in resumed.tensors.items())


def test_the_bit_of_an_absent_client_is_neither_in_nor_out():
    stage = federation(privacy=level(epsilon=None, noise_multiplier=0.2, clip_quantile=0.5)).chain.stages[-1]
    layout = Layout.of(update=(57,), within=())
    rows = torch.zeros(4, 58)
    rows[0, 0], rows[1, 0], rows[2, 0] = 0.1, 9.0, torch.nan
    integers = stage.encode(rows, layout, {"norm": torch.tensor(0.5)}).long()
    bits = integers[:, 57] * stage.bounds[-1].grid
    assert bits.tolist() == [0.5, -0.5, 0.0, 0.5]

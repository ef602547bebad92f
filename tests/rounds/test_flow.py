"""Asynchronous runs: buffers of reports from several versions of the model, against the same by hand."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import tacit
from tacit.errors import IncompatibleOptions, RoundFailed, UsageError
from tacit.fleet import Arrivals, FedAsync, FedBuff, Fleet, Load, lognormal
from tacit.rounds.flow import Flow
from tests.rounds.test_schedule import N, federation, people, same, weights

FLEET = lognormal(N, 2, dropout=0.1)


def full_batches(**options) -> tacit.Federation:
    """One step of gradient descent on all examples: what a client does can be written down."""
    return federation(algorithm=tacit.FedAvg(tacit.SGD(lr=0.5)), **options)


def watched(how, rounds: int, **options):
    """A run, with (clients, versions) of each of its buffers."""
    buffers = []
    done = Flow.done

    def noting(self, call, round, *more):
        buffers.append((call.cohort.clients, call.versions))
        return done(self, call, round, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Flow, "done", noting)
        run = full_batches(**{"fleet": FLEET, "closing": how, **options}).run(rounds)
    return run, buffers


def gradient(x: torch.Tensor, client: int) -> torch.Tensor:
    """Of the mean cross-entropy of one client at the flat parameters x."""
    inputs, labels = people().examples(np.array([client])).of(0)
    flat = x.clone().requires_grad_()
    output = inputs.float() @ flat[:12].reshape(2, 6).T + flat[12:]
    (found,) = torch.autograd.grad(torch.nn.functional.cross_entropy(output, labels), flat)
    return found


def model_of(run: tacit.Run) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in run.tensors.values()])


def start() -> torch.Tensor:
    return full_batches().task.initial()[0].clone()


def test_a_step_is_the_mean_of_what_clients_did_from_the_versions_that_they_had():
    how = FedBuff(concurrency=12, buffer=4, exponent=0.5)
    run, buffers = watched(how, 12)
    models = [start()]
    for round, (clients, versions) in enumerate(buffers):
        steps = [
            (1.0 + round - version) ** -0.5 * -0.5 * gradient(models[version], client)
            for client, version in zip(clients.tolist(), versions.tolist(), strict=True)
        ]
        models.append(models[-1] + torch.stack(steps).mean(0))
    assert any((round - versions > 0).any() for round, (_, versions) in enumerate(buffers)), "nobody was stale"
    torch.testing.assert_close(model_of(run), models[-1], atol=1e-5, rtol=1e-4)


def test_fedasync_mixes_models():
    run, buffers = watched(FedAsync(concurrency=6, mixing=0.6, exponent=0.5), 25)
    models = [start()]
    for round, (clients, versions) in enumerate(buffers):
        (client,), (version,) = clients.tolist(), versions.tolist()
        trained = models[version] - 0.5 * gradient(models[version], client)
        mixing = 0.6 * (1.0 + round - version) ** -0.5
        models.append((1 - mixing) * models[-1] + mixing * trained)
    assert max(round - versions[0] for round, (_, versions) in enumerate(buffers)) >= 3
    torch.testing.assert_close(model_of(run), models[-1], atol=1e-5, rtol=1e-4)


def test_with_all_of_equal_speed_and_one_buffer_for_all_it_is_federated_averaging():
    alike = Fleet.of(np.ones(N))
    flow = full_batches(fleet=alike, closing=FedBuff(concurrency=N, buffer=N)).run(4)
    torch.testing.assert_close(model_of(flow), model_of(full_batches().run(4)), atol=1e-6, rtol=1e-5)
    assert all(row["staleness"] == 0 for row in flow.rows)


def test_no_client_is_in_a_buffer_twice_and_none_is_on_its_way_twice():
    seen = []
    original = Arrivals.start

    def noting(self, load: Load, version: int, **more):
        assert not np.isin(load.clients, self.running).any()
        seen.append(len(load))
        return original(self, load, version, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Arrivals, "start", noting)
        _, buffers = watched(FedBuff(concurrency=30, buffer=20), 15)
    assert seen and all(len(np.unique(clients)) == len(clients) == 20 for clients, _ in buffers)


def test_what_is_too_old_is_thrown_away():
    slow = Fleet.of([1.0] * (N - 1) + [200.0])
    run, buffers = watched(FedBuff(concurrency=N, buffer=8, most_stale=3), 60, fleet=slow)
    assert all((round - versions <= 3).all() for round, (_, versions) in enumerate(buffers))
    assert not any(N - 1 in clients for clients, _ in buffers)
    assert run.facts["fleet"]["failures"]["late"] >= 1 and run.facts["fleet"]["wasted_fraction"] > 0


def test_it_takes_less_time_than_waiting_for_all():
    """The same number of reports, on devices whose slowest is some ten times slower than the median."""
    waiting = full_batches(fleet=FLEET, closing=tacit.fleet.WaitForAll(), selection=tacit.Uniform(20)).run(5)
    flowing = full_batches(fleet=FLEET, closing=FedBuff(concurrency=20, buffer=20)).run(5)
    assert flowing.rows[-1]["virtual_hours"] < waiting.rows[-1]["virtual_hours"] / 2


@pytest.mark.parametrize("protocol", ["ideal", "full"])
def test_a_buffer_is_the_group_of_a_secure_sum(protocol):
    how = FedBuff(concurrency=20, buffer=8)
    plain = full_batches(fleet=FLEET, closing=how).run(5)
    secure = full_batches(fleet=FLEET, closing=how, aggregation=tacit.SecureSum(protocol=protocol)).run(5)
    for one, other in zip(weights(plain), weights(secure), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    assert secure.facts["aggregation"]["minimum"] == 5


def test_noise_is_put_on_every_buffer_and_chance_is_not_claimed():
    level = tacit.UserLevel(noise_multiplier=1.0, clip=1.0, delta=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flowing = full_batches(fleet=FLEET, closing=FedBuff(20, 8), privacy=level).run(3)
        everyone = full_batches(privacy=level, selection=tacit.Everyone()).run(3)
    assert flowing.facts["privacy"]["epsilon"] == pytest.approx(everyone.facts["privacy"]["epsilon"])
    assert all(row["virtual_hours"] is None and row["staleness"] is None for row in flowing.rows)


def test_a_run_that_was_cut_off_goes_on_to_the_same_end(tmp_path):
    options = {"fleet": FLEET, "closing": FedBuff(concurrency=15, buffer=5)}
    whole = federation(**options).run(14)
    federation(**options).run(9, checkpoint=tmp_path, checkpoint_every=4)
    resumed = federation(**options).run(14, checkpoint=tmp_path, resume=True)
    assert same(whole, resumed) and whole.facts["fleet"] == resumed.facts["fleet"]
    assert [row["staleness"] for row in whole.rows] == [row["staleness"] for row in resumed.rows]


def test_workers_change_no_bit():
    options = {"fleet": FLEET, "closing": FedBuff(concurrency=15, buffer=6)}
    assert same(federation(**options).run(6), federation(**options, workers=3).run(6))


def test_a_fleet_that_always_fails_ends_with_its_reason():
    with pytest.raises(RoundFailed, match=r"of 4 reports came: nearly all fail"):
        federation(fleet=Fleet.of(np.ones(N), hazard=1e6), closing=FedBuff(concurrency=5, buffer=4)).run(1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"algorithm": tacit.Scaffold(tacit.SGD(lr=0.1))}, "what its clients remember"),
        ({"closing": FedBuff(buffer=N + 1)}, "41 different clients"),
        ({"closing": FedAsync(), "aggregation": tacit.SecureSum()}, "takes every report by itself"),
        ({"closing": FedAsync(), "privacy": tacit.UserLevel(4.0, clip=1.0)}, "takes every report by itself"),
        ({"closing": FedAsync(), "algorithm": tacit.FedNova(tacit.SGD(lr=0.1))}, "sends more than one"),
        ({"robust": tacit.Median()}, "compares reports of one model"),
        ({"closing": FedBuff(10, 4), "aggregation": tacit.SecureSum()}, "sums are of 5 clients or more"),
        (
            {"aggregation": tacit.SecureSum(), "privacy": tacit.UserLevel(4.0, clip=1.0, mechanism="skellam")},
            "sends a key or a bound down",
        ),
    ],
)
def test_what_does_not_go_with_overlapping_rounds_is_refused(options, match):
    with pytest.raises((IncompatibleOptions, UsageError), match=match):
        federation(**{"fleet": FLEET, "closing": FedBuff(20, 8), **options})


@pytest.mark.parametrize("wrong", [{"buffer": 0}, {"concurrency": 2.5}, {"exponent": -1}, {"most_stale": -1}])
def test_settings_that_are_none_are_refused(wrong):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        FedBuff(**wrong)
    if "buffer" not in wrong:
        with pytest.raises(UsageError):
            FedAsync(**wrong)

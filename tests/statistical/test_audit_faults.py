"""Faults planted in the code that keeps the promise: an audit finds each of them, and nothing where there is none.

An audit of a sound run alarms with a probability of at most 5 % in one twin and of 1 in 400 in two. The noise here
comes from a seed, so that what passes once passes always; the slow tests draw it fresh and say how often they may fail.
"""

from __future__ import annotations

import pytest
import torch
from scipy import stats

import tacit
from tacit.aggregation.total import integer_sum
from tacit.errors import AuditContradiction
from tacit.privacy.audit import audit
from tacit.privacy.clip import Clip
from tacit.privacy.noise import NoiseSource
from tacit.venue.adding import Adding
from tacit.venue.block_sum import BlockSum
from tacit.venue.local_training import LocalTraining

ROUNDS, CANARIES, CLIP = 8, 320, 0.5


def federation(seed=3, noise=2.0, clients=40, selection=None, algorithm=None, **settings):
    draws = torch.Generator().manual_seed(0)
    data = {
        f"c{k}": (torch.randn(6, 40, generator=draws), torch.randint(5, (6,), generator=draws)) for k in range(clients)
    }
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(40, 48), torch.nn.ReLU(), torch.nn.Linear(48, 5))
    return tacit.Federation(
        tacit.Task(model, torch.nn.functional.cross_entropy),
        tacit.Population.from_arrays(data),
        algorithm or tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=6, steps=1)),
        selection=selection,
        privacy=tacit.UserLevel(noise_multiplier=noise, clip=CLIP, delta=1e-5, insecure_seed=seed, **settings),
        workers=1,
    )


def audited(of=None, seed=0, **options):
    return audit(of or federation(), ROUNDS, seed=seed, **{"canaries": CANARIES} | options)


# The faults, each in the code that a run goes through.


def half_the_noise(patch):
    draw = NoiseSource.normal
    patch.setattr(NoiseSource, "normal", lambda *args, **kwargs: 0.5 * draw(*args, **kwargs))


def noise_for_the_mean_on_the_sum(patch):
    """The mean of n reports moves by C / n, and noise of that size is added before the sum is divided."""
    draw = NoiseSource.normal
    patch.setattr(NoiseSource, "normal", lambda *args, **kwargs: draw(*args, **kwargs) / (40 + CANARIES))


def one_key_for_all_rounds(patch):
    key = NoiseSource._key
    patch.setattr(NoiseSource, "_key", lambda source, purpose, round: key(source, purpose, 0))


def one_round_without_noise(patch):
    draw = NoiseSource.normal
    patch.setattr(
        NoiseSource, "normal", lambda source, name, round, *rest: draw(source, name, round, *rest) * (round != 5)
    )


def encoding(patch, change):
    """Lets `change(reports, integers, stage)` change what the clip gives."""
    encode = Clip.encode

    def changed(stage, report, layout, down):
        reports = report.clone()
        return change(reports, encode(stage, report, layout, down), stage)

    patch.setattr(Clip, "encode", changed)


def unclipped(reports, integers, stage, chosen):
    steps = torch.nan_to_num(reports[chosen].double() / stage.bounds[0].grid).clamp(-(2.0**30), 2.0**30)
    integers[chosen] = steps.to(integers.dtype)
    return integers


def what_is_not_a_number_is_not_above_the_norm(patch):
    encoding(patch, lambda r, integers, stage: unclipped(r, integers, stage, r.isnan().any(1)))


def what_is_far_too_long_goes_through(patch):
    encoding(patch, lambda r, integers, stage: unclipped(r, integers, stage, r.norm(dim=1) > 100 * CLIP))


def every_layer_clipped_by_itself(patch):
    encode = Clip.encode

    def by_layer(stage, report, layout, down):
        total = torch.zeros(report.shape, dtype=torch.int32)
        for place in torch.arange(report.shape[1]).chunk(4):
            alone = torch.zeros_like(report)
            alone[:, place] = report[:, place]
            total += encode(stage, alone, layout, down)
        return total

    patch.setattr(Clip, "encode", by_layer)


def the_first_of_every_block_counts_ten_times(patch):
    def times(reports, integers, stage):
        integers[0] *= 10
        return integers

    encoding(patch, times)


def weights_by_examples_behind_the_clip(patch):
    """A mean by examples, as without privacy: the weight follows from the data, and nothing bounds it."""
    patch.setattr(LocalTraining, "weigh", lambda work, examples: examples)

    def weighed(worker, trained, down):
        encoded = worker.work.chain.encode(trained.reports, down)
        total = integer_sum(encoded * trained.weight[:, None].to(encoded.dtype), None)
        return BlockSum(total, trained.clients, trained.set_aside, trained.seconds)

    patch.setattr(Adding, "_all", weighed)


FAULTS = [
    half_the_noise,
    noise_for_the_mean_on_the_sum,
    one_key_for_all_rounds,
    one_round_without_noise,
    what_is_not_a_number_is_not_above_the_norm,
    what_is_far_too_long_goes_through,
    every_layer_clipped_by_itself,
    the_first_of_every_block_counts_ten_times,
    weights_by_examples_behind_the_clip,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_found_by_two_twins_and_ends_with_exit_code_6(fault, monkeypatch):
    fault(monkeypatch)
    result = audited()
    assert result.contradicts
    assert result.alarms == 2
    assert result.verdict == "contradicted"
    with pytest.raises(AuditContradiction, match="INVALID") as caught:
        result.require()
    assert caught.value.exit_code == 6
    assert "CONTRADICTED" in result.text()


def test_noise_far_too_small_is_found_by_guessing_alone(monkeypatch):
    """Without any assumption on the scores: a claim of 1.4 that perfect guesses refute."""
    draw = NoiseSource.normal
    monkeypatch.setattr(NoiseSource, "normal", lambda *args, **kwargs: 0.05 * draw(*args, **kwargs))
    guessed = audited(federation(noise=8.0)).evidence[0]
    assert (guessed.threat, guessed.estimator) == ("all iterates", "one run")
    assert guessed.lower > guessed.claim


def test_a_weight_before_the_clip_does_no_harm_and_is_not_called_a_fault(monkeypatch):
    monkeypatch.setattr(LocalTraining, "weigh", lambda work, examples: 10 * examples)
    assert not audited().alarms


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, {}),
        ({"noise": 0.5}, {}),
        ({"noise": 20.0}, {}),
        ({"noise": 2.0, "clients": 100, "selection": tacit.Poisson(20)}, {}),
        ({"clients": 100, "selection": tacit.Uniform(30)}, {}),
        ({}, {"adjacency": "replace-one"}),
        ({}, {"loss_bound": 2.0}),
        ({}, {"clip_quantile": 0.5}),
        ({"selection": tacit.Separated(10)}, {"mechanism": "bisr"}),
    ],
    ids=str,
)
def test_a_sound_run_is_not_contradicted(options, settings):
    result = audited(federation(**options, **settings))
    assert not result.alarms
    assert result.verdict == "consistent"
    result.require()


@pytest.mark.slow
def test_of_sixty_sound_twins_with_fresh_noise_few_alarm():
    """Each alarms with a probability of at most 5 %; more than 10 of 60 would with less than 1 in 1,000."""
    runs = [audited(federation(seed=None), seed=seed, canaries=300) for seed in range(60)]
    assert stats.binom.sf(10, 60, 0.05) < 1e-3
    assert sum(run.alarms > 0 for run in runs) <= 10
    assert sum(run.contradicts for run in runs) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_found_whatever_the_noise(fault, monkeypatch):
    """With noise from the operating system, and other directions and coins each time."""
    fault(monkeypatch)
    assert all(audited(federation(seed=None), seed=seed).contradicts for seed in range(5))

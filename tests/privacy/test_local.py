"""Local privacy: every client's own noise, what it costs over rounds, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import tacit
from tacit import errors
from tacit.learning.layout import Layout
from tacit.privacy.accountant import REPLACE_ONE, gaussian_epsilon, most, pld_epsilon, rdp_epsilon
from tacit.privacy.bound import Bound
from tacit.privacy.clip import ClipAbsolute
from tacit.privacy.event import Gaussian, Laplace, Reports, charges, event_of, named
from tacit.privacy.ledger import Ledger
from tacit.privacy.noise import NoiseSource

RARE = 1e-4
"""Probability with which one of the statistical tests fails though all is well, about."""


@pytest.fixture(autouse=True)
def own_ledger(tmp_path, monkeypatch):
    monkeypatch.setenv("TACIT_LEDGER", str(tmp_path / "ledger.sqlite"))


def population(clients=12):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(clients, 5, 2, generator=rng)
    return tacit.Population.from_arrays({f"c{k}": (x[k], x[k].sum(1, keepdim=True)) for k in range(clients)})


def federation(level, clients=12, **options):
    torch.manual_seed(0)
    task = tacit.Task(nn.Linear(2, 1), nn.functional.mse_loss)
    method = tacit.FedAvg(tacit.SGD(0.1, steps=2))
    return tacit.Federation(task, population(clients), method, privacy=level, workers=1, **options)


def test_the_noise_is_that_of_the_analytic_gaussian_mechanism_over_all_rounds():
    told = federation(tacit.LocalLevel(epsilon=2.0, clip=0.5)).run(3).facts["privacy"]
    z = told["noise_multiplier"]
    assert gaussian_epsilon(math.sqrt(3) / z, told["delta"], REPLACE_ONE) == pytest.approx(2.0, rel=2e-3)
    assert told["epsilon"] == told["epsilon_against_server"] <= 2.0
    assert told["adjacency"] == "replace-one"
    assert told["mechanism"] == "local-gaussian"
    assert told["participations"] == 3


def test_known_answers_of_the_analytic_gaussian_mechanism():
    """[Balle18]: at epsilon 1, delta 1e-5 the noise for sensitivity 1 is 3.73; the classic formula says 4.84."""
    told = federation(tacit.LocalLevel(epsilon=1.0, delta=1e-5, clip=1.0)).run(1).facts["privacy"]
    assert told["noise_multiplier"] / 2 == pytest.approx(3.73, abs=0.01)


def test_those_who_take_part_seldom_need_less_noise():
    turns = federation(tacit.LocalLevel(epsilon=2.0, clip=0.5), selection=tacit.Separated(4)).run(6).facts["privacy"]
    always = federation(tacit.LocalLevel(epsilon=2.0, clip=0.5)).run(6).facts["privacy"]
    assert turns["participations"] == 2
    assert turns["noise_multiplier"] == pytest.approx(always["noise_multiplier"] / math.sqrt(3), rel=1e-2)


@pytest.mark.parametrize("mechanism", ["gaussian", "laplace"])
def test_the_noise_on_a_sum_is_that_of_all_its_clients(mechanism):
    """What a round without learning moves the model by is noise alone: its variance is that of 12 clients' noises."""
    level = tacit.LocalLevel(epsilon=None, noise_multiplier=3.0, clip=0.5, mechanism=mechanism)
    torch.manual_seed(0)
    task = tacit.Task(nn.Linear(60, 50), nn.functional.mse_loss)
    nothing = {f"c{k}": (torch.zeros(2, 60), torch.zeros(2, 50)) for k in range(12)}
    model = task.model
    with torch.no_grad():
        model.weight.zero_(), model.bias.zero_()
    made = tacit.Federation(
        task, tacit.Population.from_arrays(nothing), tacit.FedAvg(tacit.SGD(0.1)), privacy=level, workers=1
    )
    moved = torch.cat([p.detach().flatten() for p in made.run(1).model.parameters()]).double().numpy()
    variance = (3.0 * 0.5) ** 2 * (2 if mechanism == "laplace" else 1) / 12
    low, high = stats.chi2.ppf([RARE, 1 - RARE], moved.size) / moved.size if mechanism == "gaussian" else (0.85, 1.15)
    assert low < np.mean(moved**2) / variance < high


def test_sums_of_laplace_draws_have_their_distribution():
    one = NoiseSource().laplace("update", 0, 200_000, 1)
    assert stats.kstest(one, "laplace").pvalue > RARE
    many = NoiseSource().laplace("update", 0, 100_000, 5)
    assert abs(many.var() / 10 - 1) < 0.03
    source = NoiseSource()
    source.laplace("update", 0, 3, 1)
    with pytest.raises(ValueError, match="drawn before"):
        source.laplace("update", 0, 3, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_1_norm_of_a_report_is_within_its_bound_in_integers(dtype):
    clip = ClipAbsolute((Bound("update", ("update",), 0.7),))
    layout = clip.bind(Layout.of(update=(40,)))
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.normal(size=(200, 40)) * 10.0 ** rng.integers(-6, 6, size=(200, 1)), dtype=dtype)
    rows[3], rows[4], rows[5] = float("nan"), float("inf"), 0.0
    before = rows.clone()
    bound = clip.bounds[0]
    integers = clip.encode(rows, layout, {})
    sizes = integers.abs().sum(1).double() * bound.grid
    assert float(sizes.max()) <= 0.7
    assert not integers[3:6].any()
    small = before.abs().sum(1) < 0.7
    torch.testing.assert_close(
        integers[small].double() * bound.grid, before[small].double(), rtol=1e-7, atol=bound.grid
    )


def test_laplace_composes_by_losses_and_by_divergences():
    one = charges([Laplace(4.0)])
    assert pld_epsilon(one, 1e-9, REPLACE_ONE) == pytest.approx(0.5, rel=1e-3)
    assert pld_epsilon(one, 1e-9) == pytest.approx(0.25, rel=1e-3)
    many = charges([Reports(4.0, "laplace", 50)])
    assert many == ((Laplace(4.0), 50),)
    by_pld, by_rdp = pld_epsilon(many, 1e-5, REPLACE_ONE), rdp_epsilon(many, 1e-5, REPLACE_ONE)
    assert by_pld <= by_rdp <= 25.0
    mixed = charges([Laplace(4.0), Gaussian(3.0)])
    assert most(mixed, 1e-5, REPLACE_ONE) > max(most(charges([e]), 1e-5, REPLACE_ONE) for e, _ in mixed)
    assert event_of(named(Reports(4.0, "laplace", 50))) == Reports(4.0, "laplace", 50)


def test_laplace_noise_keeps_to_the_epsilon():
    told = federation(tacit.LocalLevel(epsilon=3.0, clip=0.5, mechanism="laplace")).run(2).facts["privacy"]
    assert 2.8 < told["epsilon"] <= 3.0
    assert told["noise_multiplier"] <= 2 * 2 / 3.0 * 1.01, "no more than pure composition asks for"
    assert "local-laplace" in told["text"]["en"]


def test_a_report_may_not_be_sent_twice_in_a_round(tmp_path):
    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == 2

    level = tacit.LocalLevel(epsilon=2.0, clip=0.5)
    federation(level).run(4, checkpoint=tmp_path / "run", callbacks=[Stop()])
    run = federation(level).run(4, checkpoint=tmp_path / "run", resume=True)
    assert len(run.rows) == 4
    with Ledger() as ledger:
        (account,) = ledger.accounts()
        assert sum(count for _, count in account.charges()) == 4, "the whole run, once"
        assert sum(e.event is not None for e in account.entries()) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adjacency": "zero-out"}, "replace-one"),
        ({"clip_quantile": 0.5}, "clip_quantile"),
        ({"loss_bound": 1.0}, "loss_bound"),
        ({"mechanism": "bisr"}, "'gaussian', 'laplace'"),
        ({"clip": None}, "clip is None"),
    ],
)
def test_what_does_not_go_with_local_noise_is_refused(changes, words):
    with pytest.raises(errors.PrivacyError, match=words):
        federation(tacit.LocalLevel(**{"epsilon": 2.0, "clip": 0.5, **changes}))


def test_laplace_on_long_reports_is_refused():
    task = tacit.Task(nn.Linear(200, 60), nn.functional.mse_loss)
    people = {f"c{k}": (torch.zeros(2, 200), torch.zeros(2, 60)) for k in range(3)}
    with pytest.raises(errors.PrivacyError, match="gaussian"):
        tacit.Federation(
            task,
            tacit.Population.from_arrays(people),
            tacit.FedAvg(tacit.SGD(0.1)),
            privacy=tacit.LocalLevel(epsilon=2.0, clip=0.5, mechanism="laplace"),
        )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_statement_says_that_nobody_is_trusted(language):
    told = federation(tacit.LocalLevel(epsilon=2.0, clip=0.5)).run(1).facts["privacy"]["text"][language]
    assert {"en": "before it sends it", "zh": "在发送之前自己加上"}[language] in told
    assert {"en": "It is to add the noise", "zh": "服务器应当照实加噪声"}[language] not in told


@pytest.mark.parametrize(
    ("mechanism", "said"), [("gaussian", ("Euclidean norm", "standard deviation")), ("laplace", ("1-norm", "scale"))]
)
def test_the_statement_says_in_which_norm_reports_are_cut_and_what_the_noise_is(mechanism, said):
    told = (
        federation(tacit.LocalLevel(epsilon=2.0, clip=0.5, mechanism=mechanism)).run(1).facts["privacy"]["text"]["en"]
    )
    assert f"cuts its report to a {said[0]} of 0.5" in told
    assert f"whose {said[1]} is" in told
    assert "the probability of whatever the participant sends, in all rounds," in told
    assert ("Gaussian" in told) is (mechanism == "gaussian")

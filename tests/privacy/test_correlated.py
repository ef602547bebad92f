"""Correlated noise: known errors, the covariance that is claimed, turns that are enforced, restarts that repeat it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.linalg import toeplitz

import tacit
from tacit import errors
from tacit.privacy.correlated import Turns, best_bands, coefficients, column, error, sensitivity
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger import Ledger
from tacit.privacy.noise import NoiseSource
from tacit.privacy.plan import PrivacyPlan
from tacit.selection.cohort import Cohort, Sampling
from tests.privacy.test_private_runs import METHODS, Sums, arrays, federation, level


@pytest.mark.parametrize(
    ("rounds", "gap", "independent", "banded", "bands"),
    [(200, 200, 10.0, 2.54, 64), (200, 50, 20.0, 5.75, 32), (1000, 100, 70.7, 12.4, 64)],
)
def test_the_error_of_the_prefix_sums_at_unit_privacy(rounds, gap, independent, banded, bands):
    assert error(1, rounds) * sensitivity(1, rounds, gap) == pytest.approx(independent, rel=0.01)
    assert error(bands, rounds) * sensitivity(bands, rounds, gap) == pytest.approx(banded, rel=0.01)
    chosen = best_bands(rounds, gap)
    assert error(chosen, rounds) * sensitivity(chosen, rounds, gap) <= banded * 1.001


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 12))
def test_c_is_the_inverse_of_the_matrix_of_the_noise(rounds, bands):
    noise = toeplitz(np.pad(coefficients(min(bands, rounds)), (0, max(rounds - bands, 0))), np.zeros(rounds))
    c = toeplitz(column(bands, rounds), np.zeros(rounds))
    np.testing.assert_allclose(c @ noise, np.eye(rounds), atol=1e-10)
    assert (column(bands, rounds) >= -1e-12).all()


@settings(max_examples=30)
@given(st.integers(2, 14), st.integers(1, 5), st.integers(1, 6))
def test_no_pattern_of_turns_that_are_apart_moves_the_run_farther(rounds, bands, gap):
    """Against all patterns, of any signs for the single clipped reports too."""
    c = toeplitz(column(bands, rounds), np.zeros(rounds))
    bound, rng = sensitivity(bands, rounds, gap), np.random.default_rng(0)
    for _ in range(60):
        turns, at = [], int(rng.integers(rounds))
        while at < rounds:
            turns.append(at)
            at += gap + int(rng.integers(3))
        reports = rng.normal(size=(len(turns), 3))
        reports /= np.maximum(np.linalg.norm(reports, axis=1, keepdims=True), 1)
        assert np.linalg.norm(c[:, turns] @ reports) <= bound + 1e-9


def test_what_is_released_has_the_covariance_that_was_accounted():
    """Rounds 3 and 4 of three bands, 200,000 draws; false alarm 1 in 10,000."""
    source, c, count = NoiseSource(), coefficients(3), 200_000
    drawn = [source.normal("update", round, count, c) for round in range(5)]
    for one, other, expected in ((4, 4, np.dot(c, c)), (4, 3, np.dot(c[1:], c[:2])), (4, 2, c[2]), (4, 1, 0.0)):
        found = float(np.mean(drawn[one] * drawn[other]))
        spread = math.sqrt((np.dot(c, c) ** 2 + expected**2) / count)
        assert abs(found - expected) < stats.norm.isf(1e-5) * spread


def test_a_run_with_turns_is_charged_once_and_claims_one_gaussian():
    data, settings = arrays(clients=24), tacit.UserLevel(epsilon=3.0, clip=0.5, mechanism="bisr")
    run = federation(data, privacy=settings, selection=tacit.Separated(4)).run(18)
    claim = run.facts["privacy"]
    assert 2.97 < claim["epsilon"] <= 3.0
    assert claim["epsilon_against_server"] == claim["epsilon"], "nothing rests on secret cohorts"
    assert claim["participations"] == 3
    with Ledger() as ledger:
        (account,) = ledger.accounts()
        ((event, count),) = account.charges()
        assert [e.kind for e in account.entries()].count("commit") == 18
    assert count == 1
    assert isinstance(event, Gaussian)
    plan = PrivacyPlan.of(settings, tacit.Separated(4).sampling(24), 18)
    assert event.noise == pytest.approx(plan.noise / sensitivity(plan.bands, 18, 6))
    assert plan.bands > 1


def test_its_model_has_less_noise_than_with_independent_noise_at_equal_privacy(monkeypatch):
    """The norm of the sum of all noise, against the same of independent noise, over 32 rounds of turns."""

    def strayed(mechanism):
        sums = Sums(monkeypatch)
        settings = tacit.UserLevel(epsilon=3.0, clip=0.5, mechanism=mechanism)
        federation(arrays(clients=64), privacy=settings, selection=tacit.Separated(2)).run(32)
        noise = sum((a - b).double() for a, b in zip(sums.after, sums.before, strict=True))
        return float(torch.linalg.vector_norm(noise))

    assert strayed("bisr") < 0.6 * strayed("gaussian")


@pytest.mark.parametrize("method", ["FedAvg", "Scaffold"])
def test_a_run_that_goes_on_repeats_the_draws_that_its_noise_combines(tmp_path, method):
    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == 3

    settings = tacit.UserLevel(epsilon=3.0, clip=0.5, mechanism="bisr")
    made = {"privacy": settings, "selection": tacit.Separated(3), "algorithm": METHODS[method]}
    federation(**made).run(6, checkpoint=tmp_path, callbacks=[Stop()])
    assert (tmp_path / "noise.key").stat().st_mode & 0o777 == 0o600
    key = (tmp_path / "noise.key").read_bytes()
    (tmp_path / "noise.key").unlink()
    with pytest.raises(errors.StorageError, match=r"noise\.key is gone"):
        federation(**made).run(6, checkpoint=tmp_path, resume=True)
    (tmp_path / "noise.key").write_bytes(key)
    run = federation(**made).run(6, checkpoint=tmp_path, resume=True)
    assert len(run.rows) == 6
    assert not (tmp_path / "noise.key").exists(), "who had it could subtract the noise"
    assert len(federation(**made).run(6, checkpoint=tmp_path, resume=True).rows) == 6


def test_the_noise_is_the_same_whether_a_run_was_resumed_or_not(tmp_path, monkeypatch):
    place = tmp_path / "noise.key"
    whole = NoiseSource(kept=place)
    drawn = [whole.normal("update", round, 50, coefficients(4)) for round in range(6)]
    again = NoiseSource(kept=place)
    assert all((again.normal("update", r, 50, coefficients(4)) == drawn[r]).all() for r in (4, 5))


def test_a_round_is_not_released_again_with_the_same_noise(tmp_path):
    """Going back to an older checkpoint, after rounds that followed it were released."""
    import shutil

    settings = tacit.UserLevel(epsilon=3.0, clip=0.5, mechanism="bisr")
    made = {"privacy": settings, "selection": tacit.Separated(3)}

    class Stop(tacit.Callback):
        def on_round_end(self, row):
            return row["round"] == 2

    federation(**made).run(6, checkpoint=tmp_path, callbacks=[Stop()])
    shutil.copytree(tmp_path, tmp_path.with_name("old"))
    federation(**made).run(6, checkpoint=tmp_path, resume=True)
    with pytest.raises(errors.LedgerForked, match="was released before"):
        federation(**made).run(6, checkpoint=tmp_path.with_name("old"), resume=True)


class Hasty:
    """Says that turns are apart, and lets everybody take part at once."""

    def problems(self, clients):
        return []

    def sampling(self, clients):
        return Sampling("separated", 3, clients, gap=4)

    def draw(self, clients, seed, round):
        return Cohort(np.arange(3), self.sampling(clients))


def test_turns_that_come_too_soon_are_refused():
    with pytest.raises(errors.MinSeparationViolated, match="less than 4 rounds"):
        federation(privacy=level(mechanism="bisr"), selection=Hasty()).run(4)
    with pytest.raises(errors.MinSeparationViolated, match="Separated"):
        federation(privacy=level(mechanism="bisr"), selection=tacit.Poisson(6)).run(4)
    with pytest.raises(errors.PrivacyError, match="mechanism is 'tree'"):
        federation(privacy=level(mechanism="tree"))


@settings(max_examples=40)
@given(st.integers(1, 40), st.data())
def test_separated_cohorts_keep_the_gap_that_they_declare_and_miss_nobody(clients, data):
    cohort = data.draw(st.integers(1, clients))
    rule = tacit.Separated(cohort)
    turns, counts = Turns(rule.sampling(clients).gap), np.zeros(clients, int)
    rounds = 3 * math.ceil(clients / cohort)
    for round in range(rounds):
        drawn = rule.draw(clients, 7, round)
        assert len(np.unique(drawn.clients)) == cohort
        turns.take(round, drawn.clients)
        counts[drawn.clients] += 1
    assert counts.max() - counts.min() <= 1

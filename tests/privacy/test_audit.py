"""The audit: bounds against what is known of them, canaries, the twin, and what is told."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import tacit
from tacit import errors
from tacit.privacy.accountant import gaussian_epsilon, pld_epsilon
from tacit.privacy.audit import audit
from tacit.privacy.event import PoissonSampled
from tacit.privacy.ledger import Ledger
from tacit.privacy.lower_bounds import (
    gaussian_fit,
    guessing_bound,
    most_shown,
    one_run,
    p_value,
    worst_canary,
    worst_round,
)
from tacit.privacy.planted import FAR, Canaries
from tacit.privacy.shares import Shares
from tacit.privacy.twin import Joined, joined

DELTA = 1e-5


# Bounds.


@pytest.mark.parametrize(("guesses", "known"), [(10, 1.0), (100, 3.47), (500, 5.09), (1000, 5.78)])
def test_the_most_that_perfect_guesses_can_show(guesses, known):
    """Without delta it is `log(q / (1 - q))` where `q^r = 0.05`; with it a little less."""
    chance = 0.05 ** (1 / guesses)
    assert guessing_bound(guesses, guesses, guesses, 0.0) == pytest.approx(math.log(chance / (1 - chance)), abs=1e-6)
    assert guessing_bound(guesses, guesses, guesses, DELTA) <= guessing_bound(guesses, guesses, guesses, 0.0)
    assert guessing_bound(guesses, guesses, guesses, DELTA / guesses) == pytest.approx(known, abs=0.06)


def test_scores_that_tell_everything_show_the_most_that_can_be_shown():
    coins = np.random.default_rng(0).random(1000) < 0.5
    shown = one_run(coins + 0.0, coins, DELTA).lower
    assert shown == most_shown(1000, DELTA) > most_shown(100, DELTA)
    assert shown < guessing_bound(1000, 1000, 1000, DELTA), "the choice of a share has its price"


def binomial(guesses, chance, correct):
    return math.comb(guesses, correct) * chance**correct * (1 - chance) ** (guesses - correct)


@given(st.integers(1, 30), st.data(), st.floats(0, 4), st.floats(0, 0.01))
def test_the_p_value_is_the_formula_of_the_paper_term_by_term(guesses, data, epsilon, delta):
    correct = data.draw(st.integers(0, guesses))
    canaries = guesses + data.draw(st.integers(0, 20))
    chance = math.exp(epsilon) / (1 + math.exp(epsilon))
    law = [binomial(guesses, chance, k) for k in range(guesses + 1)]
    steps = [sum(law[correct - i : correct]) / i for i in range(1, correct + 1)]
    expected = sum(law[correct:]) + 2 * canaries * delta * max(steps, default=0.0)
    assert p_value(canaries, guesses, correct, epsilon, delta) == pytest.approx(min(expected, 1.0), abs=1e-9)


@given(st.integers(2, 200), st.data())
def test_a_guessing_bound_refutes_itself_and_what_is_below_and_grows_with_correct_guesses(guesses, data):
    correct = data.draw(st.integers(1, guesses))
    bound = guessing_bound(guesses, guesses, correct, DELTA)
    assert bound >= guessing_bound(guesses, guesses, correct - 1, DELTA)
    if bound:
        assert p_value(guesses, guesses, correct, bound, DELTA) <= 0.05 + 1e-9
        assert p_value(guesses, guesses, correct, bound + 1e-3, DELTA) > 0.05


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_a_bound_by_guessing_lies_below_the_epsilon_of_randomised_response(epsilon):
    """The mechanism for which the bound is tight; above it in at most 5 % of 100, so 15 are 1 in 10,000."""
    draws = np.random.default_rng(1)
    above, largest = 0, 0.0
    for _ in range(100):
        coins = draws.random(400) < 0.5
        truthful = draws.random(400) < 1 / (1 + math.exp(-epsilon))
        answers = np.where(truthful, coins, ~coins).astype(float) + 1e-6 * draws.standard_normal(400)
        lower = one_run(answers, coins, 0.0).lower
        above, largest = above + (lower > epsilon), max(largest, lower)
    assert above <= 14
    assert largest > 0.6 * epsilon, "the bound is no trivial one"


def scores(draws, canaries, mu):
    coins = draws.random(canaries) < 0.5
    return draws.standard_normal(canaries) + mu * coins, coins


@pytest.mark.parametrize("mu", [0.2, 1.0, 6.0])
def test_the_lower_end_of_a_fit_is_above_the_truth_in_one_of_twenty(mu):
    """Of 1,000 fits; outside of 2 % to 8 % with a probability of less than 1 in 10,000."""
    draws = np.random.default_rng(2)
    fits = [gaussian_fit(*scores(draws, 1000, mu), DELTA) for _ in range(1000)]
    assert 0.02 < np.mean([fit.mu_lower > mu for fit in fits]) < 0.08
    assert np.mean([fit.mu for fit in fits]) == pytest.approx(mu, rel=0.03)
    assert fits[0].point == pytest.approx(gaussian_epsilon(max(fits[0].mu, 0.0), DELTA))
    assert all(fit.lower <= fit.point for fit in fits)


@pytest.mark.parametrize("mu", [0.2, 1.0, 6.0])
def test_the_worst_canary_of_a_sound_run_stays_below_the_truth(mu):
    """Above it in at most 5 % of 1,000: 80 of them are 1 in 30,000."""
    draws = np.random.default_rng(3)
    assert sum(worst_canary(*scores(draws, 500, mu), DELTA).mu_lower > mu for _ in range(1000)) <= 80


def test_one_canary_that_counts_ten_times_moves_no_mean_and_is_found_by_the_worst():
    values, coins = scores(np.random.default_rng(4), 1000, 1.0)
    before = gaussian_fit(values, coins, DELTA).lower
    values[np.flatnonzero(coins)[7]] += 9.0
    claim = gaussian_epsilon(1.0, DELTA)
    assert gaussian_fit(values, coins, DELTA).lower == pytest.approx(before, rel=0.1)
    assert gaussian_fit(values, coins, DELTA).lower < claim < worst_canary(values, coins, DELTA).lower


@pytest.mark.parametrize("mu", [0.2, 1.0])
def test_the_worst_round_of_a_sound_run_stays_below_the_truth_and_one_without_noise_does_not(mu):
    """Above it in at most 5 % of 300: 30 of them are 1 in 3,000."""
    draws, above = np.random.default_rng(5), 0
    for _ in range(300):
        coins = draws.random(300) < 0.5
        rounds = draws.standard_normal((8, 300)) + mu * coins
        above += worst_round(rounds, coins, DELTA).mu_lower > mu
    assert above <= 30
    rounds[5] = mu * coins + 0.01 * draws.standard_normal(300)
    assert worst_round(rounds, coins, DELTA).mu_lower > 50 * mu
    assert gaussian_fit(rounds.sum(0), coins, DELTA).mu_lower < mu * math.sqrt(8)


def test_scores_without_any_spread_show_all_or_nothing():
    coins = np.arange(100) % 2 == 0
    assert gaussian_fit(coins.astype(float), coins, DELTA).lower == 1e6
    assert worst_canary(coins.astype(float), coins, DELTA).lower == 1e6
    assert gaussian_fit(np.zeros(100), coins, DELTA).lower == 0.0
    assert one_run(coins.astype(float), coins, DELTA).lower > 1


@settings(max_examples=15)
@given(st.floats(0.05, 1.0), st.floats(0.6, 20.0), st.integers(1, 200))
def test_where_cohorts_are_sampled_the_fit_of_a_sound_run_is_below_the_claim(rate, noise, rounds):
    """A sum of scores then has distance `q sqrt(T) / z` at most, which is worth less than what is accounted."""
    fitted = gaussian_epsilon(rate * math.sqrt(rounds) / noise, DELTA)
    assert fitted <= pld_epsilon(((PoissonSampled(noise, rate), rounds),), DELTA, interval=1e-2) + 1e-9


# Canaries.


@pytest.mark.parametrize("d", [101, 997, 1024])
def test_directions_are_orthonormal_and_one_transform_gives_the_products_of_all(d):
    canaries = Canaries(5, 100, d, 1.0, seed=7)
    directions = np.stack([canaries.direction(k) for k in range(100)])
    np.testing.assert_allclose(directions @ directions.T, np.eye(100), atol=1e-12)
    vector = torch.randn(d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    np.testing.assert_allclose(canaries.left(vector), directions @ vector.numpy(), atol=1e-12)


def planted(canaries, count, d):
    update = torch.full((count, d), 3.0)
    canaries.plant(np.arange(count), update)
    return update


def test_a_canary_sends_its_direction_far_beyond_the_norm_or_zeros_and_clients_keep_theirs():
    canaries = Canaries(5, 100, 200, 0.5, seed=7)
    update = planted(canaries, 105, 200)
    assert (update[:5] == 3.0).all()
    for k in range(100):
        if not canaries.included[k]:
            assert not update[5 + k].any()
        elif k in canaries.broken:
            assert update[5 + k].isnan().sum() == 1
        else:
            np.testing.assert_allclose(update[5 + k], FAR * 0.5 * canaries.direction(k), rtol=1e-5, atol=1e-4)
    kinds = np.concatenate([canaries.turning, canaries.steady, canaries.broken])
    assert sorted(kinds) == list(range(100))


def test_turning_canaries_change_their_sign_with_every_round_and_steady_ones_do_not():
    canaries = Canaries(0, 100, 200, 0.5, seed=7)
    first = planted(canaries, 100, 200)
    canaries.see(0, {"update": torch.zeros(200, dtype=torch.float64)})
    second = planted(canaries, 100, 200)
    assert torch.equal(second[canaries.steady], first[canaries.steady])
    assert torch.equal(second[canaries.turning], -first[canaries.turning])
    assert first[canaries.turning].any()


def test_what_is_the_same_in_every_round_drops_out_of_the_scores_of_all_iterates():
    canaries = Canaries(0, 100, 200, 0.5, seed=7)
    same = torch.randn(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for round in range(6):
        canaries.see(round, {"update": same})
    np.testing.assert_allclose(canaries.seen().sum(0), 0.0, atol=1e-12)


def test_under_replace_one_a_canary_that_is_left_out_sends_the_opposite():
    one, other = (planted(Canaries(0, 100, 200, 0.5, 7, opposite=o), 100, 200) for o in (False, True))
    coins = Canaries(0, 100, 200, 0.5, 7).included
    assert torch.equal(one[coins].nan_to_num(), other[coins].nan_to_num())
    lengths = other[~coins].nan_to_num().norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, FAR * 0.5), rtol=0.1, atol=0)


# The twin.


def arrays(clients):
    draws = torch.Generator().manual_seed(0)
    return {
        f"c{k}": (torch.randn(20, 40, generator=draws), torch.randint(5, (20,), generator=draws))
        for k in range(clients)
    }


def federation(clients=30, algorithm=None, selection=None, population=None, private=True, **options):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(40, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5))
    level = {"noise_multiplier": 2.0, "clip": 0.5, "delta": DELTA, "insecure_seed": 1} | options.pop("privacy", {})
    return tacit.Federation(
        tacit.Task(model, torch.nn.functional.cross_entropy),
        population or tacit.Population.from_arrays(arrays(clients)),
        algorithm or tacit.FedAvg(tacit.SGD(lr=0.1, batch_size=20, steps=1)),
        selection=selection,
        privacy=tacit.UserLevel(**level) if private else None,
        **{"workers": 1} | options,
    )


def test_canaries_come_last_and_borrow_some_examples_of_the_first_client():
    population = tacit.Population.from_arrays(arrays(3) | {"canary-1": arrays(1)["c0"]})
    twin = Joined(population, 2)
    assert twin.ids == ("c0", "c1", "c2", "canary-1", "canary--0", "canary--1")
    assert twin.sizes.tolist() == [20, 20, 20, 20, 16, 16]
    assert twin.synthetic
    examples = twin.examples(np.array([4, 2, 5]))
    for at, (owner, many) in enumerate([("c0", 16), ("c2", 20), ("c0", 16)]):
        assert torch.equal(examples.of(at)[0], population[owner][0][:many])
        assert torch.equal(examples.of(at)[1], population[owner][1][:many])


def test_the_rate_stays_as_it_was_and_the_cap_keeps_its_distance():
    poisson = joined(tacit.Poisson(30, cap=50), 300, 900).sampling(1200)
    assert (poisson.rate, poisson.size) == (0.1, 120)
    assert poisson.cap == 160
    assert joined(tacit.Poisson(30), 300, 900) == tacit.Poisson(120)
    assert joined(tacit.Uniform(30), 300, 900) == tacit.Uniform(120)
    assert joined(tacit.Everyone(), 300, 900) == tacit.Everyone()


def test_an_audit_charges_no_ledger_and_leaves_the_federation_as_it_was():
    of = federation(clients=30, privacy={"population_budget": 1.0, "noise_multiplier": 100.0})
    before = dict(vars(of))
    audit(of, 3, canaries=100)
    assert vars(of) == before
    with Ledger() as ledger:
        assert not ledger.accounts()


def test_the_claim_of_the_twin_is_that_of_the_run_where_everyone_takes_part():
    result = audit(federation(), 4, canaries=200)
    assert result.claim == result.claim_of_run == pytest.approx(gaussian_epsilon(1.0, DELTA))
    assert result.noise_multiplier == 2.0


def test_noise_that_follows_from_an_epsilon_is_that_of_the_run_and_a_delta_too_large_for_the_twin_is_not():
    of = federation(privacy={"epsilon": 3.0, "noise_multiplier": None, "delta": None})
    result = audit(of, 4, canaries=500)
    assert result.claim_of_run == pytest.approx(3.0, rel=0.01)
    assert result.noise_multiplier == of.run(4).facts["privacy"]["noise_multiplier"]
    assert result.delta == pytest.approx(530**-1.1)
    assert result.claim > result.claim_of_run


def test_workers_and_processes_change_no_number():
    one, two = (audit(federation(engine="eager", workers=workers), 3, canaries=100) for workers in (1, 2))
    assert one.evidence == two.evidence


def test_clients_whose_data_cannot_be_read_do_not_disturb_an_audit():
    data = arrays(30)

    def load(name):
        if name == "c3":
            raise OSError("gone")
        return data[name]

    lazy = tacit.Population.from_loader(dict.fromkeys(data, 20), load)
    fit = audit(federation(population=lazy), 8, canaries=500).evidence[1]
    assert fit.detail["mu"] == pytest.approx(math.sqrt(8) / 2, abs=0.4)


STEPS = tacit.SGD(lr=0.1, batch_size=20, steps=1)


@pytest.mark.parametrize(
    "algorithm",
    [tacit.FedNova(STEPS), tacit.FedAdam(STEPS), tacit.FedDyn(STEPS), tacit.Scaffold(STEPS)],
    ids=lambda algorithm: type(algorithm).__name__,
)
def test_methods_are_audited_each_with_all_that_it_sends(algorithm):
    """The distance of a sound run is `sqrt(T) / z`, and less where a canary's direction shares the clip norm."""
    result = audit(federation(algorithm=algorithm), 8, canaries=500)
    true = math.sqrt(8) / 2
    found = result.evidence[1].detail["mu"]
    assert not result.alarms
    if isinstance(algorithm, tacit.Scaffold):
        assert found < true
    else:
        assert found == pytest.approx(true, abs=0.4), "four standard errors"


@pytest.mark.parametrize("heard", [1.0, 0.25])
def test_noise_under_masks_is_audited_and_less_of_it_than_is_claimed_is_heard(heard, monkeypatch):
    """Clients that add a sixteenth of the variance leave four times the distance."""
    monkeypatch.setattr(Shares, "variance", lambda self, noise: (heard * noise * self.l2) ** 2 / self.honest)
    how = tacit.SecureSum(minimum=15, dropout=0.2, lost=0.02)
    result = audit(federation(privacy={"mechanism": "skellam"}, aggregation=how), 8, canaries=500)
    fit = result.evidence[1]
    assert fit.detail["mu"] == pytest.approx(math.sqrt(8) / 2 / heard, abs=0.4 / heard), "four standard errors"
    assert (fit.lower > fit.claim) == (heard < 1)


# What is told.


def test_a_result_is_told_as_json_and_as_text():
    result = audit(federation(), 4, canaries=200)
    told = json.loads(json.dumps(result.values(), allow_nan=False))
    assert told["verdict"] == "consistent"
    assert told["canaries"] == 200
    assert told["ratio"] == pytest.approx(result.strongest.lower / result.strongest.claim)
    assert len(told["evidence"]) == 7
    assert {one["threat"] for one in told["evidence"]} == {"all iterates", "final model"}
    text = result.text()
    assert "could at best have" in text
    assert "no proof" in text
    assert f"{result.most:.3g}" in text
    assert "costs as much as another run" in text


def test_on_made_up_data_nothing_is_said_of_the_cost_of_publishing():
    population = tacit.Population.from_arrays(arrays(30))
    population.synthetic = True
    result = audit(federation(population=population), 2, canaries=100)
    assert "Publishing" not in result.text()


def test_what_cannot_be_audited_is_refused_with_all_reasons_at_once():
    with pytest.raises(errors.UsageError, match="4 problems") as caught:
        audit(federation(), 0, canaries=99, seed="x", confidence=1.0)
    assert all(name in str(caught.value) for name in ("rounds", "canaries", "seed", "confidence"))
    with pytest.raises(errors.UsageError, match="1385 parameters"):
        audit(federation(), 1, canaries=5000)
    with pytest.raises(errors.PrivacyError, match="no claim to audit"):
        audit(federation(private=False), 1)

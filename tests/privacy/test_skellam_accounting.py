"""What Skellam noise costs: the published bound against the divergence itself, and in composition with other events."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ive

from tacit.errors import DamagedFile, UsageError
from tacit.privacy.accountant import (
    ADD_REMOVE,
    ADJACENCIES,
    REPLACE_ONE,
    ZERO_OUT,
    Curve,
    affordable,
    epsilon_by,
    gaussian_epsilon,
    most,
    pld_epsilon,
    rdp_epsilon,
    spent,
)
from tacit.privacy.calibration import noise_for
from tacit.privacy.event import (
    FixedSize,
    Gaussian,
    Laplace,
    PoissonSampled,
    Skellam,
    Truncated,
    Unbounded,
    charges,
    event_of,
    named,
)
from tacit.privacy.renyi import skellam_divergence
from tacit.privacy.rounding import largest_absolute, rounded_norm

DELTA = 1e-5
NOISY = Skellam(10.0, 4096.0, 4096.0 * 32)


def numeric_divergence(variance, shift, order):
    """Of Skellam noise and the same noise shifted, by its probabilities `exp(-mu) I_k(mu)`, as far as these reach."""
    reach = int(30 * math.sqrt(variance) + order * shift + 40)
    k = np.arange(-reach, reach + 1)
    with np.errstate(divide="ignore"):
        there, here = np.log(ive(np.abs(k - shift), variance)), np.log(ive(np.abs(k), variance))
    inside = np.isfinite(there) & np.isfinite(here)
    terms = order * there[inside] + (1 - order) * here[inside]
    assert max(terms[0], terms[-1]) < terms.max() - 25, "the ends do not count"
    return (terms.max() + math.log(np.exp(terms - terms.max()).sum())) / (order - 1)


def one_step_apart(variance, shift):
    return Skellam(math.sqrt(variance) / shift, float(shift), float(shift))


@pytest.mark.parametrize(
    ("mu", "order", "divergence"),
    [(100.0, 4.0, 4 * 9 / 200 + (7 * 9 + 6 * 5) / 40_000), (1.0, 10.0, 10 * 9 / 2 + 3 * 5 / 2)],
)
def test_the_bound_is_the_published_one_in_both_of_its_branches(mu, order, divergence):
    """With D2 = 3 and D1 = 5, as (2, 2, 1) has."""
    assert skellam_divergence(Skellam(math.sqrt(mu) / 3, 3.0, 5.0), order) == pytest.approx(divergence, rel=1e-12)


@pytest.mark.parametrize("variance", [0.5, 2.0, 20.0, 100.0, 1000.0, 1e4])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_the_bound_lies_above_the_divergence_and_near_it_where_there_is_much_noise(variance, shift):
    for order in (1.1, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0, 30.0):
        bound = skellam_divergence(one_step_apart(variance, shift), order)
        exact = numeric_divergence(variance, shift, order)
        assert bound >= exact
        if order == int(order) and variance >= 1000:
            assert bound <= 1.005 * exact


def test_differences_in_several_coordinates_cost_what_each_costs():
    """The divergences of independent coordinates add up: the norms of the vector bound their sum."""
    shifts = (1, 2, 2, 3)
    mu, l2, l1 = 50.0, math.sqrt(sum(s * s for s in shifts)), float(sum(shifts))
    for order in (2.0, 4.0, 16.0):
        exact = sum(numeric_divergence(mu, shift, order) for shift in shifts)
        assert exact <= skellam_divergence(Skellam(math.sqrt(mu) / l2, l2, l1), order) <= 1.15 * exact


@given(order=st.floats(1.05, 60), noise=st.floats(0.05, 50), l2=st.floats(1, 1e5), spread=st.floats(1, 100))
def test_more_noise_finer_grids_and_shorter_vectors_cost_less(order, noise, l2, spread):
    here = skellam_divergence(Skellam(noise, l2, l2 * spread), order)
    tight = 1 + 1e-12
    assert skellam_divergence(Skellam(noise * 1.1, l2, l2 * spread), order) <= here * tight
    assert skellam_divergence(Skellam(noise, l2 * 1.1, l2 * spread), order) <= here * tight, "a finer grid"
    assert skellam_divergence(Skellam(noise, l2, l2 * spread * 1.1), order) >= here / tight
    assert skellam_divergence(Skellam(noise, l2, l2 * spread), order * 1.1) >= here / tight
    assert here >= order / (2 * noise**2) / tight, "never less than Gaussian noise of that variance"


def test_at_orders_between_whole_ones_the_bound_is_the_chord_of_a_convex_function():
    event = Skellam(3.0, 5.0, 12.0)
    chord = 0.75 * 3 * skellam_divergence(event, 4.0) + 0.25 * 4 * skellam_divergence(event, 5.0)
    assert skellam_divergence(event, 4.25) == pytest.approx(chord / 3.25, rel=1e-12)
    assert skellam_divergence(event, 1.5) == pytest.approx(skellam_divergence(event, 2.0), rel=1e-12)


def test_replacing_a_unit_by_another_doubles_both_norms():
    event, doubled = Skellam(4.0, 100.0, 900.0), Skellam(2.0, 200.0, 1800.0)
    for order in (1.5, 2.0, 9.0):
        twice = skellam_divergence(event, order, 2.0)
        assert twice == pytest.approx(skellam_divergence(doubled, order), rel=1e-12)
    one, other = charges([(event, 7)]), charges([(doubled, 7)])
    assert most(one, DELTA, REPLACE_ONE) == pytest.approx(most(other, DELTA, ZERO_OUT), rel=1e-12)
    assert most(one, DELTA, ADD_REMOVE) == most(one, DELTA, ZERO_OUT)


@pytest.mark.parametrize(("bits", "epsilon"), [(12, 7.267), (14, 3.544), (16, 3.214), (18, 3.192)])
def test_a_hundred_clients_at_noise_10_for_50_rounds_with_so_many_bits(bits, epsilon):
    """32,768 coordinates; the modulus holds 4 standard deviations to either side. Gaussian noise costs 3.189."""
    clients, dimension, noise, rounds = 100, 2**15, 10.0, 50
    grid = 8 * math.sqrt(clients / dimension + noise**2) / 2**bits
    l2 = rounded_norm(1 / grid, dimension)
    event = Skellam(noise / grid / l2, l2, largest_absolute(l2, dimension))
    assert most(charges([(event, rounds)]), DELTA) == pytest.approx(epsilon, abs=1e-3)
    assert rdp_epsilon(charges([(Gaussian(noise), rounds)]), DELTA) == pytest.approx(3.189, abs=1e-3)


@pytest.mark.parametrize("adjacency", ADJACENCIES)
def test_on_a_fine_grid_skellam_noise_costs_what_gaussian_noise_costs(adjacency):
    fine = charges([(Skellam(5.0, 2.0**20, 2.0**30), 10)])
    by_rdp = rdp_epsilon(charges([(Gaussian(5.0), 10)]), DELTA, adjacency)
    assert most(fine, DELTA, adjacency) == pytest.approx(by_rdp, rel=0.01)
    assert most(fine, DELTA, adjacency) >= by_rdp
    assert most(fine, DELTA, adjacency) >= gaussian_epsilon(math.sqrt(10) / 5, DELTA, adjacency)


def test_its_renyi_bound_is_the_claim_because_no_loss_distribution_is_known():
    both = charges([(NOISY, 50)])
    found = spent(both, DELTA)
    assert found.pld == math.inf == pld_epsilon(both, DELTA)
    assert found.epsilon == found.rdp == most(both, DELTA) == epsilon_by("rdp", both, DELTA)
    with pytest.raises(UsageError, match="'rdp'"):
        epsilon_by("pld", both, DELTA)


@pytest.mark.parametrize("other", [Gaussian(4.0), PoissonSampled(1.0, 0.01), Laplace(30.0), FixedSize(4.0, 5, 100)])
def test_together_with_another_event_it_costs_more_than_either_and_less_than_both_apart(other):
    alone, beside = charges([(NOISY, 20)]), charges([(other, 20)])
    together = charges([(NOISY, 20), (other, 20)])
    found = spent(together, DELTA)
    assert found.epsilon == found.rdp == most(together, DELTA)
    most_apart = rdp_epsilon(alone, DELTA / 2) + rdp_epsilon(beside, DELTA / 2)
    assert max(most(alone, DELTA), rdp_epsilon(beside, DELTA)) < found.epsilon < most_apart


def test_two_of_one_kind_compose_as_their_variances_say():
    half, whole = charges([(Skellam(10.0, 1e6, 1e9), 30)]), charges([(Skellam(10.0 / math.sqrt(30), 1e6, 1e9), 1)])
    assert most(half, DELTA) == pytest.approx(most(whole, DELTA), rel=1e-3)


@pytest.mark.parametrize(
    ("other", "adjacency"), [(Truncated(1.0, 0.01, 1000, 20), ZERO_OUT), (PoissonSampled(1.0, 0.01), REPLACE_ONE)]
)
def test_beside_what_has_no_renyi_bound_each_takes_half_of_delta(other, adjacency):
    alone, beside = charges([(NOISY, 5)]), charges([(other, 5)])
    together = charges([(NOISY, 5), (other, 5)])
    apart = most(alone, DELTA / 2, adjacency) + most(beside, DELTA / 2, adjacency)
    assert most(together, DELTA, adjacency) == pytest.approx(apart, rel=1e-12)
    assert math.isfinite(spent(together, DELTA, adjacency).epsilon)


def test_beside_a_release_without_noise_nothing_is_bounded():
    assert most(charges([NOISY, Unbounded()]), DELTA) == math.inf
    assert spent(charges([NOISY, Unbounded()]), DELTA).epsilon == math.inf


def test_a_mix_with_sampling_of_a_fixed_size_where_a_unit_is_added_is_refused():
    with pytest.raises(UsageError, match="fixed size"):
        most(charges([NOISY, FixedSize(1.0, 5, 100)]), DELTA, ADD_REMOVE)


@settings(max_examples=15, deadline=None)
@given(noise=st.floats(1.0, 50.0), rounds=st.integers(1, 200))
def test_epsilon_falls_with_noise_and_grows_with_rounds(noise, rounds):
    here = most(charges([(Skellam(noise, 1e4, 1e6), rounds)]), DELTA)
    assert most(charges([(Skellam(noise * 1.05, 1e4, 1e6), rounds)]), DELTA) <= here
    assert most(charges([(Skellam(noise, 1e4, 1e6), rounds + 1)]), DELTA) >= here
    assert most(charges([(Skellam(noise, 1e4, 1e6), rounds)]), DELTA / 10) >= here


def test_noise_too_quiet_or_loud_gives_infinity_or_next_to_nothing():
    assert most(charges([Skellam(1e-4, 10.0, 10.0)]), DELTA) == math.inf
    assert most(charges([Skellam(1e200, 1e5, 1e8)]), DELTA) < 1e-3


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0])
def test_calibration_meets_its_budget_and_wastes_little_of_it(epsilon):
    noise = noise_for(epsilon, lambda z: Skellam(z, 4096.0, 1e6), 100, DELTA, ZERO_OUT)
    assert epsilon * 0.995 <= most(charges([(Skellam(noise, 4096.0, 1e6), 100)]), DELTA) <= epsilon


def test_rounds_that_a_budget_affords_and_the_curve_agree_with_the_bound():
    rounds = affordable(NOISY, 2.0, DELTA, ZERO_OUT)
    assert most(charges([(NOISY, rounds)]), DELTA) <= 2.0 < most(charges([(NOISY, rounds + 1)]), DELTA)
    curve = Curve(NOISY, 50, DELTA, ZERO_OUT)
    values = [curve(t) for t in (1, 10, 30, 50)]
    assert values == sorted(values)
    assert values[-1] == most(charges([(NOISY, 50)]), DELTA)


def test_an_event_survives_the_ledger():
    assert event_of(named(NOISY)) == NOISY
    assert charges([NOISY, (NOISY, 3)]) == ((NOISY, 4),)


@pytest.mark.parametrize(
    "change", [{"noise": 0.0}, {"noise": math.inf}, {"l2": 0.5}, {"l1": 10.0}, {"l1": math.nan}, {"l2": "many"}]
)
def test_an_event_with_numbers_out_of_range_is_refused(change):
    with pytest.raises(DamagedFile):
        event_of(named(NOISY) | change)

"""The accountant against published and closed-form values, and against itself."""

from __future__ import annotations

import itertools
import logging
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.privacy.accountant import (
    ADD_REMOVE,
    ADJACENCIES,
    REPLACE_ONE,
    ZERO_OUT,
    Curve,
    affordable,
    epsilon_by,
    gaussian_delta,
    gaussian_epsilon,
    most,
    pld_epsilon,
    rdp_epsilon,
    spent,
)
from tacit.privacy.calibration import noise_for
from tacit.privacy.event import FixedSize, Gaussian, PoissonSampled, Truncated, charges


@pytest.mark.parametrize(
    ("noise", "steps", "by_pld", "by_rdp"), [(1.3, 3750, 0.834, 0.922), (1.1, 15000, 2.295, 2.503)]
)
def test_record_level_mnist_as_others_compute_it(noise, steps, by_pld, by_rdp):
    """q = 256 / 60000, delta 1e-5: the settings of the tutorials of TensorFlow Privacy and Opacus."""
    found = spent(charges([(PoissonSampled(noise, 0.004), steps)]), 1e-5)
    assert found.pld == pytest.approx(by_pld, rel=0.01)
    assert found.rdp == pytest.approx(by_rdp, rel=0.01)
    assert found.epsilon == found.pld


@pytest.mark.parametrize(("rho", "epsilon"), [(0.15, 3.42), (0.0144, 0.994)])
def test_gboard_as_published(rho, epsilon):
    """By rho of zero-concentrated privacy, at delta 1e-10; google-research/federated, mf_dpftrl_matrices."""
    assert gaussian_epsilon(math.sqrt(2 * rho), 1e-10) == pytest.approx(epsilon, rel=0.01)


def test_a_hundred_releases_at_noise_10_are_one_at_noise_1():
    many, one = charges([(Gaussian(10.0), 100)]), charges([Gaussian(1.0)])
    assert pld_epsilon(many, 1e-5) == pytest.approx(pld_epsilon(one, 1e-5), rel=1e-9)
    assert pld_epsilon(one, 1e-5) == pytest.approx(4.3772, abs=1e-4)


def test_the_two_accountants_measure_noise_against_different_distances_where_one_unit_is_replaced():
    """dp-accounting's RDP accountant takes z relative to the distance of neighbours (2 C), its PLD accountant to C.

    Should an upstream release change either, this fails, and the adapter must follow.
    """
    import dp_accounting
    from dp_accounting import pld, rdp

    relation, raw = dp_accounting.NeighboringRelation.REPLACE_ONE, []
    for accountant in (pld.PLDAccountant(relation), rdp.RdpAccountant(neighboring_relation=relation)):
        accountant.compose(dp_accounting.GaussianDpEvent(1.0))
        raw.append(accountant.get_epsilon(1e-5))
    assert raw == [pytest.approx(9.997, abs=0.002), pytest.approx(4.729, abs=0.002)]
    ours = spent(charges([Gaussian(1.0)]), 1e-5, REPLACE_ONE)
    assert ours.pld == pytest.approx(9.997, abs=0.002)
    assert ours.rdp == pytest.approx(10.73, abs=0.01)


def test_the_closed_form_agrees_with_the_privacy_loss_distribution():
    from tacit.privacy.accountant import _pld

    for adjacency in ADJACENCIES:
        one = charges([(Gaussian(3.0), 7)])
        numeric = _pld(one, adjacency, 1e-4).get_epsilon_for_delta(1e-6)
        assert pld_epsilon(one, 1e-6, adjacency) == pytest.approx(numeric, rel=1e-3)


def test_a_cap_costs_nothing_far_from_the_mean_and_much_at_it():
    """n = 3400, 100 expected, z = 1, 1000 rounds, delta 1e-4."""

    def capped(cap):
        return most(charges([(Truncated(1.0, 100 / 3400, 3400, cap), 1000)]), 1e-4)

    plain = most(charges([(PoissonSampled(1.0, 100 / 3400), 1000)]), 1e-4)
    assert plain == pytest.approx(5.15, rel=0.01)
    assert capped(150) == pytest.approx(plain, rel=1e-3)
    assert capped(140) == pytest.approx(5.17, rel=0.01)
    assert capped(120) == pytest.approx(8.4, rel=0.02)
    assert capped(100) == pytest.approx(24.2, rel=0.02)


def test_a_fixed_size_gets_a_bound_of_its_own_and_never_that_of_poisson_sampling():
    fixed = charges([(FixedSize(1.0, 100, 3400), 1000)])
    found = spent(fixed, 1e-4, REPLACE_ONE)
    assert found.epsilon == pytest.approx(98, rel=0.02)
    assert found.epsilon > 10 * most(charges([(PoissonSampled(1.0, 100 / 3400), 1000)]), 1e-4)
    assert spent(fixed, 1e-4, ZERO_OUT).epsilon == found.epsilon, "nothing in place of a client is one replacement"


def test_a_fixed_size_has_no_bound_where_a_unit_is_added_or_removed():
    with pytest.raises(UsageError, match="fixed size"):
        spent(charges([FixedSize(1.0, 100, 3400)]), 1e-4, ADD_REMOVE)


def test_a_rate_of_one_is_no_sampling():
    assert most(charges([(PoissonSampled(5.0, 1.0), 10)]), 1e-5) == pytest.approx(
        most(charges([(Gaussian(5.0), 10)]), 1e-5), rel=1e-2
    )


def test_no_renyi_bound_is_made_up():
    sampled = charges([(PoissonSampled(1.0, 0.01), 10)])
    assert rdp_epsilon(sampled, 1e-5, REPLACE_ONE) is None
    with pytest.raises(UsageError, match="'pld'"):
        epsilon_by("rdp", sampled, 1e-5, REPLACE_ONE)


sizes = st.tuples(st.floats(0.6, 5.0), st.sampled_from([1e-3, 0.01, 0.1]), st.integers(1, 300))


@settings(max_examples=8)
@given(sizes, st.sampled_from([1e-7, 1e-5, 1e-3]))
def test_epsilon_grows_with_rate_and_rounds_and_falls_with_noise_and_delta(size, delta):
    noise, rate, rounds = size

    def cost(noise=noise, rate=rate, rounds=rounds, delta=delta):
        return most(charges([(PoissonSampled(noise, rate), rounds)]), delta)

    here = cost()
    assert cost(noise=1.2 * noise) <= here + 1e-9
    assert cost(rate=min(1.5 * rate, 1.0)) >= here - 1e-9
    assert cost(rounds=2 * rounds) >= here - 1e-9
    assert cost(delta=10 * delta) <= here + 1e-9
    assert cost(rate=1.0) >= here - 1e-2
    renyi = rdp_epsilon(charges([(PoissonSampled(noise, rate), rounds)]), delta)
    assert renyi is not None
    assert pld_epsilon(charges([(PoissonSampled(noise, rate), rounds)]), delta) <= renyi * (1 + 1e-3) + 1e-3


@settings(max_examples=10)
@given(st.permutations([(Gaussian(3.0), 2), (PoissonSampled(1.0, 0.01), 20), (Truncated(1.2, 0.02, 1000, 50), 5)]))
def test_the_order_of_releases_does_not_matter(order):
    assert most(charges(order), 1e-5) == most(charges(order[::-1]), 1e-5)


@pytest.mark.parametrize(("epsilon", "kind"), [(0.3, "poisson"), (1.0, "fixed"), (3.0, "truncated"), (8.0, "gaussian")])
def test_calibration_is_the_inverse_of_accounting(epsilon, kind):
    make = {
        "gaussian": Gaussian,
        "poisson": lambda z: PoissonSampled(z, 0.02),
        "truncated": lambda z: Truncated(z, 0.02, 2000, 75),
        "fixed": lambda z: FixedSize(z, 40, 2000),
    }[kind]
    z = noise_for(epsilon, make, 50, 1e-5, ZERO_OUT)
    cost = most(charges([(make(z), 50)]), 1e-5)
    assert 0.99 * epsilon <= cost <= epsilon


def test_what_was_spent_before_is_part_of_what_may_be_spent():
    before = charges([(Gaussian(2.0), 1)])
    alone = noise_for(4.0, Gaussian, 10, 1e-5, ZERO_OUT)
    after = noise_for(4.0, Gaussian, 10, 1e-5, ZERO_OUT, before)
    assert after > alone
    assert noise_for(0.5, Gaussian, 10, 1e-5, ZERO_OUT, before) == math.inf


def test_affordable_rounds_are_as_many_as_fit():
    event = PoissonSampled(1.0, 0.02)
    rounds = affordable(event, 2.0, 1e-5, ZERO_OUT)
    assert most(charges([(event, rounds)]), 1e-5) <= 2.0 < most(charges([(event, rounds + 1)]), 1e-5)
    assert affordable(event, 2.0, 1e-5, ZERO_OUT, charges([(event, rounds)])) == 0


def test_the_curve_never_says_less_than_was_spent():
    event = Truncated(1.0, 0.02, 2000, 75)
    curve = Curve(event, 100, 1e-5, ZERO_OUT)
    along = [curve(t) for t in (1, 10, 50, 99, 100)]
    assert along == sorted(along)
    for t, value in zip((1, 10, 50, 99, 100), along, strict=True):
        assert value >= pld_epsilon(charges([(event, t)]), 1e-5)


def test_gaussian_delta_is_the_tail_that_its_definition_says():
    """At epsilon 0 delta is the total variation distance, `2 Phi(mu / 2) - 1`."""
    assert gaussian_delta(1.0, 0.0) == pytest.approx(math.erf(0.5 / math.sqrt(2)), abs=1e-12)


def test_add_remove_and_zero_out_cost_the_same_where_the_number_of_units_is_not_used():
    sampled = charges([(PoissonSampled(1.0, 0.01), 100)])
    assert most(sampled, 1e-5, ADD_REMOVE) == pytest.approx(most(sampled, 1e-5, ZERO_OUT), rel=1e-6)


@settings(max_examples=10)
@given(
    st.floats(0.5, 30.0),
    st.sampled_from([1e-3, 0.02, 0.3, 1.0]),
    st.integers(1, 3000),
    st.sampled_from([1e-9, 1e-5, 1e-2]),
    st.booleans(),
)
def test_renyi_orders_that_are_left_out_are_never_the_best(noise, rate, rounds, delta, fixed):
    """Held against dp-accounting with all of its own orders."""
    import dp_accounting
    from dp_accounting import rdp

    relation = dp_accounting.NeighboringRelation
    gaussian = dp_accounting.GaussianDpEvent(noise / 2 if fixed else noise)
    size = max(1, round(1000 * rate))
    if fixed and size < 1000:
        whole = rdp.RdpAccountant(neighboring_relation=relation.REPLACE_ONE)
        whole.compose(dp_accounting.SampledWithoutReplacementDpEvent(1000, size, gaussian), rounds)
        event = FixedSize(noise, size, 1000)
    else:
        whole = rdp.RdpAccountant(neighboring_relation=relation.ADD_OR_REMOVE_ONE)
        gaussian = dp_accounting.GaussianDpEvent(noise)
        whole.compose(dp_accounting.PoissonSampledDpEvent(rate, gaussian), rounds)
        event = PoissonSampled(noise, rate)
    assert rdp_epsilon(charges([(event, rounds)]), delta) == pytest.approx(whole.get_epsilon(delta), rel=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        Gaussian,
        lambda z: PoissonSampled(z, 0.01),
        lambda z: FixedSize(z, 10, 100),
        lambda z: Truncated(z, 0.1, 100, 40),
    ],
)
def test_no_noise_and_endless_noise_have_an_answer(make):
    for noise in (5e-324, 1e-200, 1e-160, 1e-30, 1e-5):
        assert spent(charges([(make(noise), 10)]), 1e-5).epsilon == math.inf
        assert rdp_epsilon(charges([make(noise)]), 1e-5) == math.inf, "and no 0 out of numbers that are none"
    along = [spent(charges([(make(noise), 10)]), 1e-5).epsilon for noise in (1.0, 1e3, 1e7, 1e9, 1e160, 1e300)]
    assert all(later <= sooner for sooner, later in itertools.pairwise(along))
    assert along[-1] < 0.05


def test_releases_that_hardly_tell_anything_are_accounted_without_a_word(caplog):
    """Their divergences round to below 0, of which dp-accounting would tell for each of its orders."""
    logger = logging.getLogger("absl")
    before = logger.level
    with caplog.at_level(logging.DEBUG):
        assert rdp_epsilon(charges([(PoissonSampled(100.0, 1e-12), 1001)]), 1e-5) < 1e-3
    assert not caplog.records
    assert logger.level == before


@pytest.mark.parametrize("epsilon", [1e-6, 1e-4, 1e-3, 0.05, 30.0])
@pytest.mark.parametrize("make", [Gaussian, lambda z: PoissonSampled(z, 0.03), lambda z: FixedSize(z, 100, 3400)])
def test_calibration_never_asks_for_less_noise_than_is_needed_nor_for_much_more(make, epsilon):
    """A little less noise costs more than may be spent, also where delta alone pays for nearly everything."""
    z = noise_for(epsilon, make, 1, 1e-4, ZERO_OUT)
    assert most(charges([make(z)]), 1e-4) <= epsilon
    assert most(charges([make(0.98 * z)]), 1e-4) > epsilon

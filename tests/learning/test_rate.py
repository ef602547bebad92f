"""Learning rates over rounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tacit.errors import UsageError
from tacit.learning.rate import Cosine, Exponential, Rate, StepDecay, Warmup, rate_at

ROUNDS = st.integers(0, 500)


@given(ROUNDS)
def test_a_number_is_a_constant_rate(round):
    assert rate_at(0.1, round) == 0.1


def test_step_decay_drops_after_every_so_many_rounds():
    rate = StepDecay(1.0, every=3, factor=0.5)
    assert [rate_at(rate, t) for t in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


@given(ROUNDS)
def test_exponential_decay_multiplies_after_every_round(round):
    rate = Exponential(0.5, factor=0.9)
    assert rate_at(rate, 0) == 0.5
    assert rate_at(rate, round + 1) == pytest.approx(0.9 * rate_at(rate, round), rel=1e-12)


def test_cosine_goes_from_first_to_final_through_the_middle_and_stays():
    rate = Cosine(1.0, rounds=10, final=0.2)
    assert [rate_at(rate, t) for t in (0, 5, 10, 99)] == pytest.approx([1.0, 0.6, 0.2, 0.2])


@given(st.integers(1, 50), ROUNDS)
def test_cosine_never_rises(rounds, round):
    rate = Cosine(1.0, rounds=rounds)
    assert 1.0 >= rate_at(rate, round) >= rate_at(rate, round + 1) >= 0.0


def test_warmup_climbs_in_equal_steps_to_the_rate_that_follows():
    rate = Warmup(0.8, rounds=4)
    assert [rate_at(rate, t) for t in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


@given(ROUNDS)
def test_after_the_warmup_another_schedule_goes_its_own_way(round):
    then = Exponential(1.0, 0.95)
    rate = Warmup(then, rounds=5)
    share = min((round + 1) / 5, 1.0)
    assert rate_at(rate, round) == pytest.approx(share * rate_at(then, round))


@pytest.mark.parametrize("rate", [StepDecay(1.0, 2), Exponential(1.0), Cosine(1.0, 5), Warmup(1.0, 5)])
def test_every_schedule_is_a_rate_and_a_value(rate):
    assert isinstance(rate, Rate)
    assert rate == type(rate)(**vars(rate))
    assert hash(rate) == hash(type(rate)(**vars(rate)))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: StepDecay(-1.0, every=0, factor=0.0), ["lr is -1.0", "every is 0", "factor is 0.0"]),
        (lambda: Exponential(float("nan"), factor=float("inf")), ["lr is nan", "factor is inf"]),
        (lambda: Cosine(0.1, rounds=2.5, final=-0.1), ["rounds is 2.5", "final is -0.1"]),
        (lambda: Warmup("0.1", rounds=0), ["then is '0.1'", "rounds is 0"]),
        (lambda: Warmup(Exponential(0.1), rounds=-3), ["rounds is -3"]),
    ],
)
def test_impossible_schedules_are_refused_with_all_their_problems(build, words):
    with pytest.raises(UsageError) as caught:
        build()
    assert all(word in str(caught.value) for word in words)

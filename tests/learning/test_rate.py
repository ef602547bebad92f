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
        (lambda: StepDecay(True, every=True, factor="x"), ["lr is True", "every is True", "factor is 'x'"]),
        (lambda: Cosine(10**400, rounds="9", final=None), ["lr is 1", "rounds is '9'", "final is None"]),
    ],
)
def test_impossible_schedules_are_refused_with_all_their_problems(build, words):
    with pytest.raises(UsageError) as caught:
        build()
    assert all(word in str(caught.value) for word in words)


class Said:
    """A schedule of a user's that gives whatever it is told to."""

    def __init__(self, *values):
        self.values = values

    def at(self, round):
        return self.values[min(round, len(self.values) - 1)]


@pytest.mark.parametrize("value", ["0.1", None, True, -1.0, float("nan"), float("inf")])
def test_a_schedule_that_gives_no_rate_is_refused_with_the_round(value):
    with pytest.raises(UsageError, match="in round 3: at"):
        rate_at(Said(0.1, 0.1, value), 2)


def test_a_schedule_that_grows_beyond_every_float_is_refused():
    with pytest.raises(UsageError, match="gives inf in round 2001"):
        rate_at(Exponential(1.0, factor=2.0), 2000)


def test_a_schedule_that_fails_is_a_problem_of_the_solver_and_of_a_warmup():
    class Broken:
        def at(self, round):
            raise KeyError("no rate")

    from tacit.learning.solver import SGD

    for build in (lambda: SGD(lr=Broken()), lambda: Warmup(Broken(), rounds=3)):
        with pytest.raises(UsageError, match=r"at\(0\) fails \(KeyError"):
            build()


def test_a_class_is_no_schedule():
    with pytest.raises(UsageError, match="then is <class"):
        Warmup(Cosine, rounds=3)


def test_schedules_take_numbers_of_numpy():
    import numpy as np

    assert Cosine(np.float64(0.5), np.int64(10)) == Cosine(0.5, 10)
    assert repr(Cosine(np.float64(0.5), np.int64(10))) == repr(Cosine(0.5, 10))

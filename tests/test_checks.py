"""What counts as a number, and how numbers of NumPy become Python's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tacit
from tacit import checks
from tacit.errors import UsageError
from tests.faults.scenes import SOLVER, clean, federation, weights

NO_NUMBERS = [None, True, False, np.True_, "1", b"1", [1], (1,), {1: 1}, 1j, np.array([1.0]), object()]
ENDLESS = [float("inf"), float("-inf"), float("nan"), np.float32("inf"), np.float64("nan"), 10**400]


def _named(value):
    """Of a test: the same in every process, so without an address."""
    return re.sub(" at 0x.*", "", repr(value))


@pytest.mark.parametrize("kind", [int, np.int8, np.int64, np.uint64])
def test_whole_numbers_of_any_library_are_whole(kind):
    assert checks.is_whole(kind(3)) and checks.is_count(kind(1)) and checks.is_number(kind(3))
    assert not checks.is_count(kind(0))
    assert checks.is_whole(kind(0), 0)


@pytest.mark.parametrize("kind", [float, np.float16, np.float32, np.float64, np.longdouble])
def test_numbers_of_any_library_are_numbers_and_not_whole(kind):
    assert checks.is_number(kind(0.5)) and not checks.is_whole(kind(2.0))


@pytest.mark.parametrize("value", NO_NUMBERS, ids=_named)
def test_what_is_no_number_is_none(value):
    assert not checks.is_whole(value) and not checks.is_number(value) and not checks.is_count(value)


@pytest.mark.parametrize("value", ENDLESS, ids=lambda v: repr(v)[:12])
def test_what_no_run_can_compute_with_is_no_number(value):
    assert not checks.is_number(value)


@pytest.mark.parametrize("value", [*NO_NUMBERS, *ENDLESS[:5], -1], ids=_named)
def test_every_check_names_the_argument_its_value_and_what_to_give(value):
    for check in (checks.positive, checks.not_negative, checks.decay, checks.count):
        (problem,) = check("mu", value)
        assert problem.startswith(f"mu is {value!r}: give ")


@given(st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_is_positive_not_negative_or_neither(value):
    assert (checks.positive("x", value) == []) == (value > 0)
    assert (checks.not_negative("x", value) == []) == (value >= 0)
    assert (checks.decay("x", value) == []) == (0 <= value < 1)


@given(st.one_of(st.integers(-(2**62), 2**62), st.floats(), st.booleans()))
def test_a_number_of_numpy_becomes_the_equal_one_of_python(value):
    kind = {bool: np.bool_, int: np.int64, float: np.float64}[type(value)]
    plain = checks.plain(kind(value))
    assert plain == value or value != value
    assert type(plain) is type(value) or not np.isfinite(value)


def test_what_is_no_number_stays_what_it_is():
    things = [None, "3", [np.int64(1)], Path(), np.zeros(1)]
    assert all(checks.plain(thing) is thing for thing in things)
    assert checks.plain(Fraction(1, 2)) == 0.5


def test_the_fields_of_a_frozen_dataclass_are_made_plain():
    @dataclass(frozen=True)
    class Record:
        n: int
        share: float
        good: bool
        name: str

    record = Record(np.int64(3), np.float32(0.5), np.True_, "a")
    checks.make_plain(record)
    assert repr(record).endswith("Record(n=3, share=0.5, good=True, name='a')")


def test_a_class_is_not_the_object_that_it_makes():
    assert checks.offers("text", "split", "join")
    assert not checks.offers(str, "split")
    assert not checks.offers("text", "split", "done")


def numbered(whole, real):
    """A federation and a run in which every number is made by `whole` or `real`."""
    solver = tacit.SGD(lr=real(0.0625), batch_size=whole(4), epochs=whole(2), momentum=real(0.5))
    method = tacit.FedAdam(solver, server_lr=real(0.125), beta1=real(0.5), tau=real(0.25))
    return federation(
        clean(), method, selection=tacit.Uniform(whole(3)), seed=whole(7), workers=whole(2), minimum=real(0.5)
    )


def arguments(whole, real, folder):
    rules = [tacit.Patience(rounds=whole(9), min_delta=real(0.0)), tacit.Converged(real(1e-9), rounds=whole(1))]
    return {"until": rules, "evaluate_every": whole(1), "checkpoint": folder, "checkpoint_every": whole(1)}


def test_numbers_of_numpy_make_the_same_run_which_goes_on_with_numbers_of_python(tmp_path):
    theirs = numbered(np.int64, np.float64).run(
        np.int32(2), **arguments(np.int64, np.float64, tmp_path / "a"), progress=False
    )
    theirs.save(tmp_path / "run")
    mine = numbered(int, float).run(3, **arguments(int, float, tmp_path / "a"), resume=True, progress=False)
    whole = numbered(int, float).run(3, progress=False)
    assert bool((weights(mine) == weights(whole)).all())


@pytest.mark.parametrize("value", ["0.1", None, True, float("inf"), float("nan"), 10**400], ids=lambda v: repr(v)[:8])
def test_a_solver_takes_numbers_alone(value):
    shown = f"is {value!r}"
    for settings in ({"momentum": value}, {"weight_decay": value}, {"lr": value}):
        with pytest.raises(UsageError) as caught:
            tacit.SGD(**{"lr": 0.1, **settings})
        assert shown in str(caught.value)
    with pytest.raises(UsageError) as caught:
        tacit.Adam(lr=value, beta1=value, beta2=value, eps=value, weight_decay=value)
    assert str(caught.value).count(shown) == 5


def test_a_federation_says_all_that_is_wrong_with_its_numbers_at_once():
    with pytest.raises(UsageError) as caught:
        federation(clean(), tacit.FedProx(SOLVER, mu="1", server_lr=None), seed=True, workers=True, minimum=True)
    assert "5 problems" in str(caught.value)


def test_a_count_beyond_what_can_be_computed_with_is_answered_with_the_largest():
    (problem,) = checks.count("epochs", 10**30)
    assert problem.endswith("give a whole number from 1 to 2,147,483,647")
    assert checks.count("epochs", 2**31 - 1) == []
